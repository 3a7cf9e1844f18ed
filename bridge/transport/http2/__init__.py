"""HTTP/2 as a client (RFC 9113): a core without I/O, and the socket under it.

``frames`` are bytes, ``fields`` header blocks, ``header_block`` is one in several frames; ``stream`` is one request,
``pending`` are those that are queued, ``send_window`` is what waits for flow control, ``output`` what waits to be
written, ``flood_guard`` bounds work that brings nothing; ``connection`` is all of them together, ``transport`` the
socket.
"""
