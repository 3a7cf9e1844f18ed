"""SOAP messages: what stands around a body, and the two functions of an operation."""
