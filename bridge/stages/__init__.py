"""What a route asks of every call before its operation: one stage a folder or file (`bridge.api.stage`).

::

    size       a body that is too large is refused before anything is read
    auth       who calls: tokens and keys, their issuers and their keys
    quota      how often a caller may call
    deadline   how long the client waits
    receive    the fields that go on, and the whole body
    cache      replies that are already known

Their order is `bridge.gateway.chain.stages`.
"""
