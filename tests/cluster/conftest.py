"""A clock that stands still until told, and a DNS server with a zone of the test's own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`: ``{("tally-svc.", "A"): ["30 10.0.0.1"]}``, each value a TTL and the record's text."""

    zone: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    rcode: dns.rcode.Rcode | None = None
    truncate: bool = False
    mute: bool = False
    soa: str = ""
    port: int = 0
    transport: asyncio.DatagramTransport | None = None

    @property
    def url(self) -> str:
        return f"dns://127.0.0.1:{self.port}"

    def answer(self, wire: bytes, over: str) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        [question] = query.question
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, over))
        response = dns.message.make_response(query, recursion_available=True)
        if self.rcode is not None:
            response.set_rcode(self.rcode)
            return response
        if self.truncate and over == "udp":
            response.flags |= dns.flags.TC
            return response
        for _ in range(5):
            if alias := self.zone.get((name, "CNAME")):
                response.answer.append(self._records(name, "CNAME", alias))
                name = alias[0].split()[1]
        if records := self.zone.get((name, kind)):
            response.answer.append(self._records(name, kind, records))
        elif not any(key[0] == name for key in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not records and self.soa:
            response.authority.append(self._records(".", "SOA", [self.soa]))
        return response

    @staticmethod
    def _records(name: str, kind: str, records: list[str]) -> dns.rrset.RRset:
        ttl = min(int(record.split()[0]) for record in records)
        return dns.rrset.from_text(name, ttl, "IN", kind, *(record.split(None, 1)[1] for record in records))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.answer(data, "udp")
        if not self.mute and self.transport is not None:
            self.transport.sendto(answer.to_wire(), addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            wire = self.answer(await reader.readexactly(length), "tcp").to_wire()
            writer.write(struct.pack("!H", len(wire)) + wire)
            await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def nameserver() -> AsyncIterator[NameServer]:
    server = NameServer()
    loop = asyncio.get_running_loop()
    tcp = None
    for _ in range(20):  # one number for both protocols: the first TCP port may be taken for UDP
        tcp = await asyncio.start_server(server.stream, "127.0.0.1", 0)
        server.port = tcp.sockets[0].getsockname()[1]
        try:
            server.transport, _ = await loop.create_datagram_endpoint(
                lambda: server, local_addr=("127.0.0.1", server.port)
            )
            break
        except OSError:
            tcp.close()
    assert server.transport is not None
    assert tcp is not None
    yield server
    server.transport.close()
    tcp.close()
