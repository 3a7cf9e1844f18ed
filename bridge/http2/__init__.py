"""HTTP/2 (RFC 9113) without I/O: what both ends of a connection share.

``frames`` encodes and checks frames, ``hpack`` header blocks, ``header_block`` a block in several frames; ``stream`` is
the state of one request, ``send_window`` flow control, ``output`` the output buffer, ``flood_guard`` limits useless
frames; ``connection`` combines them. The client's end is `bridge.transport.http2`, the server's `bridge.server.http2`.
"""
