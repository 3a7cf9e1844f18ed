"""``compress``: replies in the coding that a client accepts, through a serving gateway."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from bridge.api.call import Call, Reply
from bridge.api.exchange import Exchange
from bridge.api.record import Record
from bridge.api.spec.compress import Compress
from bridge.errors import Overloaded
from bridge.http.accept_encoding import Choice
from bridge.http.coding import undo
from bridge.http.compression import CODINGS, compress
from bridge.payload import offload
from bridge.stages import compress as stage
from bridge.stages.compress import CompressedPieces, Compressing, Variants

SPEC = {
    "route": "/p/{rest*}",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "compress": True,
    "transform": {"request": "passthrough", "response": "passthrough"},
}
TEXT = json.dumps([{"number": number, "name": f"row {number}"} for number in range(200)]).encode()
JSON = ("content-type", "application/json")
TAGGED = [JSON, ("etag", '"v1"')]


class Answer(NamedTuple):
    """A response as its bytes are."""

    status: int
    headers: Any
    body: bytes

    @property
    def coding(self) -> str:
        return str(self.headers.get("content-encoding", ""))

    @property
    def text(self) -> bytes:
        return undo(self.body, [self.coding], 1 << 26) if self.coding else self.body


async def ask(
    gateway: Any, accept: str | None = "gzip", method: str = "GET", path: str = "/p/a", **fields: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    request = gateway.client.build_request(method, path, headers=headers)
    if "accept-encoding" in request.headers:
        del request.headers["accept-encoding"]
    if accept is not None:
        request.headers["accept-encoding"] = accept
    answer = await gateway.client.send(request, stream=True)
    body = b"".join([piece async for piece in answer.aiter_raw()])
    return Answer(answer.status_code, answer.headers, body)


@pytest.fixture
async def service(gateway: Any, upstream: Any) -> Any:
    """A route that compresses, and the service behind it."""
    registered = await gateway.register(SPEC)
    assert registered.status_code == 201, registered.text
    upstream.headers, upstream.body = TAGGED, TEXT
    return upstream


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_reply_in_the_coding_that_is_asked_for(gateway: Any, service: Any, coding: str) -> None:
    answer = await ask(gateway, coding)
    assert (answer.status, answer.coding, answer.text) == (200, coding, TEXT)
    assert len(answer.body) < len(TEXT) / 3
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["etag"] == f'"v1--{coding}"'


@pytest.mark.parametrize("accept", [None, "", "br", "identity", "gzip;q=0, zstd;q=0"])
async def test_a_reply_as_it_is_says_that_it_depends(gateway: Any, service: Any, accept: str | None) -> None:
    answer = await ask(gateway, accept)
    assert (answer.coding, answer.body) == ("", TEXT)
    assert (answer.headers["vary"], answer.headers["etag"]) == ("Accept-Encoding", '"v1"')


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "text/event-stream")],
        [("content-type", "application/grpc-web+proto")],
        [("content-type", "image/png")],
        [],
        [JSON, ("content-encoding", "br")],
        [JSON, ("cache-control", "max-age=5, no-transform")],
        [JSON, ("content-range", "bytes 0-9/10")],
    ],
    ids=str,
)
async def test_what_is_never_compressed(gateway: Any, service: Any, headers: Any) -> None:
    service.headers = headers
    answer = await ask(gateway)
    assert answer.body == TEXT
    assert answer.coding == dict(headers).get("content-encoding", "")
    assert "vary" not in answer.headers


@pytest.mark.parametrize("status", [204, 206])
async def test_statuses_without_a_whole_body(gateway: Any, service: Any, status: int) -> None:
    service.status = status
    service.body = b"" if status == 204 else TEXT
    answer = await ask(gateway)
    assert (answer.status, answer.coding, answer.body) == (status, "", service.body)


async def test_small_bodies_are_not(gateway: Any, service: Any) -> None:
    for size, coding in ((1023, ""), (1024, "gzip")):
        service.body = b"x" * size
        assert (await ask(gateway)).coding == coding
    service.body = b"small"
    assert "vary" not in (await ask(gateway)).headers
    assert (await ask(gateway, "gzip, identity;q=0")).text == b"small"  # a client that reads nothing else


async def test_what_does_not_become_smaller_goes_as_it_is(gateway: Any, service: Any) -> None:
    service.body = os.urandom(5000)
    answer = await ask(gateway)
    assert (answer.coding, answer.body, answer.headers["vary"]) == ("", service.body, "Accept-Encoding")


async def test_a_client_that_wants_no_transformation(gateway: Any, service: Any) -> None:
    assert (await ask(gateway, cache_control="no-transform")).coding == ""


async def test_vary_is_said_once(gateway: Any, service: Any) -> None:
    service.headers = [JSON, ("vary", "Origin, accept-encoding")]
    assert (await ask(gateway)).headers.get_list("vary") == ["Origin, accept-encoding"]
    service.headers = [JSON, ("vary", "Origin")]
    assert (await ask(gateway)).headers.get_list("vary") == ["Origin", "Accept-Encoding"]


async def test_fields_about_the_bytes_go(gateway: Any, service: Any) -> None:
    gone = [("content-md5", "x"), ("content-digest", "x"), ("repr-digest", "x"), ("accept-ranges", "bytes")]
    service.headers = [*TAGGED, *gone, ("x-kept", "yes")]
    answer = await ask(gateway)
    assert not {name for name, _ in gone} & set(answer.headers)
    assert answer.headers["x-kept"] == "yes"
    assert gone[3][0] in (await ask(gateway, "identity")).headers


async def test_head_has_the_fields_of_get(gateway: Any, service: Any) -> None:
    get, head = await ask(gateway), await ask(gateway, method="HEAD")
    assert head.body == b""
    for name in ("content-encoding", "etag", "vary", "content-type"):
        assert head.headers[name] == get.headers[name]
    assert "content-length" not in head.headers  # of the coded bytes, which nobody has made
    plain = await ask(gateway, "identity", "HEAD")
    assert (plain.headers["content-length"], plain.headers["etag"]) == (str(len(TEXT)), '"v1"')


# --- conditions ------------------------------------------------------------------------------------------------------


async def judged(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """A service that knows its own tags only."""
    tags = [tag.strip() for value in request.header("if-none-match") for tag in value.split(",")]
    if {'"v1"', 'W/"v1"'} & set(tags):
        return 304, TAGGED, b""
    match = [tag.strip() for value in request.header("if-match") for tag in value.split(",")]
    if match and '"v1"' not in match:
        return 412, [], b""
    return 200, TAGGED, TEXT


async def test_a_service_judges_the_tags_of_compressed_replies(gateway: Any, service: Any) -> None:
    service.answer = judged
    tag = (await ask(gateway)).headers["etag"]
    same = await ask(gateway, if_none_match=f'"other", {tag}')
    assert (same.status, same.headers["etag"], same.headers["vary"]) == (304, tag, "Accept-Encoding")
    weak = await ask(gateway, if_none_match=f"W/{tag}")
    assert weak.status == 304
    plain = await ask(gateway, if_none_match='"v1"')
    assert (plain.status, plain.headers["etag"]) == (304, '"v1"')
    assert (await ask(gateway, if_none_match='"v2--gzip"')).status == 200
    assert (await ask(gateway, method="PUT", if_match=tag)).status == 200
    assert (await ask(gateway, method="PUT", if_match='"v2--gzip"')).status == 412


async def test_a_weak_tag_stays(gateway: Any, service: Any) -> None:
    service.headers = [JSON, ("etag", 'W/"v1"')]
    answer = await ask(gateway)
    assert (answer.coding, answer.headers["etag"]) == ("gzip", 'W/"v1"')


async def test_a_cache_stores_one_reply_for_all_codings(gateway: Any, service: Any) -> None:
    await gateway.register({**SPEC, "route": "/c/{rest*}", "cache": {"ttl": "60s"}})
    service.headers = [JSON]
    answers = {coding: await ask(gateway, coding, path="/c/a") for coding in ("", "zstd", "gzip", "identity")}
    assert len(service.seen) == 1
    assert {answer.text for answer in answers.values()} == {TEXT}
    assert len({answers[coding].headers["etag"] for coding in ("", "zstd", "gzip")}) == 3 - ("zstd" not in CODINGS)
    for accept, answer in answers.items():
        tag = answer.headers["etag"]
        again = await ask(gateway, accept, path="/c/a", if_none_match=tag)
        assert (again.status, again.headers["etag"], again.body) == (304, tag, b"")
        head = await ask(gateway, accept, "HEAD", "/c/a")
        assert (head.headers["etag"], head.headers["content-length"]) == (tag, answer.headers["content-length"])
    assert (await ask(gateway, path="/c/a", if_match='"other"')).status == 412
    assert (await ask(gateway, path="/c/a", if_match=answers["gzip"].headers["etag"])).status == 200
    assert len(service.seen) == 1


async def test_a_stored_reply_is_compressed_once(gateway: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(body: bytes, coding: str) -> bytes:
        calls.append(coding)
        return compress(body, coding)

    monkeypatch.setattr(stage, "compress", noted)
    await gateway.register({**SPEC, "route": "/c/{rest*}", "cache": {"ttl": "60s"}})
    for coding in (*CODINGS, *CODINGS, *CODINGS):
        assert (await ask(gateway, coding, path="/c/a")).text == TEXT
    assert sorted(calls) == sorted(CODINGS)


def test_variants_are_bounded() -> None:
    variants = Variants(100)
    for number in range(10):
        variants.keep("gzip", b"%d" % number * 20, b"form%d" % number)
        variants.keep("gzip", b"%d" % number * 20, b"form%d" % number)
        assert variants.get("gzip", b"0" * 20) == b"form0"  # it is used again and again
        assert variants.size <= 100
    assert variants.get("zstd", b"0" * 20) is None
    assert variants.get("gzip", b"1" * 20) is None


# --- who asks for it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "key", "coding"),
    [
        ("off", None, ""), ("off", False, ""), ("off", True, "gzip"), ("off", {}, "gzip"),
        ("on", None, "gzip"), ("on", False, ""), ("on", {"min_size": "1M"}, ""), ("on", {"types": ["text/*"]}, ""),
        ("on", {"types": ["APPLICATION/*"], "min_size": 1}, "gzip"), ("on", {"types": ["*/*"]}, "gzip"),
        ("on", {"codings": ["zstd"]}, ""),
    ],
)  # fmt: skip
async def test_route_and_setting(start: Any, upstream: Any, setting: str, key: Any, coding: str) -> None:
    upstream.headers, upstream.body = [JSON], TEXT
    spec = {name: value for name, value in SPEC.items() if name != "compress"}
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, compress=setting) as gateway:
        registered = await gateway.register(spec if key is None else {**spec, "compress": key})
        assert registered.status_code == 201, registered.text
        assert (await ask(gateway)).coding == coding
    assert [line["bytes_out"] < len(TEXT) for line in gateway.log() if line["path"] == "/p/a"] == [bool(coding)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"types": ["json"]}, "'json' is no media type"),
        ({"types": []}, "compress: false"),
        ({"codings": ["br"]}, "'zstd' or 'gzip'"),
        ({"codings": ["gzip", "gzip"]}, "stands in it twice"),
        ({"min_size": 0}, "greater than 0"),
        ({"level": 9}, "Extra inputs"),
    ],
)
def test_wrong_keys(given: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Compress.model_validate(given)


async def test_a_wrong_value_is_told_with_its_key(gateway: Any) -> None:
    refused = await gateway.register({**SPEC, "compress": {"minsize": 5}})
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/compress/minsize"
    assert "min_size" in error["reason"]
    refused = await gateway.register({**SPEC, "compress": "yes"})
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/compress"]


# --- large bodies, and bodies in pieces ------------------------------------------------------------------------------


async def test_large_bodies_are_compressed_in_a_thread(
    gateway: Any, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = offload.run

    async def noted(size: int, work: Any, **more: Any) -> Any:
        sizes.append(size)
        return await run(size, work, **more)

    monkeypatch.setattr(offload, "run", noted)
    for size, expected in ((stage.INLINE, []), (stage.INLINE + 1, [stage.INLINE + 1])):
        sizes.clear()
        service.body = b"x" * size
        assert (await ask(gateway)).text == service.body
        assert sizes == expected


async def test_without_time_a_reply_goes_as_it_is(gateway: Any, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(size: int, work: Any, **more: Any) -> Any:
        raise Overloaded()

    monkeypatch.setattr(offload, "run", full)
    service.body = b"x" * (stage.INLINE + 1)
    answer = await ask(gateway)
    assert (answer.status, answer.coding, answer.body) == (200, "", service.body)


class Pieces:
    """A body in pieces; tells whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces, self.closed, self.taken = iter(pieces), False, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            self.taken += 1
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


def exchange() -> Exchange:
    call = Call()
    request: Any = None
    return Exchange(request, call, Record(0.0, call.trace_id, "GET", "/", ""))


@pytest.mark.parametrize("coding", CODINGS)
async def test_pieces_of_unknown_length_arrive_when_they_are_sent(coding: str) -> None:
    pieces = Pieces(b"first", b"", b"second", b"third")
    reply = await Compressing(Compress(), None).encoded(Choice(coding, False), Reply(200, [JSON], pieces), exchange())
    assert dict(reply.headers)["content-encoding"] == coding
    assert isinstance(reply.body, CompressedPieces)
    data = await anext(reply.body)
    assert pieces.taken == 1
    assert coding != "gzip" or gzip_so_far(data) == b"first"
    rest = [piece async for piece in reply.body]
    assert undo(data + b"".join(rest), [coding], 1000) == b"firstsecondthird"
    await reply.body.aclose()
    assert pieces.closed


def gzip_so_far(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data)


async def test_pieces_of_known_length_are_gathered() -> None:
    fields = [JSON, ("content-length", str(len(TEXT) * 50)), ("etag", '"v"')]
    reply = Reply(200, fields, Pieces(*[TEXT] * 50))
    reply = await Compressing(Compress(), None).encoded(Choice("gzip", False), reply, exchange())
    assert "content-length" not in dict(reply.headers)
    assert dict(reply.headers)["etag"] == '"v--gzip"'
    assert isinstance(reply.body, CompressedPieces)
    assert gzip.decompress(b"".join([piece async for piece in reply.body])) == TEXT * 50


async def test_small_pieces_of_known_length_and_events_stay() -> None:
    compressing = Compressing(Compress(), None)
    for fields in ([JSON, ("content-length", "5")], [("content-type", "text/event-stream")]):
        reply = Reply(200, fields, Pieces(b"12345"))
        assert (await compressing.encoded(Choice("gzip", False), reply, exchange())) is reply


@pytest.mark.parametrize("options", [[], ["--http1.0"], ["-I"]])
async def test_curl(gateway: Any, service: Any, options: list[str]) -> None:
    command = ["curl", "-sS", "--compressed", *options, f"http://127.0.0.1:{gateway.port}/p/a"]
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await curl.communicate()
    assert curl.returncode == 0
    if options == ["-I"]:
        assert b"content-encoding: " in told.lower()
    else:
        assert told == TEXT
