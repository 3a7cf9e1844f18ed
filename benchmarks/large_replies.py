"""Large replies, SOAP and XML: how fast they become JSON, how much memory that takes, and how long others wait.

    python benchmarks/large_replies.py [MEBIBYTES] [--whole]

Each shape is read in a process of its own. Printed are megabytes of message a second of processor time, the peak of
resident memory beyond what the process and the message itself take (as a multiple of the message, 1 added for it), and
the longest time for which another thread did not get the interpreter. ``--whole`` adds the way without slices, which
is the one for small messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROW = "".join(
    f'<xs:element name="{name}" type="{kind}"/>'
    for name, kind in (
        ("Number", "xs:int"),
        ("Name", "xs:string"),
        ("Placed", "xs:dateTime"),
        ("Price", "xs:decimal"),
        ("Gift", "xs:boolean"),
    )
)
ROW_XML = (
    "<Row><Number>1234567</Number><Name>Ada & Sons</Name><Placed>2026-11-03T20:15:00Z</Placed>"
    "<Price>1234.56</Price><Gift>true</Gift></Row>"
).replace("&", "&amp;")
ATTRIBUTES = "".join(f'<xs:attribute name="{name}" type="xs:string"/>' for name in ("one", "two", "three", "four"))
MANY = 'maxOccurs="unbounded" minOccurs="0"'
#: Schema of the root, then how one item is written and what stands around all of them.
SHAPES: dict[str, tuple[str, str, str]] = {
    "a rows of five fields": (
        f'<xs:element name="Row" {MANY}><xs:complexType><xs:sequence>{ROW}</xs:sequence></xs:complexType></xs:element>',
        ROW_XML,
        "{}",
    ),
    "b simple values": (f'<xs:element name="v" type="xs:int" {MANY}/>', "<v>1</v>", "{}"),
    "c nested arrays": (
        f'<xs:element name="Page" {MANY}><xs:complexType><xs:sequence><xs:element name="Title" type="xs:string"/>'
        f'<xs:element name="Row" {MANY}><xs:complexType><xs:sequence>{ROW}</xs:sequence></xs:complexType></xs:element>'
        "</xs:sequence></xs:complexType></xs:element>",
        ROW_XML,
        "<Page><Title>one</Title>{}</Page>",
    ),
    "d data set": (
        '<xs:element name="Set"><xs:complexType><xs:sequence><xs:any processContents="lax"/></xs:sequence>'
        "</xs:complexType></xs:element>",
        "\n      " + ROW_XML,
        '<Set><d:diffgram xmlns:d="urn:d"><NewDataSet xmlns="">{}</NewDataSet></d:diffgram></Set>',
    ),
    "e one text": ('<xs:element name="text" type="xs:string"/>', "0123456789abcdef", "<text>{}</text>"),
    "f attributes": (
        f'<xs:element name="Row" {MANY}><xs:complexType>{ATTRIBUTES}</xs:complexType></xs:element>',
        '<Row one="1234567890" two="1234567890" three="1234567890" four="1234567890"/>',
        "{}",
    ),
}
WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:w" xmlns:w="urn:w">
  <types><xs:schema targetNamespace="urn:t" elementFormDefault="qualified"><xs:element name="r"><xs:complexType>
    <xs:sequence>{}</xs:sequence></xs:complexType></xs:element></xs:schema></types>
  <message name="m"><part name="body" element="t:r"/></message>
  <portType name="p"><operation name="echo"><input message="w:m"/><output message="w:m"/></operation></portType>
  <binding name="b" type="w:p"><soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="echo"><input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>
    </operation></binding>
  <service name="s"><port name="p" binding="w:b"><soap:address location="http://echo.example/"/></port></service>
</definitions>"""


def message(shape: str, size: int, *, soap: bool) -> bytes:
    """A reply of about `size` bytes."""
    _, item, around = SHAPES[shape]
    inner = around.format(item * (size // len(item)))
    if not soap:
        return f'<?xml version="1.0" encoding="utf-8"?><r xmlns="urn:t">{inner}</r>'.encode()
    start = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    return f'{start}<r xmlns="urn:t">{inner}</r></s:Body></s:Envelope>'.encode()


async def soap_codec(shape: str) -> Any:
    """The codec of an operation that answers in that shape."""
    from bridge.api import Context, RouteSpec
    from bridge_soap import Soap
    from bridge_soap.options import SoapOptions

    options = {"wsdl": "r.wsdl", "operation": "echo"}
    spec = {"route": "/x", "upstream": "x:80", "auth": "none", "transform": {"request": "soap", "soap": options}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "r.wsdl").write_text(WSDL.format(SHAPES[shape][0]), "utf-8")
        soap = Soap()
        await soap.open(Context(folder, folder))
        found = await soap.bind(RouteSpec.model_validate(spec), SoapOptions.model_validate(options))
    return found[0].codec


def xml_codec() -> Any:
    from bridge.api import RouteSpec
    from bridge_xml.transformer import XmlCodec, XmlOptions

    spec = {"route": "/x", "upstream": "x:80", "auth": "none", "transform": {"request": "xml"}}
    return XmlCodec(RouteSpec.model_validate(spec), XmlOptions())


def resident(field: str) -> int:
    """Bytes of this process's memory: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


@contextlib.contextmanager
def watched(waits: list[float]) -> Iterator[None]:
    """Collects how long another thread waited for the interpreter, each time it slept for a millisecond."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            started = time.perf_counter()
            time.sleep(0.001)
            waits.append(time.perf_counter() - started - 0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def measure(shape: str, size: int, *, soap: bool, whole: bool) -> dict[str, float]:
    """One shape in this process."""
    from bridge.api import Call, HttpReply

    if whole:
        from bridge_soap.message import large
        from bridge_xml import decode

        large.LARGE = decode.LARGE = 1 << 60
    codec = asyncio.run(soap_codec(shape)) if soap else xml_codec()

    def run(body: bytes) -> int:
        reply = codec.reply(Call(), HttpReply(200, [("content-type", "text/xml; charset=utf-8")], body))
        return len(reply.body)

    run(message(shape, 2000, soap=soap))
    body = message(shape, size, soap=soap)
    sys.setswitchinterval(0.0005)
    waits = [0.0]
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew
    before = resident("VmRSS")
    with watched(waits):
        started = time.process_time()
        out = run(body)
        took = time.process_time() - started
    factor = 1 + (resident("VmHWM") - before) / len(body)
    return {"speed": len(body) / took / 1e6, "memory": factor, "wait": max(waits) * 1000, "json": out / len(body)}


def memory(size: int) -> dict[str, float]:
    """The memory that each shape takes, as a multiple of the message."""
    return {
        f"{'SOAP' if soap else 'XML'} {shape}": measure(shape, size, soap=soap, whole=False)["memory"]
        for soap in (True, False)
        for shape in SHAPES
    }


def main() -> int:
    if sys.argv[1:2] == ["--memory"]:
        print(json.dumps(memory(int(sys.argv[2]) * 1024**2)))
        return 0
    if sys.argv[1:2] == ["--one"]:
        shape, size, soap, whole = json.loads(sys.argv[2])
        print(json.dumps(measure(shape, size, soap=soap, whole=whole)))
        return 0
    given = [each for each in sys.argv[1:] if each.isdigit()]
    size = int(given[0] if given else 31) * 1024**2
    print(f"messages of {size / 1024**2:.0f} MiB; a message's own bytes count as 1 in its memory")
    ways = [False, True] if "--whole" in sys.argv else [False]
    for soap in (True, False):
        for shape in SHAPES:
            for whole in ways:
                command = [sys.executable, __file__, "--one", json.dumps([shape, size, soap, whole])]
                done = subprocess.run(command, capture_output=True, text=True, check=False)  # itself
                name = f"{'SOAP' if soap else 'XML '} {shape:22} {'whole ' if whole else 'sliced'}"
                if done.returncode:
                    print(f"{name} failed: {done.stderr.strip().splitlines()[-1][:100]}")
                    continue
                found = json.loads(done.stdout)
                print(
                    f"{name} {found['speed']:6.1f} MB/s  memory {found['memory']:5.1f} x  JSON {found['json']:4.1f} x  "
                    f"others wait {found['wait']:6.1f} ms at most"
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
