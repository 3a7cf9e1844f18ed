"""gRPC over the gateway's own HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md): calls of serialised messages.

``head`` is the beginning of a request, ``framing`` messages on the wire, ``answer`` the fields of a reply;
``unary`` and ``stream`` are calls, ``health`` watches an instance. ``subchannel`` is one instance, ``channel`` one
upstream, and ``transport`` is the plug-in with the entry point.
"""
