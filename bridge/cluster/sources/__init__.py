"""A name and port to live addresses: one file a source (`static`, `dns`), and `Mesh`, which caches and balances.

A route names its upstream (``tally-svc:8080``) and never an address. The mesh says where that is at the moment of the
call, so services may move while routes stay. No address ever reaches a client.
"""
