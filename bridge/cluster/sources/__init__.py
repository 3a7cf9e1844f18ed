"""A name and port to live addresses: one file a source (`static`, `dns`), and `Mesh`, which caches and balances.

A route names its upstream (``tally-svc:8080``) and never an address. The mesh looks it up at the time of the call,
so services can move without a change to routes. No address ever reaches a client.
"""
