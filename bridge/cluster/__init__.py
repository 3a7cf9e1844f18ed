"""A mesh name and port, its instances, and the calls to them.

A route names its upstream (``tally-svc:8080``) and never an address; no address ever reaches a client. ``sources`` look
up names, ``balance`` caches the results and puts another instance first for each call, and ``outlier`` skips instances
that fail. ``cluster`` sends a request, in ``attempts``; ``pool`` has a cluster for each upstream that routes name.
"""
