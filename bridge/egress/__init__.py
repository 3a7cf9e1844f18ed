"""What the gateway changes and adds on the way to a service (`bridge.api.egress`).

::

    route         all edits of a route's requests, compiled; its parts are below
    fields        header fields and metadata
    query         the query
    static        credentials that never expire
    forwarded     what the service is told of the client
    response      edits of responses, and what caches must know
    cookies       the cookies of a route's callers
    sending       how calls are sent that carry credentials or cookies; `session` adds cookies
    authorized    calls with credentials that are fetched, refused and fetched again
    credentials   such credentials, by the route's upstream_auth; those of OAuth 2 have
                  token_request, token_endpoint and token_cache, signed tokens signing_keys
"""
