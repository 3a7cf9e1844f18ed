"""What each fast path of the SOAP codec saves, compared with the next plainer way to do the same.

    python -m benchmarks.soap_fast_paths [NAME ...]

Prints for each fast path and message the microseconds of CPU per call without and with it, and the share that it saves.
A call is one `SoapCodec.request` or `SoapCodec.reply`, warm. Both ways must give the same result. The times are the
best of many rounds; the saving is the median of the rounds, in which the two ways take turns.

A path is switched off by a patch while the codec is compiled. Those for replies build on each other, so each is
measured with the ones above it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.side_by_side.sample import soap_order, soap_reply
from bridge.api import Call, Context, HttpReply, RouteSpec
from bridge_soap import Soap
from bridge_soap.options import SoapOptions

ROOT = Path(__file__).parent.parent

#: What is patched, and the value that it gets.
Patch = tuple[str, Any]

PATTERNS: Patch = ("bridge_soap.binding.Binder._templates", lambda *_: None)
CURSOR: Patch = ("bridge_soap.decode.cursor.Cursor.fits", lambda *_: False)
READERS: Patch = ("bridge_soap.datatypes.simple_in.SimpleReaders._fast", lambda *_: ())
ROWS: Patch = ("bridge_soap.encode.encoders.row_of", lambda *_: "")
ROOTS: Patch = ("bridge_soap.encode.encoders.Encoders._root", lambda self, element: self.values.element(element))
WRITERS: Patch = ("bridge_soap.encode.encoders.FAST_PATHS", False)


@dataclass(frozen=True)
class FastPath:
    """`off` switches it off, `others` what would hide it."""

    name: str
    direction: str
    off: Patch
    others: tuple[Patch, ...] = ()


PATHS = (
    FastPath("replies by pattern", "reply", PATTERNS),
    FastPath("children in order", "reply", CURSOR, (PATTERNS,)),
    FastPath("inlined readers", "reply", READERS, (PATTERNS,)),
    FastPath("whole records", "request", ROWS),
    FastPath("root elements", "request", ROOTS),
    FastPath("inlined writers", "request", WRITERS, (ROWS,)),
)


@dataclass(frozen=True)
class Message:
    """One operation of a contract, a request for it in JSON, and its reply."""

    name: str
    wsdl: Path
    operation: str
    request: dict[str, Any]
    reply: str


_ENVELOPE = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{}</s:Body></s:Envelope>'
VAT = _ENVELOPE.format(
    '<checkVatResponse xmlns="urn:revenue:vat:types"><countryCode>DE</countryCode><vatNumber>123456789</vatNumber>'
    "<requestDate>2026-11-03+01:00</requestDate><valid>true</valid><name>Ada und Co</name><address>Berlin</address>"
    "</checkVatResponse>"
)
COUNTY = _ENVELOPE.format(
    '<GetCountyReturnsResponse xmlns="https://elections.tamarack.example/returns/2026"><returns>'
    "<countyFips>91001</countyFips><countyName>Alder</countyName><office>Governor</office><status>UNOFFICIAL</status>"
    "<reportedAt>2026-11-03T20:15:00-07:00</reportedAt><precinctsTotal>40</precinctsTotal>"
    "<precinctsReporting>12</precinctsReporting><registeredVoters>48211</registeredVoters>"
    "<ballotsCast>12000</ballotsCast><turnout>24.89</turnout>"
    + "".join(
        f'<candidate code="C{n}"><name>Candidate {n}</name><party>Party</party><votes>{1000 + n}</votes>'
        "<percent>12.50</percent></candidate>"
        for n in range(8)
    )
    + "</returns></GetCountyReturnsResponse>"
)
ORDERS = ROOT / "benchmarks/side_by_side/contracts/orders.wsdl"
MESSAGES = (
    Message(
        "small",
        ROOT / "tests/bridge_soap/wsdl/vat.wsdl",
        "checkVat",
        {"countryCode": "DE", "vatNumber": "123456789"},
        VAT,
    ),
    *(
        Message(f"{lines} lines", ORDERS, "PlaceOrder", {"order": soap_order(lines)}, soap_reply(lines).decode())
        for lines in (5, 100, 2000)
    ),
    Message("attributes", ROOT / "wsdl/county-returns.wsdl", "GetCountyReturns", {"countyFips": "91001"}, COUNTY),
)


def codec_of(message: Message, patches: tuple[Patch, ...]) -> Any:
    """The codec of a message's operation, compiled with `patches` and once used."""
    options = {"wsdl": message.wsdl.name, "operation": message.operation}
    spec = {
        "route": "/x",
        "methods": ["POST"],
        "upstream": "x:80",
        "auth": "none",
        "transform": {"request": "soap", "soap": options},
    }

    async def bind() -> Any:
        soap = Soap()
        await soap.open(Context(message.wsdl.parent, message.wsdl.parent))
        return (await soap.bind(RouteSpec.model_validate(spec), SoapOptions.model_validate(options)))[0].codec

    with contextlib.ExitStack() as stack:
        for target, value in patches:
            stack.enter_context(patch(target, value))
        codec = asyncio.run(bind())
        for direction in ("request", "reply"):
            call_of(codec, message, direction)()
    return codec


def call_of(codec: Any, message: Message, direction: str) -> Callable[[], Any]:
    """One call of a codec: gives its message and warnings."""
    if direction == "request":
        body = json.dumps(message.request).encode()
        return lambda: (codec.request(Call("POST", body=body, headers=[("content-type", "application/json")])).body, [])
    inbound = HttpReply(200, [("content-type", "text/xml; charset=utf-8")], message.reply.encode())

    def reply() -> Any:
        call = Call("POST")
        return codec.reply(call, inbound).body, call.warnings

    return reply


def pair(plain: Callable[[], object], fast: Callable[[], object], rounds: int = 151) -> tuple[float, float, float]:
    """Seconds of each call at best, and the median of what the second saves in a round of some milliseconds."""
    count = max(1, int(0.002 / min(timed(fast, 1) for _ in range(9))))
    times = []
    for number in range(rounds):
        calls = (plain, fast) if number % 2 else (fast, plain)
        one, other = (timed(call, count) for call in calls)
        times.append((one, other) if number % 2 else (other, one))
    saving = statistics.median(1 - with_path / without for without, with_path in times)
    return min(without for without, _ in times), min(with_path for _, with_path in times), saving


def timed(call: Callable[[], object], count: int) -> float:
    started = time.process_time_ns()
    for _ in range(count):
        call()
    return (time.process_time_ns() - started) / count / 1e9


def main() -> None:
    print(f"{'path':20} {'message':12} {'without':>11} {'with':>11} {'saves':>8}")
    for path in PATHS:
        if sys.argv[1:] and path.name not in sys.argv[1:]:
            continue
        for message in MESSAGES:
            without = call_of(codec_of(message, (*path.others, path.off)), message, path.direction)
            with_path = call_of(codec_of(message, path.others), message, path.direction)
            (plain, warnings), (fast, _) = without(), with_path()
            same = plain == fast if path.direction == "request" else json.loads(plain) == json.loads(fast)
            assert same, (path.name, message.name)
            assert not warnings, warnings
            gc.collect()
            gc.freeze()
            before, after, saving = pair(without, with_path)
            print(f"{path.name:20} {message.name:12} {before * 1e6:9.1f}µs {after * 1e6:9.1f}µs {saving:8.1%}")


if __name__ == "__main__":
    main()
