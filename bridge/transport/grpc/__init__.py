"""gRPC over the gateway's own HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): calls of serialised messages.

``head`` is what a request begins with, ``framing`` messages on the wire, ``answer`` what a service's fields say;
``unary`` and ``stream`` are calls, ``health`` watches an instance. ``subchannel`` is one instance, ``channel`` one
upstream, and ``transport`` is what the gateway finds by its entry point.
"""
