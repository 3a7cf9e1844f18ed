"""How bytes travel to services: one folder for each protocol, found by `registry` through their entry points.

``http1`` is HTTP/1.1; ``grpc`` is gRPC over ``http2``. ``connecting`` and ``deadline`` are what they have in common.
``fetch`` gets documents by URL when routes are bound, within the bounds of ``reach``.
"""
