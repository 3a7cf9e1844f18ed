"""Sending to upstreams, under a deadline: `http`, `grpc`, and `pool`, which shares them between routes.

``headers`` holds the tables of fields that end at the gateway; ``client`` is the only module that knows the HTTP
library, and ``coding`` undoes content-codings within a size limit.
"""
