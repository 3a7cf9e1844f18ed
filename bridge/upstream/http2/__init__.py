"""HTTP/2 as a client (RFC 9113): a core without I/O, and the socket under it.

``frames`` are bytes, ``fields`` header blocks, ``stream`` is one request, ``outflow`` what waits for windows,
``connection`` all of them together, ``transport`` the socket.
"""
