"""A mesh name and port, its instances, and the calls to them.

A route names its upstream (``tally-svc:8080``) and never an address; no address ever reaches a client. ``sources`` say
where a name is at the moment, ``balance`` keeps their answers and puts another instance first for each call, and
``outlier`` passes over instances that fail. ``cluster`` sends a request, in ``attempts``; ``pool`` has a cluster for
each upstream that routes name.
"""
