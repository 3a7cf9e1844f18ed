"""`forwarded`: what the service is told of the client and of the address by which it reached the gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from bridge.api.spec.scalars import Model


class ForwardedSpec(Model):
    """`headers`: ``x`` for X-Forwarded-For, -Proto and -Host, ``standard`` for Forwarded (RFC 7239), ``both``, or
    ``none``. `host`: the Host field is the service's name in the ``mesh``, or the ``public`` one."""

    headers: Literal["none", "x", "standard", "both"] = "none"
    host: Literal["mesh", "public"] = "mesh"

    @property
    def used(self) -> bool:
        return self.headers != "none" or self.host != "mesh"


#: ``forwarded: x`` is short for ``forwarded: {headers: x}``.
Forwarding = Annotated[
    ForwardedSpec, BeforeValidator(lambda value: {"headers": value} if isinstance(value, str) else value)
]
