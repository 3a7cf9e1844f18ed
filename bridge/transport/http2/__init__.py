"""HTTP/2 as a client (RFC 9113): a core without I/O, and the socket under it.

``frames`` encodes and checks frames, ``fields`` header blocks, ``header_block`` a block in several frames; ``stream``
is one request, ``pending`` the queue of requests, ``send_window`` flow control, ``output`` the output buffer,
``flood_guard`` limits useless frames; ``connection`` combines all of them, ``transport`` is the socket.
"""
