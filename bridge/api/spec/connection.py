"""`connection`: how the gateway connects to a route's service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bridge.api.spec.scalars import Model, Seconds, Size, check_name

_SERVICE = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"


class ConnectionSpec(Model):
    """How the gateway connects to the upstream, beyond its name. Files are below ``secrets/`` in BRIDGE_HOME, or in a
    container's folders for secrets."""

    ca: str | None = None  #: PEM of the trusted authorities; default: the system's
    certificate: str | None = None  #: PEM of the gateway's own chain, for mutual TLS
    key: str | None = None  #: PEM of its private key
    server_name: Annotated[str, AfterValidator(check_name)] | None = None  #: the name in the service's certificate
    # The following keys are supported by some transports only (`bridge.api.transport.Transport.options`).
    keepalive: Annotated[Seconds, Field(ge=10)] | None = None  #: between pings on a connection that has calls
    compression: Literal["gzip", "deflate"] | None = None  #: of requests
    health: bool | Annotated[str, Field(pattern=_SERVICE, max_length=255)] = (
        False  #: skip addresses that report that they don't serve
    )
    max_message: Annotated[Size, Field(le=2**31 - 1)] | None = None  #: bytes of one message, in either direction
    max_metadata: Annotated[Size, Field(le=2**20)] | None = None  #: bytes of a reply's metadata

    @model_validator(mode="after")
    def _pair(self) -> ConnectionSpec:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self

    @property
    def secure(self) -> bool:
        """Whether it has keys of TLS."""
        return any((self.ca, self.certificate, self.server_name))

    @property
    def special(self) -> Sequence[str]:
        """Its keys beyond those of TLS, which are supported by some transports only."""
        return sorted(self.model_fields_set - _TLS_KEYS)


_TLS_KEYS = frozenset(("ca", "certificate", "key", "server_name"))
