"""The transformers for services that speak plain HTTP: bytes passed through, and JSON in front of XML.

`Passthrough` is the entry point ``passthrough``, `Xml` the entry point ``xml``.
"""

from bridge_xml.passthrough import Passthrough
from bridge_xml.transformer import Xml, XmlOptions

__all__ = ["Passthrough", "Xml", "XmlOptions"]
