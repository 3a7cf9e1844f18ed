"""What the gateway changes and adds on the way to a service (`bridge.api.egress`).

::

    authorized    calls with credentials that are fetched, refused and fetched again
"""
