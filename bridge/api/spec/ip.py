"""`ip`: the client addresses from which a route may be called."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from bridge.api.spec.scalars import Model

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NETWORKS = 1000  #: of one list

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291, section 2.5.5.2


def network(value: object) -> Network:
    """An address or a network in CIDR notation; IPv4-mapped IPv6 is IPv4, since callers' addresses are canonical.

    :raises ValueError: it is none.
    """
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError("no text, or an address with a zone: callers' addresses have none")
        parsed = ipaddress.ip_network(value.strip())
    except ValueError as error:
        if "host bits" in str(error):
            assert isinstance(value, str)
            whole = ipaddress.ip_network(value.strip(), strict=False)
            raise ValueError(f"{value[:60]!r} is an address within a network; write {whole} for the network") from None
        shown = repr(value)[:60]
        raise ValueError(f"{shown} is no address or network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32") from None
    if isinstance(parsed, ipaddress.IPv6Network) and parsed.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(parsed.network_address) & 0xFFFFFFFF, parsed.prefixlen - 96))
    return parsed


_Network = Annotated[Network, BeforeValidator(network)]
Cidrs = Annotated[
    tuple[_Network, ...],
    BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    Field(strict=False, max_length=MAX_NETWORKS),
]


class IpRules(Model):
    """``deny`` takes precedence. With ``allow``, every other address is refused."""

    allow: Cidrs | None = None
    deny: Cidrs = ()

    @model_validator(mode="after")
    def _some_rules(self) -> IpRules:
        if self.allow == ():
            raise ValueError(
                "an empty allow admits nobody; leave it out to admit every address that deny does not name"
            )
        if self.allow is None and not self.deny:
            raise ValueError("it needs allow or deny, each a list of networks")
        return self
