"""REST and JSON in front of SOAP: the transformer ``soap``."""

from bridge_soap.transformer import Soap

__all__ = ["Soap"]
