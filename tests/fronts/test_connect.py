"""Connect, clause by clause of its protocol reference (connectrpc.com, docs/protocol.md)."""

# ruff: noqa: E501  # a row of a table stays on one line

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import (
    BadReply,
    Call,
    ClientError,
    Form,
    GrpcReply,
    GrpcRequest,
    InvalidBody,
    Reply,
    Service,
    StreamTranslation,
    UnsupportedMediaType,
)
from bridge.api.problem import problem
from bridge.errors import RateLimited, TooLarge, Unauthorized
from bridge.fronts.connect import Connect, ConnectGetCodec
from bridge.fronts.publish import Fronts
from bridge_grpc.schema.pool import Schema
from tests.fronts.rpc_service import MESSAGES, NOT_FOUND, PROTO, framed, opened, post, service_of, splits

JSON, PROTOBUF = "application/json", "application/proto"
STREAM_JSON, STREAM_PROTOBUF = "application/connect+json", "application/connect+proto"
VERSION = ("connect-protocol-version", "1")
TEXTS = [b"{}", b'{"county":"a"}', b'{"county":"\xc3\xa9","ballots":"7"}']


@pytest.fixture(scope="module")
def tally(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(PROTO)


FRONTS = Fronts([Connect()])


class Get:
    """GET has a codec of its own for each service; here it has the shape of a form."""

    def request(self, call: Call, service: Service) -> GrpcRequest:
        return ConnectGetCodec(service).request(call)

    def reply(self, call: Call, service: Service, inbound: GrpcReply) -> Reply:
        return ConnectGetCodec(service).reply(call, inbound)

    def open(self, call: Call, service: Service) -> StreamTranslation:
        raise AssertionError("no stream is published by GET")

    def refusal(self, call: Call, service: Service, problem: Mapping[str, Any], reply: Reply) -> Reply:
        return ConnectGetCodec(service).refusal(call, problem, reply)


def form_of(call: Call) -> Form:
    if call.method == "GET":
        return Get()
    form = FRONTS.form_of(call)
    assert form is not None
    return form


def get(query: str) -> Call:
    return Call("GET", "/x", query=query, peer="peer")


# --- unary requests ----------------------------------------------------------------------------------------------


class Sent(NamedTuple):
    clause: str
    call: Call
    message: bytes


def _sent() -> list[Sent]:
    url_safe = base64.urlsafe_b64encode(MESSAGES[2]).decode()
    squeezed = quote(base64.urlsafe_b64encode(gzip.compress(TEXTS[2])).decode())
    text = quote(TEXTS[2])
    return [
        Sent("application/proto", post(PROTOBUF, MESSAGES[2], VERSION), MESSAGES[2]),
        Sent("application/proto, empty", post(PROTOBUF, b"", VERSION), b""),
        Sent("application/proto without a version", post(PROTOBUF, MESSAGES[2]), MESSAGES[2]),
        Sent("application/proto, of no known type", post(PROTOBUF, b"\xff\xff"), b"\xff\xff"),
        Sent("application/json", post(JSON, TEXTS[2], VERSION), MESSAGES[2]),
        Sent("application/json with a charset", post(f"{JSON}; charset=utf-8", TEXTS[2], VERSION), MESSAGES[2]),
        Sent("Content-Encoding: gzip", post(JSON, gzip.compress(TEXTS[2]), VERSION, ("content-encoding", "gzip")), MESSAGES[2]),
        Sent("Content-Encoding: identity", post(JSON, TEXTS[2], VERSION, ("content-encoding", "identity")), MESSAGES[2]),
        Sent("zero-length content is not decompressed", post(PROTOBUF, b"", ("content-encoding", "gzip")), b""),
        Sent("GET, json", get(f"connect=v1&encoding=json&message={text}"), MESSAGES[2]),
        Sent("GET, parameters in any order, and unknown ones", get(f"x=1&message={text}&connect=v1&y&encoding=json"), MESSAGES[2]),
        Sent("GET, base64", get(f"connect=v1&base64=1&encoding=proto&message={url_safe}"), MESSAGES[2]),
        Sent("GET, base64 without padding", get(f"connect=v1&base64=1&encoding=proto&message={url_safe.rstrip('=')}"), MESSAGES[2]),
        Sent("GET, percent-encoded padding", get(f"connect=v1&base64=1&encoding=proto&message={quote(url_safe)}"), MESSAGES[2]),
        Sent("GET, other values of base64 are ignored", get(f"connect=v1&base64=0&encoding=json&message={text}"), MESSAGES[2]),
        Sent("GET, compression", get(f"connect=v1&base64=1&compression=gzip&encoding=json&message={squeezed}"), MESSAGES[2]),
        Sent("GET, compression=identity", get(f"connect=v1&compression=identity&encoding=json&message={text}"), MESSAGES[2]),
        Sent("GET, zero-length message is not decompressed", get("connect=v1&compression=gzip&encoding=proto&message="), b""),
    ]  # fmt: skip


@pytest.mark.parametrize("sent", _sent(), ids=lambda sent: sent.clause)
def test_requests(sent: Sent, tally: Schema) -> None:
    made = form_of(sent.call).request(sent.call, service_of(tally, "Get"))
    assert (made.path, made.message, made.metadata) == ("/tally.v1.Tally/Get", sent.message, [("from", "peer")])


REFUSED = [
    ("another version", post(PROTOBUF, b"", ("connect-protocol-version", "2")), 400),
    ("an unsupported coding", post(JSON, b"{}", VERSION, ("content-encoding", "br")), 501),
    ("content that is not gzip", post(JSON, b"{}", VERSION, ("content-encoding", "gzip")), 400),
    ("a stream's content type", post(STREAM_JSON, framed(b"{}")), 415),
    ("JSON of no length", post(JSON, b"", VERSION), 400),
    ("GET without a message", get("connect=v1&encoding=json"), 400),
    ("GET without an encoding", get("connect=v1&message={}"), 400),
    ("GET, an unsupported codec", get("connect=v1&encoding=xml&message={}"), 415),
    ("GET, an unsupported coding", get("connect=v1&encoding=json&compression=br&message={}"), 501),
    ("GET, no base64", get("connect=v1&base64=1&encoding=proto&message=a"), 400),
]


@pytest.mark.parametrize(("what", "call", "status"), REFUSED, ids=[what for what, _, _ in REFUSED])
def test_requests_that_are_refused(what: str, call: Call, status: int, tally: Schema) -> None:
    with pytest.raises(ClientError) as refused:
        form_of(call).request(call, service_of(tally, "Get"))
    assert refused.value.status == status


def test_unary_content_types_do_not_call_streams(tally: Schema) -> None:
    """ "If Streaming-Content-Type does not begin with application/connect+, servers should respond with … 415"."""
    for call in (post(JSON, b"{}", VERSION), post(PROTOBUF)):
        with pytest.raises(UnsupportedMediaType):
            form_of(call).open(call, service_of(tally, "Watch"))


def test_fields_of_the_path_count_more_than_the_message(tally: Schema) -> None:
    rpc = service_of(tally, "Get", completing=lambda call: lambda wire: wire + b"\n\x04path")
    ask = tally.message_class(tally.pool.FindMessageTypeByName("tally.v1.Ask"))
    for call in (post(PROTOBUF, b"\n\x04body\x10\x07"), post(JSON, b'{"county":"body","ballots":7}', VERSION)):
        made = ask.FromString(form_of(call).request(call, rpc).message)
        assert (made.county, made.ballots) == ("path", 7)


# --- unary answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "content_type", "body"),
    [
        (post(PROTOBUF), PROTOBUF, MESSAGES[2]),
        (post(JSON, b"", VERSION), JSON, TEXTS[2]),
        (get("connect=v1&encoding=proto&message="), PROTOBUF, MESSAGES[2]),
        (get("connect=v1&encoding=json&message={}"), JSON, TEXTS[2]),
    ],
)
def test_an_answer(call: Call, content_type: str, body: bytes, tally: Schema) -> None:
    """Content type as the request's; trailing metadata prefixed with ``trailer-``; ``connect-`` is reserved."""
    metadata, trailers = [("shard", "4"), ("connect-x", "1")], [("cost", "7"), ("connect-x", "1")]
    reply = form_of(call).reply(
        call, service_of(tally, "Get"), GrpcReply(0, MESSAGES[2], metadata=metadata, trailers=trailers)
    )
    assert reply.status == 200
    assert reply.headers == [("content-type", content_type), ("shard", "4"), ("trailer-cost", "7")]
    assert reply.body == body


#: "Error Codes", from the protocol's text.
CODES = """canceled 499; unknown 500; invalid_argument 400; deadline_exceeded 504; not_found 404; already_exists 409;
permission_denied 403; resource_exhausted 429; failed_precondition 400; aborted 409; out_of_range 400;
unimplemented 501; internal 500; unavailable 503; data_loss 500; unauthenticated 401; unknown 500"""


@pytest.mark.parametrize(("number", "row"), list(enumerate(CODES.replace("\n", " ").split(";"), 1)))
def test_error_codes(number: int, row: str, tally: Schema) -> None:
    """The last number is one that neither protocol knows."""
    name, status = row.split()
    for call in (post(PROTOBUF), get("connect=v1&encoding=proto&message=")):
        reply = form_of(call).reply(call, service_of(tally, "Get"), GrpcReply(number))
        assert reply.status == int(status)
        assert reply.headers[0] == ("content-type", "application/json")  # "must be", whatever the request's
        assert orjson.loads(reply.content) == {"code": name}


def detailed() -> GrpcReply:
    status = status_pb2.Status(code=14, message="overloaded: back off and retry")
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay={"seconds": 30}))
    status.details.add().Pack(wrappers_pb2.StringValue(value="x"))
    status.details.append(any_pb2.Any(type_url="example.org/of.nobody.Knows", value=b"\x01"))
    status.details.append(any_pb2.Any(type_url="t/google.rpc.RetryInfo", value=b"\xff"))
    return GrpcReply(14, detail=status.message, status_details=status.SerializeToString(), trailers=[("cost", "7")])


DETAILED = {
    "code": "unavailable",
    "message": "overloaded: back off and retry",
    "details": [
        {"type": "google.rpc.RetryInfo", "value": "CgIIHg", "debug": {"retryDelay": "30s"}},
        {"type": "google.protobuf.StringValue", "value": "CgF4", "debug": {"value": "x"}},
        {"type": "of.nobody.Knows", "value": "AQ"},
        {"type": "google.rpc.RetryInfo", "value": "/w"},
    ],
}


def test_an_error_with_details(tally: Schema) -> None:
    call = post(PROTOBUF)
    reply = form_of(call).reply(call, service_of(tally, "Get"), detailed())
    assert orjson.loads(reply.content) == DETAILED
    assert reply.status == 503
    assert ("trailer-cost", "7") in reply.headers
    assert ("retry-after", "30") in reply.headers


def test_details_that_can_not_be_read_are_left_out(tally: Schema) -> None:
    call = post(PROTOBUF)
    reply = form_of(call).reply(call, service_of(tally, "Get"), GrpcReply(5, detail="\ud800", status_details=b"\xff"))
    assert orjson.loads(reply.content) == {"code": "not_found", "message": "?"}


def test_an_answer_that_is_not_the_methods_type(tally: Schema) -> None:
    call = post(PROTOBUF)
    assert form_of(call).reply(call, service_of(tally, "Get"), GrpcReply(0, b"\xff")).body == b"\xff"
    call = post(JSON, b"", VERSION)
    with pytest.raises(BadReply):
        form_of(call).reply(call, service_of(tally, "Get"), GrpcReply(0, b"\xff"))


# --- streams -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000), max_size=6))
def test_a_clients_stream_is_cut_into_its_messages(tally: Schema, cuts: list[int]) -> None:
    squeezed = b"".join(framed(gzip.compress(text), flags=1) for text in TEXTS)
    sent = [
        (post(STREAM_PROTOBUF), framed(*MESSAGES)),
        (post(STREAM_JSON), framed(*TEXTS)),
        (post(STREAM_JSON, b"", ("connect-content-encoding", "gzip")), squeezed),
    ]
    for call, body in sent:
        exchange: StreamTranslation = form_of(call).open(call, service_of(tally, "Both"))
        assert exchange.sends
        assert not exchange.answers_once
        assert [message for part in splits(body, cuts) for message in exchange.feed(part)] == MESSAGES
        assert exchange.pending == 0
        assert list(exchange.finish()) == []


def test_a_server_stream(tally: Schema) -> None:
    """ "Response streams must set this bit on the final Enveloped-Message …, and must leave it unset on all other"."""
    call = post(STREAM_JSON, framed(TEXTS[1]))
    exchange = form_of(call).open(call, service_of(tally, "Watch"))
    assert not exchange.sends
    assert exchange.request.message == MESSAGES[1]
    head = exchange.head([("shard", "4"), ("connect-x", "1")])
    assert (head.status, head.body) == (200, b"")
    assert head.headers[:2] == [("content-type", STREAM_JSON), ("shard", "4")]
    assert b"".join(map(exchange.message, MESSAGES)) == framed(*TEXTS)
    assert exchange.end(GrpcReply(0)) == framed(b"{}", flags=2)
    assert exchange.end(GrpcReply(0, trailers=[("a", "1"), ("b", "2"), ("a", "3")])) == framed(
        b'{"metadata":{"a":["1","3"],"b":["2"]}}', flags=2
    )
    ((flags, last),) = opened(exchange.end(detailed()))
    assert flags == 2
    assert orjson.loads(last) == {"error": DETAILED, "metadata": {"cost": ["7"]}}


def test_a_stream_that_ends_before_its_head(tally: Schema) -> None:
    """ "Streaming responses always have an HTTP status of 200 OK", and one envelope at least."""
    for name, method in ((STREAM_JSON, "Watch"), (STREAM_PROTOBUF, "Sum")):
        call = post(name, framed(b"{}" if name == STREAM_JSON else b""))
        exchange = form_of(call).open(call, service_of(tally, method))
        reply = exchange.reply(NOT_FOUND)
        assert (reply.status, reply.headers[0]) == (200, ("content-type", name))
        ((flags, last),) = opened(reply.content)
        assert flags == 2
        assert orjson.loads(last)["error"] == {"code": "not_found", "message": NOT_FOUND.detail}


def test_a_client_stream_is_answered_at_once(tally: Schema) -> None:
    call = post(STREAM_PROTOBUF)
    exchange = form_of(call).open(call, service_of(tally, "Sum"))
    assert exchange.answers_once
    assert list(opened(exchange.reply(GrpcReply(0, b"\n\x01a")).content)) == [(0, b"\n\x01a"), (2, b"{}")]


def test_a_stream_that_fails_midway_says_so(tally: Schema) -> None:
    call = post(STREAM_PROTOBUF)
    exchange = form_of(call).open(call, service_of(tally, "Both"))
    ((flags, last),) = opened(exchange.fail({"type": "urn:bridge:problem:bad-reply", "detail": "not the message"}))
    assert flags == 2
    error = orjson.loads(last)["error"]
    assert (error["code"], error["message"]) == ("internal", "not the message")


REFUSED_STREAMS = [
    ("another version", post(STREAM_JSON, framed(b"{}"), ("connect-protocol-version", "2")), 400),
    ("an unsupported coding", post(STREAM_JSON, framed(b"{}"), ("connect-content-encoding", "zstd")), 501),
    ("compressed though not declared", post(STREAM_JSON, framed(gzip.compress(b"{}"), flags=1)), 400),
    ("the bit that request streams must leave unset", post(STREAM_JSON, framed(b"{}", flags=2)), 400),
    ("reserved bits", post(STREAM_JSON, framed(b"{}", flags=4)), 400),
    ("no message", post(STREAM_JSON), 501),
    ("two messages", post(STREAM_JSON, framed(b"{}", b"{}")), 501),
    ("JSON that is none", post(STREAM_JSON, framed(b"{")), 400),
]


@pytest.mark.parametrize(("what", "call", "status"), REFUSED_STREAMS, ids=[what for what, _, _ in REFUSED_STREAMS])
def test_streams_that_are_refused(what: str, call: Call, status: int, tally: Schema) -> None:
    with pytest.raises(ClientError) as refused:
        form_of(call).open(call, service_of(tally, "Watch"))
    assert refused.value.status == status


@given(st.binary(max_size=40), st.sampled_from([STREAM_JSON, STREAM_PROTOBUF]), st.sampled_from(["Watch", "Both"]))
def test_garbage_is_a_clients_error(tally: Schema, body: bytes, name: str, method: str) -> None:
    call = post(name, body, ("connect-content-encoding", "gzip"))
    try:
        exchange = form_of(call).open(call, service_of(tally, method))
        exchange.feed(body)
        exchange.finish()
    except ClientError:
        return


@given(st.text(max_size=60))
def test_garbage_in_a_query_is_a_clients_error(tally: Schema, rest: str) -> None:
    for query in (f"connect=v1&{rest}", f"connect=v1&base64=1&encoding=json&message={rest}"):
        call = get(query)
        try:
            form_of(call).request(call, service_of(tally, "Get"))
        except ClientError:
            continue


# --- refusals ----------------------------------------------------------------------------------------------------


def refuse(call: Call, tally: Schema, error: Exception) -> tuple[Reply, Any]:
    refused = problem(error, "0" * 32)
    reply = form_of(call).refusal(call, service_of(tally, "Get"), orjson.loads(refused.content), refused)
    if reply.headers[0][1] == "application/json":
        return reply, orjson.loads(reply.content)
    ((flags, last),) = opened(reply.content)
    assert flags == 2
    return reply, orjson.loads(last)["error"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unauthorized("who?"), 401, "unauthenticated"),
        (RateLimited("later", headers=[("retry-after", "3")]), 429, "resource_exhausted"),
        (TooLarge("large"), 429, "resource_exhausted"),
        (InvalidBody([("/a", "wrong")]), 400, "invalid_argument"),
        (UnsupportedMediaType("what?"), 415, "unimplemented"),  # "it must respond with … 415"
        (ZeroDivisionError(), 500, "internal"),
    ],
    ids=lambda value: str(value),
)
@pytest.mark.filterwarnings("ignore")
def test_refusals(error: Exception, status: int, code: str, tally: Schema) -> None:
    for call in (post(PROTOBUF), post(JSON, b"", VERSION), get("connect=v1")):
        reply, told = refuse(call, tally, error)
        assert (reply.status, told["code"]) == (status, code)
    reply, told = refuse(post(STREAM_JSON), tally, error)
    assert (reply.status, told["code"]) == (200, code)
    assert reply.headers[0] == ("content-type", STREAM_JSON)


def test_a_refusal_keeps_its_fields_and_says_why(tally: Schema) -> None:
    reply, told = refuse(post(PROTOBUF), tally, RateLimited("Try again.", headers=[("retry-after", "3")]))
    assert ("retry-after", "3") in reply.headers
    assert told["message"] == "Try again."
    info, waits = told["details"]
    assert info["type"] == "google.rpc.ErrorInfo"
    assert info["debug"] == {"reason": "RATE_LIMITED", "domain": "bridge", "metadata": {"trace_id": "0" * 32}}
    assert waits["debug"] == {"retryDelay": "3s"}
