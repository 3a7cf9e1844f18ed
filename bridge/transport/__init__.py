"""The protocols towards services, one folder each; `registry` finds them by their entry points.

``http1`` is HTTP/1.1; ``grpc`` is gRPC over ``http2``. ``connecting`` and ``deadline`` are shared by
all. ``fetch`` gets documents by URL when routes are bound, within the limits of ``reach``.
"""
