"""WebSockets (RFC 6455): what the gateway's server and its client towards services share."""
