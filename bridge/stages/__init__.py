"""What stands between a match and an operation: who calls, how often, and whether the answer is already known.

::

    keys       JSON Web Keys of one issuer, from a URL, a file or the environment; cached and rotated
    jwt        bearer tokens: one signature check for all routes, each route's own conditions after it
    issuers    issuers.yml and the local issuer -> Trust
    api_key    keys made here, kept as hashes
    auth       a spec's auth block -> Authenticator
    limits     a spec's rate_limit block -> Limiter
    cache      a spec's cache block -> MicroCache
"""
