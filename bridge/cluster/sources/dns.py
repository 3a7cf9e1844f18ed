"""``dns:`` and ``dns://SERVER:PORT``: names looked up in the DNS, A, AAAA and SRV (RFC 1035, 3596, 2782).

============================  =======================================================================
``tally-svc:8080``            A and AAAA of ``tally-svc`` with port 8080; if there are none, SRV at
                              ``tally-svc`` itself, with the records' ports
``tally-svc:http``            SRV at ``_http._tcp.tally-svc``
============================  =======================================================================

A addresses are used in turn, and AAAA addresses after them, so that a host without an IPv6 route is not affected. TTLs
are honoured between `MIN_TTL` and `MAX_TTL`. `bridge.transport.reach` limits the addresses of a DNS name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.rdatatype
import dns.resolver
from dns.rdatatype import RdataType

from bridge.api.transport import Address
from bridge.cluster.balance import unavailable
from bridge.cluster.sources.source import LookupResult
from bridge.errors import Fault, SettingsError, Unavailable
from bridge.transport.reach import refusal

MIN_TTL, MAX_TTL = 1.0, 300.0
MAX_NEGATIVE_TTL = 5.0  # a service that starts should not stay unknown for its zone's half hour
MAX_TARGETS = 64  # SRV targets that are followed
LIFETIME = 3.0  # seconds for one query, over all servers and tries

T = TypeVar("T")

_OPTIONS = {"loopback": ("allow", "refuse"), "search": ("on", "off")}
_log = logging.getLogger("bridge.mesh")


class DnsSource:
    """The DNS as a source. `bridge.cluster.balance.Mesh` caches; the resolver does not."""

    def __init__(self, resolver: dns.asyncresolver.Resolver, *, search: bool = False, loopback: bool = False) -> None:
        self._resolver = resolver
        self._search = search
        self._loopback = loopback

    @classmethod
    def from_url(cls, url: str) -> DnsSource:
        """``dns:[//SERVER[:PORT]][?loopback=allow&search=off]``; SERVER is an address, IPv6 in brackets.

        Without a server, the servers, search list and ``ndots`` of ``/etc/resolv.conf`` apply as for every other
        program on the host; with one, names are absolute.

        :raises SettingsError: it isn't of that form, or the host has no server configured.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            server, port = parts.hostname, parts.port or 53
            if parts.path.strip("/") or parts.fragment or parts.username is not None:
                raise ValueError("write dns: or dns://SERVER:PORT")
            for key, value in options.items():
                if value not in _OPTIONS.get(key, ()):
                    supported = ", ".join(f"{name}={'|'.join(values)}" for name, values in _OPTIONS.items())
                    raise ValueError(f"{key}={value} is none of its options ({supported})")
            if server is not None:
                ipaddress.ip_address(server)
            resolver = dns.asyncresolver.Resolver(configure=server is None)
        except ValueError as error:
            raise SettingsError(Fault(f"{url!r} can't be used: {error}", ("BRIDGE_MESH",))) from None
        except dns.resolver.NoResolverConfiguration:
            reason = "the host names no DNS server; write dns://SERVER:PORT"
            raise SettingsError(Fault(reason, ("BRIDGE_MESH",))) from None
        if server is not None:
            resolver.nameservers, resolver.port = [server], port
        resolver.cache = None
        resolver.lifetime, resolver.timeout = LIFETIME, 1.0
        search = options.get("search", "off" if server else "on") == "on"
        return cls(resolver, search=search, loopback=options.get("loopback") == "allow")

    async def lookup(self, name: str, port: str) -> LookupResult:
        """As `bridge.cluster.sources.source.MeshSource`."""
        if not port.isdigit():
            return await self._services(f"_{port}._tcp.{name}")
        result = await self._hosts(name, int(port))
        if result.addresses:
            return result
        services = await self._services(name)
        # A negative result combines two answers: it has the shorter TTL, and the first one's cause, which says more.
        return services if services.addresses else LookupResult((), min(result.ttl, services.ttl), cause=result.cause)

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _hosts(self, name: str, port: int) -> LookupResult:
        """A and AAAA of `name`.

        :raises Unavailable: one of the lookups failed and the other has no records.
        """
        kinds = (RdataType.A, RdataType.AAAA)
        answers, errors = await _settle(self._ask(name, kind) for kind in kinds)
        pairs = [
            ((record.address, port), int(record.rdtype == RdataType.AAAA))
            for records, _ in answers
            for record in records
        ]
        ttls = [ttl for _, ttl in answers]
        if not pairs:
            if errors:
                raise errors[0]
            return LookupResult((), _clamp(ttls, MAX_NEGATIVE_TTL), cause=f"the DNS has no address of {name}")
        addresses = self._admit(name, pairs)
        if not addresses:
            return LookupResult(
                (), _clamp(ttls, MAX_NEGATIVE_TTL), cause=f"{name} leads only to addresses that are refused"
            )
        return LookupResult(
            tuple(addresses),
            _clamp(ttl for records, ttl in answers if records),
            tuple((rank, 0) for rank in addresses.values()),
        )

    async def _services(self, name: str) -> LookupResult:
        """SRV at `name`, with the addresses of each target.

        :raises Unavailable: the lookup failed, or those of all targets.
        """
        records, ttl = await self._ask(name, RdataType.SRV)
        records = sorted(records, key=lambda record: record.priority)[:MAX_TARGETS]
        # RFC 2782: a target of "." means that the service is not available.
        records = [record for record in records if record.target != dns.name.root and record.port]
        if not records:
            return LookupResult((), _clamp([ttl], MAX_NEGATIVE_TTL), cause=f"the DNS has no service at {name}")
        answers, errors = await _settle(self._target(record) for record in records)
        best: dict[Address, tuple[int, int]] = {}
        for record, result in answers:
            for address, (family, _) in zip(result.addresses, result.ranks, strict=True):
                # Two ranks for each priority keep a target's AAAA behind its A, yet before the next priority.
                best.setdefault(address, (record.priority * 2 + family, record.weight))
        ttls = [ttl, *(result.ttl for _, result in answers)]
        if not best:
            if errors:
                raise errors[0]
            return LookupResult(
                (), _clamp(ttls, MAX_NEGATIVE_TTL), cause=f"no target of SRV {name} has an address to use"
            )
        return LookupResult(tuple(best), _clamp(ttls), tuple(best.values()))

    async def _target(self, record: Any) -> tuple[Any, LookupResult]:
        return record, await self._hosts(record.target.to_text(), record.port)

    def _admit(self, name: str, pairs: Iterable[tuple[Address, int]]) -> dict[Address, int]:
        addresses: dict[Address, int] = {}
        for address, rank in pairs:
            if reason := refusal(address[0], loopback=self._loopback):
                _log.warning("%s leads to %s, which is refused (%s)", name, address[0], reason)
            else:
                addresses.setdefault(address, rank)
        return addresses

    async def _ask(self, name: str, kind: RdataType) -> tuple[list[Any], float]:
        """The records, and the TTL of the records or of their absence.

        :raises Unavailable: no server answered.
        """
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=self._search)
        except dns.resolver.NXDOMAIN as error:
            responses: Iterable[Any] = error.kwargs["responses"].values()  # error.responses() has no types
            return [], min((response.resolve_chaining().minimum_ttl for response in responses), default=MIN_TTL)
        except dns.exception.DNSException as error:
            raise unavailable(f"{kind.name} {name}: {' '.join(str(error).split())}") from None
        return list(answer), answer.chaining_result.minimum_ttl


async def _settle(questions: Iterable[Awaitable[T]]) -> tuple[list[T], list[Unavailable]]:
    """All `questions` concurrently: the answers, and the errors of failed lookups."""
    answers: list[T] = []
    errors: list[Unavailable] = []
    for result in await asyncio.gather(*questions, return_exceptions=True):
        if isinstance(result, Unavailable):
            errors.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            answers.append(result)
    return answers, errors


def _clamp(ttls: Iterable[float], max_ttl: float = MAX_TTL) -> float:
    return max(MIN_TTL, min(max_ttl, *ttls))
