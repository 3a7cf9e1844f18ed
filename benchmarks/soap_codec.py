"""The compiled SOAP codec beside zeep and lxml's bare parse: both ways, 1, 10 and 100 order lines, in one run.

    python benchmarks/soap_codec.py [--check]

Prints microseconds a call and ratios. "Encode" is from Python values to the envelope's bytes, "decode" from the
envelope's bytes to Python values; "whole" adds the JSON on our side. Every answer is checked before anything is timed.
"Known" is decoding a reply that is written as one before it was, bytes to values.
The calls are interleaved and the best of several rounds counts, which is what a shared machine allows. With ``--check``
the exit code is 1 when a target is missed (encode 20 times zeep's, decode 10 times, and 3 times a bare parse at most).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from lxml import etree

from bridge.api import Call, parse_json, parse_xml
from bridge_soap.contract import Contract
from bridge_soap.decode.packing import to_json

FOLDER = Path(__file__).parent.parent / "tests" / "bridge_soap" / "wsdl"
ENCODE, DECODE, PARSE = 20.0, 10.0, 3.0


def order(lines: int) -> dict[str, Any]:
    return {
        "order": {
            "Id": "4711",
            "Customer": "Ada & Sons",
            "Placed": "2026-11-03T20:15:00Z",
            "Lines": {
                "OrderLine": [
                    {
                        "Sku": f"SKU-{n}",
                        "Description": f"Ballot box, size {n}",
                        "Quantity": n,
                        "Price": "19.90",
                        "Gift": n % 2 == 0,
                    }
                    for n in range(lines)
                ]
            },
        }
    }


def best(calls: Sequence[Callable[[], object]], rounds: int = 25) -> list[float]:
    """Microseconds of each call, the best of `rounds` interleaved rounds of about 5 ms."""
    counts = []
    for call in calls:
        started = time.perf_counter()
        for _ in range(5):
            call()
        counts.append(max(1, int(0.005 * 5 / (time.perf_counter() - started))))
    fastest = [float("inf")] * len(calls)
    for _ in range(rounds):
        for at, call in enumerate(calls):
            started = time.perf_counter()
            for _ in range(counts[at]):
                call()
            fastest[at] = min(fastest[at], (time.perf_counter() - started) / counts[at])
    return [each * 1e6 for each in fastest]


class Ours:
    """The codec as an operation uses it."""

    def __init__(self) -> None:
        from bridge_soap.message.bodies import body_reader, body_writer
        from bridge_soap.message.envelope import Envelope
        from bridge_soap.message.reply_templates import ReplyTemplates

        contract = Contract("orders.wsdl", FOLDER)
        operation = next(each for each in contract.wsdl.operations if each.name == "PlaceOrder")
        assert operation.output is not None
        self._write = body_writer(contract, contract.body(operation, operation.input, reply=False))
        decoders = contract.decoders(native=False, strict=False)
        self._read = body_reader(decoders, contract.body(operation, operation.output, reply=True))
        self._envelope = Envelope("1.1", contract.prefixes.declare(), "")
        root = contract.body(operation, operation.output, reply=True).root
        assert root is not None
        self._templates = ReplyTemplates(decoders, root)

    def encode(self, value: Any) -> bytes:
        out, bad = [self._envelope.start(Call())], list[tuple[str, str]]()
        self._write(value, out.append, None, bad)
        assert not bad, bad
        out.append(self._envelope.end)
        return "".join(out).encode()

    def decode(self, body: bytes) -> Any:
        root = parse_xml(body)
        return self._read(root[-1], _note)

    def learn(self, body: bytes) -> None:
        self._templates.learn(body, "text/xml")

    def known(self, body: bytes) -> Any:
        """As `decode`, of a reply that is written as one that was learned from."""
        return self._templates.read(body, "text/xml")


def _note(node: etree._Element, why: str) -> None:
    raise AssertionError(why)


class Zeep:
    """zeep as people use it: create, tostring; process_reply, serialize_object."""

    def __init__(self) -> None:
        import zeep
        from zeep.helpers import serialize_object

        self._client = zeep.Client(str(FOLDER / "orders.wsdl"))
        self._serialize: Any = serialize_object
        self._operation = self._client.service._binding.get("PlaceOrder")

    def encode(self, value: Any) -> bytes:
        envelope = self._client.create_message(self._client.service, "PlaceOrder", **value)
        return bytes(etree.tostring(envelope))

    def decode(self, body: bytes) -> Any:
        reply = SimpleNamespace(
            status_code=200, content=body, headers={"Content-Type": "text/xml"}, encoding="utf-8", cookies={}
        )
        found = self._client.service._binding.process_reply(self._client, self._operation, reply)
        return self._serialize(found, dict)


def run(lines: int, ours: Ours, theirs: Zeep) -> list[str]:
    """One size: print a line each way; what missed its target."""
    value = order(lines)
    sent = ours.encode(value)
    reply = sent.replace(b"n0:PlaceOrder>", b"n0:PlaceOrderResponse>").replace(b"n0:order>", b"n0:PlaceOrderResult>")
    expected = {"PlaceOrderResult": value["order"]}
    assert ours.decode(reply) == expected, ours.decode(reply)
    ours.learn(reply)
    assert ours.known(reply) == expected, ours.known(reply)
    assert theirs.decode(reply)["Lines"]["OrderLine"][-1]["Price"] == Decimal("19.90")
    native = parse_json(to_json(value))
    for each in native["order"]["Lines"]["OrderLine"]:
        each["Price"] = Decimal(each["Price"])
    text = msgspec.json.encode(value)
    encode, whole, zeep_encode, decode, whole_back, known, zeep_decode, bare = best(
        [
            lambda: ours.encode(value),
            lambda: ours.encode(parse_json(text)),
            lambda: theirs.encode(native),
            lambda: ours.decode(reply),
            lambda: to_json(ours.decode(reply)),
            lambda: ours.known(reply),
            lambda: theirs.decode(reply),
            lambda: parse_xml(reply),
        ]
    )
    print(
        f"{lines:4} lines  encode {encode:7.1f} µs (whole {whole:7.1f})  zeep {zeep_encode:8.1f}  "
        f"{zeep_encode / encode:5.1f}x"
    )
    print(
        f"{lines:4} lines  decode {decode:7.1f} µs (whole {whole_back:7.1f})  zeep {zeep_decode:8.1f}  "
        f"{zeep_decode / decode:5.1f}x  bare parse {bare:7.1f}  {decode / bare:4.2f} of it, known {known:7.1f}  "
        f"{known / bare:4.2f}"
    )
    missed = []
    if zeep_encode / encode < ENCODE:
        missed.append(f"encode of {lines} lines")
    if zeep_decode / decode < DECODE:
        missed.append(f"decode of {lines} lines")
    if decode / bare > PARSE:
        missed.append(f"decode of {lines} lines beside the bare parse")
    return missed


def main() -> int:
    ours, theirs = Ours(), Zeep()
    gc.collect()
    gc.freeze()  # what was made at start is not walked again for each side's garbage
    missed = [each for lines in (1, 10, 100) for each in run(lines, ours, theirs)]
    for each in missed:
        print(f"missed: {each}")
    return 1 if missed and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
