"""HMS Bridge: a protocol-translation API gateway. Plug-ins import `bridge.api` and `bridge.testing`; the rest may
move."""
