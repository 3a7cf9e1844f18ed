"""Specs as somebody registers them who means harm, or slipped: refused with the key, or serving as they say."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bridge.config.settings import load
from bridge.errors import SettingsError
from tests.server.test_wire import OPEN

WSDL = (Path(__file__).parents[1] / "bridge_soap/wsdl/vat.wsdl").read_text()
PROTO = """syntax = "proto3";
package odd;
service S { rpc Get(M) returns (M); rpc List(M) returns (stream M); }
message M { string name = 1; repeated M more = 2; string kind = 3; }
"""
CASES = 300  # a run of 20,000 found nothing more
FILES = {"wsdl/vat.wsdl": WSDL, "protos/odd.proto": PROTO, "secrets/a": "hush"}
RULE = {"selector": "odd.S.Get", "get": "/things/{name}", "body": "", "response_body": ""}
SPECS: dict[str, dict[str, Any]] = {
    "passthrough": {
        **OPEN,
        "route": "/a/{x}:go",
        "host": "a.example",
        "tenant": "t",
        "upstream": "svc:80/b/{x}",
        "methods": ["GET"],
        "auth": {"type": "JWT", "audience": "A", "issuer": "", "roles": ["r"], "scopes": ["s"]},
        "rate_limit": {"rps": 1, "per": "claim:sub"},
        "cache": {"ttl": "1s"},
        "timeout": "2s",
        "stream": {"idle": "3s"},
    },
    "tls": {
        **OPEN,
        "route": "/t",
        "upstream": "https://svc:443/b",
        "connection": {"ca": "secrets/a", "certificate": "secrets/a", "key": "secrets/a", "server_name": "a.example"},
    },
    "keys": {**OPEN, "auth": {"any": [{"type": "api_key", "header": "X-Key", "roles": ["r"]}, {"type": "none"}]}},
    "soap": {
        **OPEN,
        "route": "/vat",
        "transform": {
            "request": "soap",
            "soap": {
                "wsdl": "vat.wsdl",
                "service": "checkVatService",
                "port": "checkVatPort",
                "operation": "checkVat",
                "request": {"rename": {"countryCode": "country"}, "constants": {"vatNumber": "1"}},
                "reply": {"rename": {"valid": "good"}},
                "faults": {"f": 404},
                "numbers": "exact",
            },
        },
    },
    "blocks": {
        **OPEN,
        "route": "/o",
        "transform": {
            "request": "soap",
            "soap": {
                "wsdl": "vat.wsdl",
                "headers": {"a": {"$file": "secrets/a"}, "b": {"$header": "X-B"}, "c": {"$claim": "sub"}},
                "pass_headers": ["d"],
                "reply_headers": {"X-A": "a/b"},
            },
        },
    },
    "secrets": {
        **OPEN,
        "route": "/w",
        "transform": {
            "request": "soap",
            "soap": {
                "wsdl": "vat.wsdl",
                "wsdl_auth": {"username": "u", "password_env": "NONE"},
                "security": {"username": "u", "password_env": "NONE", "digest": True},
            },
        },
    },
    "shapes": {
        **OPEN,
        "route": "/h",
        "transform": {
            "request": "soap",
            "soap": {
                "wsdl": "vat.wsdl",
                "operation": "checkVat",
                "request": {"flatten": ["a"]},
                "reply": {"flatten": ["a"]},
            },
        },
    },
    "grpc": {
        **OPEN,
        "route": "/g",
        "upstream": "svc:50051",
        "connection": {"health": "odd.S", "compression": "gzip"},
        "transform": {
            "request": "grpc",
            "grpc": {
                "protos": ["odd.proto"],
                "proto_paths": ["."],
                "service": "odd.S",
                "http_rules": [RULE],
                "metadata": {"x-a": "b", "x-c": {"$header": "X-C"}},
                "fields": {"kind": {"$claim": "sub"}},
                "pass_headers": ["x-d"],
                "reply_headers": ["x-e"],
                "calls": {"odd.S.Get": {"timeout": "1s", "retry": {"codes": ["UNAVAILABLE"]}}},
                "events": {"odd.S.List": {"id": "name", "resume": "name"}},
                "unknown": "error",
            },
        },
    },
    "set": {**OPEN, "route": "/s", "transform": {"request": "grpc", "grpc": {"descriptor_set": "odd.pb"}}},
    "xml": {
        **OPEN,
        "route": "/x",
        "transform": {
            "request": "xml",
            "response": "json",
            "xml": {"root": "r", "namespace": "urn:a", "force_list": ["i"], "content_type": "text/xml"},
        },
    },
}

ODD = [
    "", " ", "\0", "x\0.proto", "a\nb", "a\r\nb", "\n", "\t", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e",
    "\ufeff", "\ufffd",
    "\ud800", "a\udfffb", "é", "\U0001d7d9", "a" * 300, "a" * 5000, "a/" * 3000, "/", "//", ".", "..", "../x",
    "/etc/passwd", "~",
    "secrets/\0", "secrets/" + "a" * 300, "secrets/" + "a/" * 3000, "a.proto\n", "%", "%00", "%zz", "%c0%ae",
    "{", "}", "{}",
    "{x}", "{x*}", "{x}:\r\nb", ":", "=", "$env", "claim:", "claim:\0", "http://", "http://[", "http://[::1",
    "http://a:99999/",
    "svc:80/\0", "svc:80/{x}:\r\nb", "svc:0", "[::1]:80", "file:///etc/passwd", "odd.proto/", "odd.proto\0",
    "vat.wsdl\0",
    "vat.wsdl/../vat.wsdl", "-", "_", "null", "1e309", "*", "**", "<a>", "a:b", "xmlns", "xml:lang",
    "{urn:a}b", "a b", "''", '"',
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every text and to every key of a spec; a key's way ends with ``(key,)``."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, (key,))
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from places(item, (*path, at))
    else:
        yield path


def changed(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(step, tuple):
        return {odd if key == step[0] else key: item for key, item in value.items()}
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[step] = changed(value[step], rest, odd) if rest else odd
    return copy


BROKEN = ("tls", "blocks", "secrets", "shapes", "set")  #: of which only the texts matter
PLACES = [(name, path) for name, spec in SPECS.items() for path in places(spec)]
KINDS: list[Any] = [None, True, 0, -1, 1e-320, 1e308, 10**18, [], {}, [[]], [None], {"": ""}, {"$env": "\0"}, ["a\0"]]


def case(random: Random) -> Any:
    """A spec of which one text or key is odd, or of another kind."""
    name, path = random.choice(PLACES)
    if random.random() < 0.2 and not isinstance(path[-1], tuple):
        return changed(SPECS[name], path, random.choice(KINDS))
    odd = random.choice(ODD)
    if random.random() < 0.3:
        odd = "".join(
            chr(random.choice((random.randrange(128), random.randrange(0x11000)))) for _ in range(random.randrange(30))
        )
    return changed(SPECS[name], path, odd)


@pytest.fixture
async def judged(start: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """``await judged(spec)``: the gateway's answer, which is never its own failure."""
    caplog.set_level(logging.ERROR)
    async with start(mesh={"svc": "127.0.0.1:1"}, files=FILES) as gateway:
        headers = {**gateway.bearer(roles=("api_publisher",)), "content-type": "application/json"}

        async def judge(spec: Any) -> Any:
            caplog.clear()
            body = json.dumps(spec).encode()
            answer = await gateway.client.post("/-/routes/check", content=body, headers=headers)
            assert answer.status_code < 500, (spec, answer.text)
            assert "Traceback" not in caplog.text, spec
            return answer

        yield judge


async def test_no_text_in_a_spec_is_a_failure_of_ours(judged: Callable[..., Any]) -> None:
    for name, spec in SPECS.items():
        answer = await judged(spec)
        assert name in BROKEN or not answer.json()["problems"], answer.json()
    random = Random(11)
    for _ in range(CASES):
        await judged(case(random))


def keys(answer: Any) -> list[str]:
    return [problem["key"] for problem in answer.json()["problems"]]


TINY = [1e-320, 5e-324, 1e-300, 1e-10, 0, -1, 0.0, -0.0]
NO_NUMBER = [True, False, "1", "", "1e3", None, [], {}, [1]]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("rate_limit.rps", [*TINY, *NO_NUMBER, 1e10, 1e308]),
        ("rate_limit.internal_rps", [*TINY, *NO_NUMBER[:-4], [], 1e10]),
        ("rate_limit.burst", [True, False, "1", 0, -1, 1.5, 1.0, 10**10]),
        ("timeout", [True, False, "1", "1e3s", "0s", "0.0ms", "-1s", "0.5ms", 0, -1, 1e-300, 1e-320, 1e300]),
        ("timeout", ["9" * 400 + "s", "1 s", "s", ".5s", "٣s"]),
        ("cache.ttl", [True, False, "soon", 0, 1e-300, 1e300, "0.0001s", [], {}]),
        ("stream.idle", [True, 1e-300, "0s", 0]),
        ("stream.heartbeat", [True, 1e-300]),
        ("stream.timeout", [False, 1e-300]),
        ("connection.keepalive", [True, 1, 1e-300, "9s"]),
        ("connection.max_message", [True, "0", 0, -1, 1.5, "1.5M", "9" * 5000, 2**31]),
        ("connection.max_metadata", [True, 0, 2**20 + 1]),
        ("connection.health", [1, 0, "", "1"]),
        ("transform.grpc.reflection", [1, "yes", "true"]),
        ("transform.soap.strict", [1, "yes"]),
        ("transform.soap.faults.f", [True, "404", 404.0, 399, 600]),
        ("transform.soap.security.digest", [1, "true"]),
        ("transform.grpc.refresh", [True, "0s", 0]),
        ("transform.grpc.print.proto_names", [1, "yes"]),
        ('transform.grpc.calls["odd.S.Get"].timeout', [True, 0, 1e-300]),
        ('transform.grpc.calls["odd.S.Get"].retry.max_attempts', [True, "2", 2.5, 6]),
        ('transform.grpc.calls["odd.S.Get"].retry.multiplier', [True, "2", 0.5, 101]),
        ('transform.grpc.events["odd.S.List"].retry', [True, 1e-300, 0, "2h"]),
    ],
)  # fmt: skip
async def test_a_number_is_a_number_that_serves(judged: Callable[..., Any], key: str, values: list[Any]) -> None:
    base = (SPECS["secrets"] if ".soap." in key else SPECS["grpc"]) | {"rate_limit": {"rps": 1}}
    for value in values:
        spec = json.loads(json.dumps(base))
        node, steps = spec, re.sub(r'\["odd.S.(\w+)"\]', r".odd/S/\1", key).split(".")
        for step in steps[:-1]:
            node = node.setdefault(step.replace("/", "."), {})
        node[steps[-1]] = value
        answer = await judged(spec)
        told = keys(answer)
        assert told, (key, value)
        assert any(key.startswith(one) for one in told), (key, value, told)


@pytest.mark.parametrize(
    "limit",
    [
        {"rps": 1 / (100 * 365 * 86400)},
        {"rps": 0.001, "burst": 1},
        {"rps": 0.5, "burst": 1},
        {"rps": 1e-9, "burst": 1},
        {"rps": 1, "burst": 1, "internal_rps": 4e-10},
        {"rps": 1, "internal_rps": 1e9},
    ],
)
async def test_the_smallest_limits_limit(start: Any, upstream: Any, limit: dict[str, Any]) -> None:
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}) as gateway:
        assert (await gateway.register({**OPEN, "rate_limit": limit})).status_code == 201
        first, second = [await gateway.client.get("/p/a") for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 429)
    for answer in (first, second):
        assert "e" not in answer.headers["ratelimit"].partition("t=")[2]
        window = int(answer.headers["ratelimit-policy"].partition("w=")[2])
        assert 1 <= window <= 100 * 365 * 86400  # RFC 9651 has 15 digits
    assert 1 <= int(second.headers["retry-after"]) <= 100 * 365 * 86400


async def test_a_limit_that_no_one_lives_to_see_is_refused(judged: Callable[..., Any]) -> None:
    for limit in ({"rps": 1e-3, "burst": 10**9}, {"rps": 1e3, "burst": 10**9, "internal_rps": 1e-3}):
        assert keys(await judged({**OPEN, "rate_limit": limit})) == ["rate_limit"], limit


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log_keep", "true"), ("log_size", "true"), ("max_body", "true"), ("max_reply", "false"), ("drain", "true"),
        ("body_timeout", "true"), ("body_timeout", "1e-300"), ("drain", ".nan"), ("drain", ".inf"), ("max_body", "1.5"),
        ("max_body", ".inf"), ("log_keep", "1.5"), ("log_keep", "0"), ("drain", "0.0001ms"), ("max_body", "[1]"),
    ],
)  # fmt: skip
def test_a_settings_number_is_one_too(tmp_path: Path, name: str, text: str) -> None:
    config = tmp_path / "bridge.yml"
    config.write_text(f"{name}: {text}\n")
    with pytest.raises(SettingsError) as caught:
        load({}, config)
    assert [fault.key for fault in caught.value.faults] == [name]


VERBS = [
    "\r\nb", "b\r\n", "\n", "a b", "a\tb", "a\0b", "é", "\u2028", "a/b", "a?b", "a#b", "a%b", "%41", "%0d%0a",
    "a:b", ":", "{y}",
    "a}", "{", '"', "<b>", "a\\b", "^", "|", "[a]", "`", "\x7f", "a}:b",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_one_word(judged: Callable[..., Any], verb: str) -> None:
    assert keys(await judged({**OPEN, "route": f"/a/{{x}}:{verb}"})) == ["route"]
    assert keys(await judged({**OPEN, "route": f"/a/{{x*}}:{verb}"})) == ["route"]
    wrong = [] if verb == "a?b" else ["upstream"]  # in an upstream a question mark begins the query
    assert keys(await judged({**OPEN, "route": "/a/{x}", "upstream": f"svc:80/b/{{x}}:{verb}"})) == wrong
    for pattern in (f"/a/{{name}}:{verb}", f"/a:{verb}"):
        spec = json.loads(json.dumps(SPECS["grpc"]))
        spec["transform"]["grpc"]["http_rules"] = [{**RULE, "get": pattern}]
        answer = await judged(spec)
        if answer.json()["ok"]:  # the grammar of google.api.http takes more letters; they are published escaped
            [path] = [path for path in answer.json()["openapi"]["paths"] if path.startswith("/g/a")]
            assert path.isascii()
            assert path.isprintable()


@pytest.mark.parametrize("verb", ["go", "go-on", "v1.2", "a_b~c", "a!b", "a@b", "a=b", "a,b;c", "..", "$"])
async def test_a_verb_serves(gateway: Any, upstream: Any, verb: str) -> None:
    spec = {**OPEN, "route": f"/a/{{x}}:{verb}", "upstream": f"svc:80/b/{{x}}:{verb}"}
    assert (await gateway.register(spec)).status_code == 201
    assert (await gateway.client.get(f"/a/1:{verb}")).status_code == 200
    assert (await gateway.client.get("/a/1:other")).status_code == 404
    assert [seen.target for seen in upstream.seen] == [f"/b/1:{verb}"]


@pytest.mark.parametrize(
    "route",
    [
        "/%00", "/a%0d%0a", "/%7f", "/%E9", "/a%c0%af", "/%EF%BF%BD", "/a\r\nb", "/a b", "/é", "/a\0", "/%zz",
        "/%2e%2e", "/a//b",
    ],
)  # fmt: skip
async def test_a_route_that_no_request_could_reach_is_refused(judged: Callable[..., Any], route: str) -> None:
    assert keys(await judged({**OPEN, "route": route})) == ["route"]
    told = keys(await judged({**OPEN, "route": "/a", "upstream": f"svc:80{route}"}))
    # A legacy service may have such paths; only a request can't be compared with one.
    assert told == ([] if route in ("/%E9", "/a%c0%af", "/%EF%BF%BD") else ["upstream"])


@pytest.mark.parametrize(
    "name", ["x\0.proto", "a" * 300 + ".proto", "a/" * 1200 + "b.proto", "a\nb.proto", "**/" * 9 + "*.proto"]
)
async def test_a_file_that_can_have_no_name(judged: Callable[..., Any], name: str) -> None:
    """The key is named, and nothing is looked for."""
    for key, options in (
        ("transform.grpc.protos", {"protos": [name]}),
        ("transform.grpc.proto_paths", {"protos": ["odd.proto"], "proto_paths": [name]}),
        ("transform.grpc.descriptor_set", {"descriptor_set": name}),
        ("transform.soap.wsdl", {"wsdl": name}),
    ):
        if "*" in name and "protos" not in options:
            continue
        kind = key.split(".")[1]
        told = keys(await judged({**OPEN, "transform": {"request": kind, kind: options}}))
        assert told, key
        assert all(one.startswith(key) for one in told), told


async def test_a_host_may_end_in_a_dot(gateway: Any) -> None:
    assert (await gateway.register({**OPEN, "host": "A.example."})).status_code == 201
    for host, status in (("a.example", 200), ("a.example.", 200), ("b.example", 404)):
        assert (await gateway.client.get("/p/a", headers={"host": host})).status_code == status
    assert (await gateway.register({**OPEN, "host": "."})).status_code == 400
