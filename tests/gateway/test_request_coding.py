"""Request bodies with a Content-Encoding, through a serving gateway (RFC 9110, sections 8.4, 12.5.3 and 15.5.16)."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from bridge.http import coding
from bridge.http.coding import READ, ZSTD
from bridge.payload import offload
from bridge.stages import decode as stage
from tests.soap_kit import SOAP11, WSDL_DIR

JSON = {"content-type": "application/json"}
XML = {
    "route": "/x/{rest*}",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "xml"},
}
PASS = {**XML, "route": "/p/{rest*}", "transform": {"request": "passthrough", "response": "passthrough"}}
PROTO = """
syntax = "proto3";
package tally.v1;
service Tally {
  rpc Cast(Vote) returns (Vote);
  rpc Watch(Vote) returns (stream Vote);
  rpc CastAll(stream Vote) returns (Vote);
}
message Vote { string county = 1; }
"""
VOTE = b'{"county":"Kern"}'


def bare_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def coded(body: bytes) -> dict[str, bytes]:
    """Values of Content-Encoding, and `body` in them."""
    bodies = {
        "gzip": gzip.compress(body),
        "GZip": gzip.compress(body),
        "x-gzip": gzip.compress(body[:3]) + gzip.compress(body[3:]),
        "deflate": zlib.compress(body),
        "Deflate , identity": bare_deflate(body),
        "identity": body,
        "deflate, gzip": gzip.compress(zlib.compress(body)),
    }
    if ZSTD:
        bodies["zstd"] = ZSTD.compress(body)
        bodies["gzip,zstd"] = ZSTD.compress(gzip.compress(body))
    return bodies


CODED = coded(b'{"a":{"b":"text"}}')


@pytest.fixture
async def xml(gateway: Any, upstream: Any) -> Any:
    await gateway.register(XML)
    await gateway.register(PASS)
    upstream.headers, upstream.body = [("content-type", "application/xml")], b"<ok/>"
    return gateway


@pytest.mark.parametrize("value", CODED)
async def test_a_coded_body_is_read(xml: Any, upstream: Any, value: str) -> None:
    answer = await xml.client.post("/x/a", content=CODED[value], headers={**JSON, "content-encoding": value})
    assert (answer.status_code, answer.json()) == (200, {"ok": None})
    seen = upstream.seen[0]
    assert seen.body.endswith(b"<a><b>text</b></a>")
    assert seen.header("content-encoding") == []


async def test_two_fields_are_one_list(xml: Any, upstream: Any) -> None:
    fields = [("content-type", "application/json"), ("content-encoding", "deflate"), ("content-encoding", "gzip")]
    answer = await xml.client.post("/x/a", content=CODED["deflate, gzip"], headers=fields)
    assert answer.status_code == 200
    assert upstream.seen[0].body.endswith(b"<a><b>text</b></a>")


async def test_the_log_counts_what_came_over_the_wire(start: Any, upstream: Any) -> None:
    body = gzip.compress(b'{"a":"%s"}' % (b"x" * 100_000))
    upstream.headers, upstream.body = [("content-type", "application/xml")], b"<ok/>"
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        await gateway.register(XML)
        answer = await gateway.client.post("/x/a", content=body, headers={**JSON, "content-encoding": "gzip"})
        assert answer.status_code == 200
    assert [line["bytes_in"] for line in gateway.log() if line["path"] == "/x/a"] == [len(body)]


async def test_an_empty_body_has_nothing_to_undo(xml: Any, upstream: Any) -> None:
    answer = await xml.client.get("/x/a", headers={"content-encoding": "gzip"})
    assert answer.status_code == 200
    answer = await xml.client.post("/x/a", content=b"", headers={"content-encoding": "gzip"})
    assert answer.status_code == 200
    assert [seen.body for seen in upstream.seen] == [b"", b""]


BROKEN = {
    "not gzip": ("gzip", b'{"a":1}'),
    "gzip, cut short": ("gzip", gzip.compress(b'{"a":1}')[:-5]),
    "gzip, and a tail": ("gzip", gzip.compress(b'{"a":1}') + b"tail"),
    "not deflate": ("deflate", b"\xff\xff\xff\xff"),
}
if ZSTD:
    BROKEN["not zstd"] = ("zstd", b'{"a":1}')
    BROKEN["zstd, cut short"] = ("zstd", ZSTD.compress(b'{"a":1}')[:-1])
    BROKEN["zstd, and a tail"] = ("zstd", ZSTD.compress(b'{"a":1}') + b"tail")


@pytest.mark.parametrize(("value", "body"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_body_is_400(xml: Any, upstream: Any, value: str, body: bytes) -> None:
    answer = await xml.client.post("/x/a", content=body, headers={**JSON, "content-encoding": value})
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:bridge:problem:bad-request"
    assert f"declared as {value}, but it can't be decoded" in answer.json()["detail"]
    assert upstream.seen == []


@pytest.mark.parametrize("value", ["br", "compress", "gzip, br", "gzip;q=1", "gzip,gzip,gzip,gzip"])
async def test_other_codings_are_415(xml: Any, upstream: Any, value: str) -> None:
    answer = await xml.client.post("/x/a", content=b"x", headers={**JSON, "content-encoding": value})
    assert answer.status_code == 415
    assert answer.json()["type"] == "urn:bridge:problem:unsupported-coding"
    assert answer.headers["accept-encoding"] == READ
    assert upstream.seen == []


@pytest.mark.parametrize("response", ["passthrough", "json"])
@pytest.mark.parametrize("value", ["gzip", "br", "gzip, nonsense"])
async def test_passthrough_reads_nothing(gateway: Any, upstream: Any, response: str, value: str) -> None:
    await gateway.register({**PASS, "transform": {"request": "passthrough", "response": response}})
    answer = await gateway.client.post("/p/a", content=b"\x1f\x8bnot", headers={**JSON, "content-encoding": value})
    assert answer.status_code == 200
    assert upstream.seen[0].body == b"\x1f\x8bnot"
    assert upstream.seen[0].header("content-encoding") == [value]


MB = 1024 * 1024
BOMBS = {
    "gzip": lambda: gzip.compress(bytes(64 * MB)),
    "deflate": lambda: zlib.compress(bytes(64 * MB)),
    "gzip, gzip": lambda: gzip.compress(gzip.compress(bytes(256 * MB))),
    "x-gzip": lambda: gzip.compress(bytes(MB)) * 64,
}
if ZSTD:
    BOMBS["zstd"] = lambda: ZSTD.compress(bytes(256 * MB))


@pytest.mark.parametrize("value", BOMBS)
async def test_a_bomb_is_413_before_memory_grows(xml: Any, upstream: Any, value: str) -> None:
    body = BOMBS[value]()
    assert len(body) < MB
    tracemalloc.start()
    try:
        answer = await xml.client.post("/x/a", content=body, headers={**JSON, "content-encoding": value})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:bridge:problem:too-large"
    assert str(8 * MB) in answer.json()["detail"]
    assert peak < 24 * MB  # the limit is 8 MB
    assert upstream.seen == []


async def test_a_routes_own_limit_is_of_the_decoded_body(gateway: Any, upstream: Any) -> None:
    await gateway.register({**XML, "max_body": "1k"})
    upstream.headers, upstream.body = [("content-type", "application/xml")], b"<ok/>"
    headers = {**JSON, "content-encoding": "gzip"}
    for size, status in ((900, 200), (1100, 413)):
        body = gzip.compress(b'{"a":"%s"}' % (b"x" * size))
        assert (await gateway.client.post("/x/a", content=body, headers=headers)).status_code == status


async def test_a_window_that_is_too_large_is_refused(xml: Any) -> None:
    """RFC 9659, section 3: a decoder need not hold more than 8 MB."""
    if not ZSTD:
        pytest.skip("this Python has no zstd")
    writer = ZSTD.ZstdCompressor(options={ZSTD.CompressionParameter.window_log: 27})
    frame = writer.compress(b"{}" * 10) + writer.flush()
    answer = await xml.client.post("/x/a", content=frame, headers={**JSON, "content-encoding": "zstd"})
    assert answer.status_code == 400


async def test_what_becomes_large_is_decoded_and_translated_off_the_loop(
    xml: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = offload.run

    async def noted(size: int, work: Any, **more: Any) -> Any:
        sizes.append(size)
        return await run(size, work, **more)

    monkeypatch.setattr(offload, "run", noted)
    small = json.dumps({"a": "x" * 1000}).encode()
    large = json.dumps({"a": "x" * (stage.INLINE + 1)}).encode()
    for body, expected in ((small, []), (large, [8 * len(gzip.compress(large)), len(large)])):
        sizes.clear()
        headers = {**JSON, "content-encoding": "gzip"}
        assert (await xml.client.post("/x/a", content=gzip.compress(body), headers=headers)).status_code == 200
        assert sizes == expected


# --- other transformers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["gzip", "deflate, gzip"])
async def test_soap_reads_a_coded_body(gateway: Any, upstream: Any, value: str) -> None:
    (gateway.home / "wsdl/ledger.wsdl").write_bytes((WSDL_DIR / "ledger.wsdl").read_bytes())
    soap = {"wsdl": "ledger.wsdl", "operation": "post", "headers": {"AuthHeader": {"user": "u", "key": "k"}}}
    spec = {**XML, "route": "/s", "transform": {"request": "soap", "soap": soap}}
    registered = await gateway.register(spec)
    assert registered.status_code == 201, registered.text
    upstream.headers = [("content-type", "text/xml")]
    upstream.body = (
        f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><posted xmlns="urn:ledger"><entry>1</entry></posted></s:Body>'
        "</s:Envelope>"
    ).encode()
    body = coded(b'{"account":"x","cents":5}')
    answer = await gateway.client.post("/s", content=body[value], headers={**JSON, "content-encoding": value})
    assert (answer.status_code, answer.json()) == (200, {"entry": 1}), answer.text
    assert upstream.seen[0].header("content-encoding") == []


@contextlib.asynccontextmanager
async def tally() -> AsyncIterator[int]:
    server = grpc.aio.server()

    async def cast(message: bytes, context: Any) -> bytes:
        return message

    async def watch(message: bytes, context: Any) -> AsyncIterator[bytes]:
        yield message

    async def cast_all(messages: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([message async for message in messages])

    handlers = {
        "Cast": grpc.unary_unary_rpc_method_handler(cast),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "CastAll": grpc.stream_unary_rpc_method_handler(cast_all),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tally.v1.Tally", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@pytest.fixture
async def rpc(start: Any) -> AsyncIterator[Any]:
    spec = {
        "route": "/g",
        "upstream": "grpc://tally:1",
        "auth": {"type": "none"},
        "transform": {"request": "grpc", "grpc": {"protos": ["tally.proto"]}},
    }
    async with (
        tally() as port,
        start(mesh={"tally": f"127.0.0.1:{port}"}, files={"protos/tally.proto": PROTO}) as gateway,
    ):
        registered = await gateway.register(spec)
        assert registered.status_code == 201, registered.text
        yield gateway


@pytest.mark.parametrize("value", CODED)
@pytest.mark.parametrize(("method", "reply"), [("Cast", VOTE), ("Watch", VOTE + b"\n")])
async def test_grpc_reads_a_coded_body(rpc: Any, value: str, method: str, reply: bytes) -> None:
    headers = {**JSON, "content-encoding": value, "accept": "application/x-ndjson, application/json;q=0.5"}
    answer = await rpc.client.post(f"/g/tally.v1.Tally/{method}", content=coded(VOTE)[value], headers=headers)
    assert (answer.status_code, answer.content) == (200, reply)


async def test_connect_undoes_its_coding_once(rpc: Any) -> None:
    """Its own rules hold: an unknown coding is its status, and what is coded twice is decoded once."""
    headers = {**JSON, "connect-protocol-version": "1", "content-encoding": "gzip"}
    answer = await rpc.client.post("/g/tally.v1.Tally/Cast", content=gzip.compress(VOTE), headers=headers)
    assert (answer.status_code, answer.content) == (200, VOTE)
    twice = gzip.compress(gzip.compress(VOTE))
    answer = await rpc.client.post("/g/tally.v1.Tally/Cast", content=twice, headers=headers)
    assert answer.status_code == 400
    headers["content-encoding"] = "br"
    answer = await rpc.client.post("/g/tally.v1.Tally/Cast", content=VOTE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (501, "unimplemented")


async def test_a_stream_of_messages_has_no_coding(rpc: Any) -> None:
    path, ndjson = "/g/tally.v1.Tally/CastAll", {"content-type": "application/x-ndjson"}
    answer = await rpc.client.post(path, content=VOTE, headers={**ndjson, "content-encoding": "identity"})
    assert answer.status_code == 200
    answer = await rpc.client.post(path, content=gzip.compress(VOTE), headers={**ndjson, "content-encoding": "gzip"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.json()["type"] == "urn:bridge:problem:unsupported-coding"


def test_what_is_offered_is_read() -> None:
    body = b"hello" * 100
    for name in coding.codings_of(READ):
        assert coding.undo(coded(body)[name], [name], 1000) == body


async def test_curl_sends_gzip(xml: Any, upstream: Any) -> None:
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--data-binary", "@-", "-H", "content-encoding: gzip", "-H", "content-type: application/json",
        f"http://127.0.0.1:{xml.port}/x/a",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await curl.communicate(CODED["gzip"])
    assert json.loads(told) == {"ok": None}
    assert upstream.seen[0].body.endswith(b"<a><b>text</b></a>")
