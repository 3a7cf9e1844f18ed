"""WSDL 1.1: services, ports, bindings, messages."""
