"""Metadata of a call and of its answer: what the spec fills, what a client's headers may, and what comes back."""

# ruff: noqa: E501  # a row of a table stays on one line

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.api import BindError, Call, Forbidden, GrpcReply, HeadTooLarge, Identity, InvalidParameter, UpstreamFault
from bridge_grpc.metadata import MAX_SIZE, RequestMetadata, ResponseMetadata

pytestmark = pytest.mark.usefixtures("operator")

PROTO = 'syntax = "proto3";\npackage a.v1;\nmessage M { string id = 1; }\nservice S { rpc A(M) returns (M); }\n'


def call(*headers: tuple[str, str], **claims: Any) -> Call:
    return Call("POST", "/", headers=headers, identity=Identity(claims=claims))


def sent(metadata: dict[str, Any], passed: Sequence[str], of: Call) -> list[tuple[str, str | bytes]]:
    return RequestMetadata(metadata, passed, Path("/")).outgoing(of)


def secret(tmp_path: Path, metadata: dict[str, Any]) -> RequestMetadata:
    return RequestMetadata(metadata, (), tmp_path)


# --- what the spec fills ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [
        ("text", call(), ["text"]),
        (7, call(), ["7"]),
        (True, call(), ["true"]),
        ({"$claim": "sub"}, call(sub="u-1"), ["u-1"]),
        ({"$claim": "realm.level"}, call(realm={"level": 3}), ["3"]),
        ({"$claim": "roles"}, call(roles=["a", "b"]), ["a", "b"]),
        ({"$claim": "roles", "default": "x"}, call(roles=None), ["x"]),
        ({"$claim": "roles", "default": None}, call(), []),
        ({"$header": "Accept-Language", "default": "en"}, call(), ["en"]),
        ({"$header": "Accept-Language", "default": "en"}, call(("accept-language", "de, fr")), ["de, fr"]),
        ({"$header": "x-a"}, call(("x-a", "1"), ("x-b", "2"), ("x-a", "")), ["1", ""]),
    ],
)
def test_values_come_from_where_the_spec_says(value: Any, of: Call, expected: list[str]) -> None:
    assert sent({"x-it": value}, (), of) == [("x-it", each) for each in expected]


def test_bytes_are_base64_wherever_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_RAW", "AQI")
    metadata = {
        "a-bin": "AQI=",
        "b-bin": {"$claim": "raw"},
        "c-bin": {"$header": "x-raw"},
        "d-bin": {"$env": "BRIDGE_SECRET_TALLY_RAW"},
    }
    made = RequestMetadata(metadata, (), tmp_path).outgoing(call(("x-raw", "_w,AQI=,, Aw=="), raw="AAE="))
    assert made == [
        ("a-bin", b"\1\2"), ("d-bin", b"\1\2"), ("b-bin", b"\0\1"), ("c-bin", b"\xff"), ("c-bin", b"\1\2"), ("c-bin", b"\3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "of", "kind", "says"),
    [
        ("x", {"$claim": "sub"}, call(), Forbidden, "has no claim sub"),
        ("x", {"$claim": "sub"}, call(sub={"a": 1}), Forbidden, "a single value"),
        ("x", {"$claim": "sub"}, call(sub="José"), Forbidden, "printable ASCII"),
        ("x-bin", {"$claim": "sub"}, call(sub="$"), Forbidden, "base64"),
        ("x", {"$header": "x-a"}, call(), InvalidParameter, "x-a: this header is required"),
        ("x", {"$header": "x-a"}, call(("x-a", "caf\xe9")), InvalidParameter, "x-a: it must be printable ASCII"),
        ("x", {"$header": "x-a"}, call(("x-a", "a\tb")), InvalidParameter, "x-a: it must be printable ASCII"),
        ("x-bin", {"$header": "x-a"}, call(("x-a", "AQI,$")), InvalidParameter, "x-a: it needs base64"),
    ],
)
def test_what_a_call_lacks_or_says_wrongly(name: str, value: Any, of: Call, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        sent({name: value}, (), of)


def test_secrets_are_read_at_bind_and_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "abc")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/raw").write_text("AQI\n")
    made = secret(
        tmp_path, {"x-key": {"$env": "BRIDGE_SECRET_TALLY_KEY"}, "x-raw-bin": {"$file": "secrets/raw"}, "x": "open"}
    )
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "another")
    assert made.outgoing(call()) == [("x-key", "abc"), ("x-raw-bin", b"\1\2"), ("x", "open")]
    assert made.secrets == {"abc", "AQI", "AQI="}


def test_all_that_can_fail_at_bind_fails_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_TALLY_KEY", "umlaut-ä")
    metadata = {
        "x-a": {"$env": "BRIDGE_SECRET_TALLY_KEY"}, "x-b": {"$env": "BRIDGE_SECRET_NOT_SET"}, "x-c": {"$clam": "sub"}, "x-d": {"$header": "x", "default": "é"},
        "host": "x", "traceparent": "x", "x-e-bin": {"$env": "BRIDGE_SECRET_TALLY_KEY"}, "x-f": {"$claim": "a", "default": {"b": 1}},
        "transfer-encoding": "x", "x-ok": 1,
    }  # fmt: skip
    passed = ["x-*", "*", "a b", "te", "grpc-*", "connection", "x-forwarded-for", "x-ok", "x*y", "authorization"]
    with pytest.raises(BindError) as caught:
        RequestMetadata(metadata, passed, tmp_path, {"authorization"})
    keys = [fault.key.removeprefix("transform.grpc.") for fault in caught.value.faults]
    assert keys == [
        "metadata.x-a", "metadata.x-b.$env", "metadata.x-c.$clam", "metadata.x-d", "metadata.host", "metadata.traceparent",
        "metadata.x-e-bin", "metadata.x-f", "metadata.transfer-encoding", *(f"pass_headers[{n}]" for n in range(1, 10)),
    ]  # fmt: skip
    assert "umlaut" not in str(caught.value)
    with pytest.raises(BindError, match="larger than 8192 bytes"):
        RequestMetadata({"x": "y" * MAX_SIZE}, (), tmp_path)


# --- what a client's headers fill ------------------------------------------------------------------------------------


def test_headers_go_up_where_the_spec_lets_them() -> None:
    of = call(
        ("x-request-id", "r"), ("x-agency-county", "Kern"), ("x-agency-county", "Inyo"), ("cookie", "c=1"),
        ("x-agency-raw-bin", "AQI,Aw=="), ("grpc-timeout", "1S"), ("x-agency", "no"), ("x-agency-key", "forged"),
        ("x-agency_key", "forged"), ("x-agency-(odd)", "x"), ("accept-encoding", "gzip"),
    )  # fmt: skip
    metadata = {"x-agency-key": "ours"}
    assert sent(metadata, ["X-Request-ID", "x-agency-*"], of) == [
        ("x-agency-key", "ours"), ("x-request-id", "r"), ("x-agency-county", "Kern"), ("x-agency-county", "Inyo"),
        ("x-agency-raw-bin", b"\1\2"), ("x-agency-raw-bin", b"\3"),
    ]  # fmt: skip
    assert sent({}, ["g*", "a*", "c*"], of) == [("cookie", "c=1")]


def test_caches_are_told_what_an_answer_depends_on() -> None:
    def told(metadata: dict[str, Any], *passed: str) -> list[tuple[str, str]]:
        return RequestMetadata(metadata, passed, Path("/")).caching

    assert told({"x": "y"}) == []
    assert told({"x": {"$header": "X-A"}}, "x-b") == [("vary", "x-a, x-b")]
    assert told({"x": {"$claim": "sub"}}) == told({}, "x-*") == [("cache-control", "private")]


def test_a_header_that_metadata_can_t_hold_is_named() -> None:
    for name, value in (("x-a", "\xe9"), ("x-a", "a\tb"), ("x-a-bin", "A"), ("x-a-bin", "AQI=,$")):
        with pytest.raises(InvalidParameter) as caught:
            sent({}, ["x-a*"], call((name, value)))
        assert caught.value.errors[0][0] == name


def test_all_metadata_of_a_call_is_bounded() -> None:
    fits = MAX_SIZE - len("x-a") - 32
    assert sent({}, ["x-a"], call(("x-a", "y" * fits)))
    for of in (
        call(("x-a", "y" * (fits + 1))),
        call(*[("x-a", "y")] * 250),
        call(("x-a", "y" * (fits - 20)), ("x-a", "")),
    ):
        with pytest.raises(HeadTooLarge) as caught:
            sent({}, ["x-a"], of)
        assert caught.value.status == 431


# --- what comes back -------------------------------------------------------------------------------------------------


def test_metadata_and_trailers_become_header_fields() -> None:
    returned = ResponseMetadata(["X-Count", "x-cost-*"]).returned
    metadata: list[tuple[str, str | bytes]] = [
        ("x-count", "3"),
        ("x-other", "no"),
        ("x-cost-raw-bin", b"\xff\1"),
        ("x-count", "4"),
    ]
    assert returned(metadata, [("x-cost-ms", "12"), ("x-cost-é", "x"), ("grpc-status", "0")]) == [
        ("x-count", "3"), ("x-cost-raw-bin", "/wE="), ("x-count", "4"), ("x-cost-ms", "12")
    ]  # fmt: skip
    assert ResponseMetadata(["x*", "g*", "c*", "r*"]).returned(
        [("x-trace-id", "t"), ("x-ratelimit-limit", "1"), ("ratelimit", "1"), ("content-length", "1"), ("connection", "x"),
         ("content-type", "x"), ("grpc-message", "m"), ("x-bad", "a\r\nb"), ("x-bad", "é"), ("x-good", " ")], []
    ) == [("x-good", " ")]  # fmt: skip


def test_header_fields_of_an_answer_are_bounded() -> None:
    many = ResponseMetadata(["x"]).returned([("x", "y" * 1000)] * 20, [("x", "z")])
    assert many == [("x", "y" * 1000)] * 7


def test_what_never_comes_back_is_refused_at_bind() -> None:
    names = [
        "x-trace-id",
        "RateLimit-Policy",
        "x-ratelimit-*",
        "grpc-status",
        "content-type",
        "transfer-encoding",
        "*",
        "server",
    ]
    with pytest.raises(BindError) as caught:
        ResponseMetadata([*names, "x-ok"])
    assert [fault.key for fault in caught.value.faults] == [f"transform.grpc.reply_headers[{n}]" for n in range(8)]


async def test_a_codec_sends_and_returns_them(bind: Any) -> None:
    (operation,) = await bind(
        PROTO,
        method="A",
        metadata={"x-user": {"$claim": "sub"}},
        pass_headers=["x-id"],
        reply_headers=["x-*", "retry-after"],
    )
    codec: Any = operation.codec
    of = call(("x-id", "7"), sub="me")
    assert codec.request(of).metadata == [("x-user", "me"), ("x-id", "7")]
    assert codec.reply(of, GrpcReply(0, metadata=[("x-a", "1")], trailers=[("x-b", "2")])).headers == [
        ("content-type", "application/json"), ("vary", "x-id"), ("cache-control", "private"), ("x-a", "1"), ("x-b", "2")
    ]  # fmt: skip
    with pytest.raises(UpstreamFault) as caught:
        codec.reply(
            of, GrpcReply(5, detail="gone", metadata=[("x-a", "1")], trailers=[("x-b", "2"), ("retry-after", "9")])
        )
    assert caught.value.headers == (("x-a", "1"), ("x-b", "2"), ("retry-after", "9"))


async def test_faults_of_metadata_name_their_keys(bind: Any) -> None:
    with pytest.raises(BindError) as caught:
        await bind(PROTO, metadata={"x": {"$env": "BRIDGE_SECRET_NOT_SET"}})
    assert caught.value.faults[0].key == "transform.grpc.metadata.x.$env"
