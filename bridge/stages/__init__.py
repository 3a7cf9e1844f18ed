"""The steps that a route applies to every call before its operation: one stage a folder or file (`bridge.api.stage`).

::

    request       the request itself: its size, its client's timeout, the fields that are forwarded
    auth          who calls: tokens and keys, their issuers and their keys
    quota         how often a caller may call
    decode        bodies of requests in a content-coding
    compress      replies in a content-coding
    cache         stored replies
    descriptions  WSDLs of services, with the public address

Their order is `bridge.gateway.chain.stages`.
"""
