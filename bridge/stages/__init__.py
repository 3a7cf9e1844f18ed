"""What a route asks of every call before its operation: one stage a folder or file (`bridge.api.stage`).

::

    request    of the request itself: its size, how long its client waits, what of it goes on
    auth       who calls: tokens and keys, their issuers and their keys
    quota      how often a caller may call
    cache      replies that are already known

Their order is `bridge.gateway.chain.stages`.
"""
