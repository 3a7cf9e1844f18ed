"""Sending to upstreams, under a deadline: `http`, `grpc`, and `pool`, which shares them between routes.

``headers`` holds the tables of fields that end at the gateway, and ``fields`` judges a request's; ``client`` says what
an HTTP client is, of which there are two, ``http11`` and ``aiohttp_client``; ``deadline`` ends what takes too long, and
``coding`` undoes content-codings within a size limit.
"""
