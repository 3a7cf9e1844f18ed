"""gRPC over the house's own HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): calls of serialised messages.

``head`` is what a request begins with, ``framing`` messages on the wire, ``answer`` what a service's fields say,
``unary`` and ``stream`` are calls, ``peer`` is one address.
"""
