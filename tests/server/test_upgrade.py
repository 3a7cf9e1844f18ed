"""An `Upgrade` that is not taken (RFC 9110, section 7.8) changes nothing: the body is read, the connection goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_wire import END, OPEN, problem, talk
from tests.servers import need

FIELDS = (
    b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
)
POST = b"POST /p/a HTTP/1.1\r\n" + FIELDS
NEXT = b"GET /p/next HTTP/1.1\r\n" + END
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No client may fill the gateway's own log."""
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


def statuses(answer: bytes) -> list[bytes]:
    return [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (POST + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST + b"Content-Length: 0\r\n\r\n", b""),
        (POST + b"\r\n", b""),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n", b"hello"),
        # A body that reads like a request is a body.
        (POST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, NEXT),
        (POST + b"Upgrade: foo/2\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (POST.replace(b"h2c", b"TLS/1.0, h2c") + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST.replace(b"Upgrade, ", b"keep-alive, UPGRADE , ") + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        # A WebSocket's name alone is no handshake of one, nor is it among others.
        (POST.replace(b"h2c", b"websocket") + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST + KEY + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST.replace(b"h2c", b"websocket, h2c") + KEY + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (POST + b"Upgrade: websocket\r\n" + KEY + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("cut", [0, 1, 7, 60])
async def test_it_is_as_if_it_were_not_there(
    gateway: Any, upstream: Any, request_: bytes, body: bytes, cut: int
) -> None:
    """In one piece with what follows, byte by byte, and in pieces."""
    await gateway.register(OPEN)
    sent = request_ + NEXT
    pieces = [sent[at : at + cut] for at in range(0, len(sent), cut)] if cut else [sent]
    answer = await dripped(gateway.port, pieces)
    assert statuses(answer) == [b"200", b"200"]
    assert [(seen.method, seen.target, seen.body) for seen in upstream.seen] == [
        ("POST", "/p/a", body),
        ("GET", "/p/next", b""),
    ]
    names = {name for name, _ in upstream.seen[0].headers}
    assert names.isdisjoint({"upgrade", "http2-settings", "connection", "x-late"})


async def dripped(port: int, pieces: list[bytes]) -> bytes:
    """Send `pieces`, each of which the gateway gets on its own; what comes back until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def test_many_on_one_connection(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    one = POST + b"Content-Length: 5\r\n\r\nhello"
    answer = await talk(gateway.port, one * 50 + NEXT)
    assert statuses(answer) == [b"200"] * 51
    assert [seen.body for seen in upstream.seen] == [b"hello"] * 50 + [b""]


async def test_a_body_of_many_segments(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    body = bytes(range(256)) * 4000
    answer = await talk(gateway.port, POST + b"Content-Length: %d\r\n\r\n" % len(body), body, NEXT)
    assert statuses(answer) == [b"200", b"200"]
    assert upstream.seen[0].body == body


async def test_a_client_that_waits_to_be_told_to_go_on(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    async with asyncio.timeout(10):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello" + NEXT)
        assert statuses(await reader.read()) == [b"200", b"200"]
    writer.close()
    assert [seen.body for seen in upstream.seen] == [b"hello", b""]


async def test_by_http_1_0_it_is_not_even_looked_at(gateway: Any, upstream: Any) -> None:
    await gateway.register(OPEN)
    for upgrade in (b"h2c", b"websocket"):
        asked = POST.replace(b"1.1", b"1.0").replace(b"h2c", upgrade)
        assert statuses(await talk(gateway.port, asked + KEY + b"Content-Length: 5\r\n\r\nhello")) == [b"200"]
    assert [seen.body for seen in upstream.seen] == [b"hello"] * 2


async def test_the_gateways_own_pages(gateway: Any, upstream: Any) -> None:
    token = gateway.bearer(roles=("api_publisher",))["authorization"].encode()
    spec = json.dumps(OPEN).encode()
    fields = FIELDS + b"Authorization: " + token + b"\r\nContent-Type: application/json\r\n"
    asked = b"POST /register HTTP/1.1\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(spec) + spec
    live = b"GET /-/health/live HTTP/1.1\r\n" + FIELDS + b"\r\n"
    assert statuses(await talk(gateway.port, asked + live + NEXT)) == [b"201", b"200", b"200"]


async def test_the_gateways_own_pages_are_no_websockets(gateway: Any) -> None:
    for path in (b"/-/routes", b"/register", b"/-/nothing"):
        asked = (
            b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + KEY + b"\r\n"
        )
        answer = await talk(gateway.port, asked)
        assert statuses(answer) in ([b"403"], [b"404"], [b"405"])


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"X: a\r\n Content-Length: 5\r\n\r\nhello",
    ],
)
async def test_framing_that_is_refused_without_it_is_refused_with_it(
    gateway: Any, upstream: Any, framing: bytes
) -> None:
    await gateway.register(OPEN)
    for head in (POST, b"POST /p/a HTTP/1.1\r\nHost: a\r\n"):
        problem(await talk(gateway.port, head + framing + NEXT), 400, "bad-request")
    assert upstream.seen == []


@pytest.mark.parametrize("target", [b"a:80", b"/p/a", b"http://a/p/a", b"*"])
async def test_connect_is_refused_and_nothing_behind_it_is_read(gateway: Any, upstream: Any, target: bytes) -> None:
    await gateway.register(OPEN)
    asked = b"CONNECT " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    problem(await talk(gateway.port, asked + NEXT), 400, "bad-request")
    problem(await dripped(gateway.port, [asked, NEXT]), 400, "bad-request")
    assert upstream.seen == []


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        words, _ = await process.communicate()
    assert process.returncode == 0, words.decode()
    return words.decode()


async def test_curl_with_http2(gateway: Any, upstream: Any) -> None:
    need("curl with HTTP/2", "sh", "-c", "curl --version | grep -q HTTP2")
    await gateway.register(OPEN)
    url = f"http://127.0.0.1:{gateway.port}/p"
    told = ("-sS", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{num_connects};")
    first, second = (*told, "-d", "hello", f"{url}/a"), (*told, "-d", "again", f"{url}/b")
    assert await output_of("curl", *first, "--next", *second) == "200 1.1 1;200 1.1 0;"
    assert [seen.body for seen in upstream.seen] == [b"hello", b"again"]


JAVA = """
import java.net.URI;
import java.net.http.*;
public class Post {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String body : new String[] {"hello", "again"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(args[0]))
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
        HttpRequest chunked = HttpRequest.newBuilder(URI.create(args[0])).POST(
            HttpRequest.BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream("streamed".getBytes())))
            .build();
        System.out.println(client.send(chunked, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
"""


#: Eclipse's compiler, as Debian names its files, since a bare JRE has none. Debian 13 has it in a second one.
COMPILER = [Path(f"/usr/share/java/eclipse-jdt-core{part}.jar") for part in ("", "-compiler-batch")]
HAS_COMPILER = COMPILER[0].exists()


async def test_javas_own_client(gateway: Any, upstream: Any, tmp_path: Path) -> None:
    """It offers h2c with every request that it makes."""
    need("Java", "java", "-version")
    await gateway.register(OPEN)
    source, java = tmp_path / "Post.java", ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
    source.write_text(JAVA)
    if HAS_COMPILER:
        batch = ("org.eclipse.jdt.internal.compiler.batch.Main", "-11", "-nowarn", "-proc:none")
        await output_of(*java, "-cp", ":".join(map(str, COMPILER)), *batch, "-d", str(tmp_path), str(source))
        run = [*java, "-cp", str(tmp_path), "Post"]
    else:
        need("a Java compiler", "javac", "-version")
        run = [*java, str(source)]
    words = await output_of(*run, f"http://127.0.0.1:{gateway.port}/p/a")
    assert words.split() == ["200"] * 3
    assert [seen.body for seen in upstream.seen] == [b"hello", b"again", b"streamed"]
