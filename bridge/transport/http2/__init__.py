"""HTTP/2 as a client (RFC 9113): a core without I/O, and the socket under it.

``frames`` are bytes, ``fields`` header blocks, ``block`` is one in pieces; ``stream`` is one request, ``turns`` are
those that wait for their turn, ``outflow`` what waits for windows, ``output`` what waits to be written, ``budget`` what
is done for nothing; ``connection`` is all of them together, ``transport`` the socket.
"""
