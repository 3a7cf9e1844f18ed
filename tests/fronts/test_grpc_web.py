"""gRPC-Web, clause by clause of grpc/doc/PROTOCOL-WEB.md and of gRPC over HTTP/2 where that refers to it."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.api import BadReply, Call, ClientError, GrpcReply, InvalidBody, StreamTranslation
from bridge.api.problem import problem
from bridge.errors import Forbidden, RateLimited
from bridge.fronts.grpc_web import GrpcWeb, GrpcWebForm
from bridge.fronts.publish import Fronts
from bridge_grpc.schema.pool import Schema
from tests.fronts.rpc_service import (
    MESSAGES,
    NOT_FOUND,
    PROTO,
    framed,
    opened,
    post,
    service_of,
    splits,
    trailers_of,
)

BINARY, TEXT = "application/grpc-web", "application/grpc-web-text"


@pytest.fixture(scope="module")
def tally(make_schema: Callable[[str], Schema]) -> Schema:
    return make_schema(PROTO)


FRONTS = Fronts([GrpcWeb()])


def form_of(call: Call) -> GrpcWebForm:
    form = FRONTS.form_of(call)
    assert isinstance(form, GrpcWebForm)
    return form


# --- content types -----------------------------------------------------------------------------------------------


class Named(NamedTuple):
    clause: str
    content_type: str
    accept: str
    answered: str


NAMES = [
    Named("Content-Type 1", BINARY, "", "application/grpc-web+proto"),
    Named("Content-Type 1, +proto", f"{BINARY}+proto", "", "application/grpc-web+proto"),
    Named("Content-Type 1, +json", f"{BINARY}+json", "", "application/grpc-web+json"),
    Named("Content-Type 2", TEXT, "", "application/grpc-web-text+proto"),
    Named("Content-Type 2, +proto", f"{TEXT}+proto", "", "application/grpc-web-text+proto"),
    Named("media types have parameters, and no case", "Application/GRPC-Web ; x=y", "", "application/grpc-web+proto"),
    Named("Text-encoded streams 1: Accept", BINARY, TEXT, "application/grpc-web-text+proto"),
    Named("Text-encoded streams 2: base64 by name", f"{TEXT}-base64", "", "application/grpc-web-text+proto"),
    Named("… in Accept", BINARY, f"{TEXT}-base64", "application/grpc-web-text+proto"),
    Named("Accept names another format", BINARY, f"{BINARY}+json", "application/grpc-web+json"),
    Named("Accept names none, so the request's", f"{BINARY}+json", BINARY, "application/grpc-web+json"),
    Named("Accept of others", TEXT, "application/json, */*;q=0.5", "application/grpc-web-text+proto"),
    Named("Accept of several", TEXT, f"*/*, {BINARY}; q=1", "application/grpc-web+proto"),
]


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.clause)
def test_content_types(case: Named, tally: Schema) -> None:
    call = post(case.content_type, b"", ("accept", case.accept))
    reply = form_of(call).reply(call, service_of(tally, "Put"), GrpcReply(0, MESSAGES[2]))
    assert reply.headers[0] == ("content-type", case.answered)
    body = base64.b64decode(reply.content, validate=True) if "-text" in case.answered else reply.content
    (flags, message), (last, _) = opened(body)
    assert (flags, last) == (0, 0x80)
    assert message == (b'{"county":"\xc3\xa9","ballots":"7"}' if "json" in case.answered else MESSAGES[2])


@pytest.mark.parametrize(
    "name", [f"{BINARY}+thrift", "application/grpc+thrift", "application/grpc-webx", "text/plain", ""]
)
def test_what_is_not_grpc_web(name: str) -> None:
    assert FRONTS.form_of(post(name)) is None
    assert FRONTS.form_of(Call("PUT", "/x", headers=[("content-type", BINARY)])) is None


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=["empty", "short", "unicode"])
def test_a_message_goes_up_as_it_came(message: bytes, tally: Schema) -> None:
    rpc = service_of(tally, "Put")
    plain = post(BINARY, framed(message))
    text = post(TEXT, base64.b64encode(framed(message)))
    squeezed = post(BINARY, framed(gzip.compress(message), flags=1), ("grpc-encoding", "gzip"))
    whole = post(BINARY, gzip.compress(framed(message)), ("content-encoding", "gzip"))  # "Full-body compression"
    for call in (plain, text, squeezed, whole):
        made = form_of(call).request(call, rpc)
        assert (made.path, made.message, made.metadata) == ("/tally.v1.Tally/Put", message, [("from", "peer")])


def test_a_message_that_is_not_the_methods_type_is_the_services_to_refuse(tally: Schema) -> None:
    call = post(BINARY, framed(b"\xff\xff\xff"))
    assert form_of(call).request(call, service_of(tally, "Put")).message == b"\xff\xff\xff"


def test_text_may_come_in_padded_chunks(tally: Schema) -> None:
    """ "The implementation may send base64-encoded chunks with potential padding"."""
    sent = framed(MESSAGES[2])
    call = post(TEXT, b"".join(base64.b64encode(sent[at : at + 1]) for at in range(len(sent))))
    assert form_of(call).request(call, service_of(tally, "Put")).message == MESSAGES[2]


def test_json_is_read_and_all_its_faults_are_told(tally: Schema) -> None:
    rpc = service_of(tally, "Put")
    call = post(f"{BINARY}+json", framed('{"county":"é","ballots":7}'.encode()))
    assert form_of(call).request(call, rpc).message == MESSAGES[2]
    call = post(f"{BINARY}+json", framed(b'{"county":1,"x":2}'))
    with pytest.raises(InvalidBody) as refused:
        form_of(call).request(call, rpc)
    assert {pointer for pointer, _ in refused.value.errors} == {"/county", "/x"}


def test_fields_of_the_path_count_more_than_the_message(tally: Schema) -> None:
    rpc = service_of(tally, "Put", completing=lambda call: lambda wire: wire + b"\n\x04path")
    call = post(BINARY, framed(b"\n\x04body\x10\x07"))
    ask = tally.message_class(tally.pool.FindMessageTypeByName("tally.v1.Ask"))
    made = ask.FromString(form_of(call).request(call, rpc).message)
    assert (made.county, made.ballots) == ("path", 7)


REFUSED = [
    ("no message", b"", 501),
    ("two messages", framed(b"a", b"b"), 501),
    ("half a message", framed(b"abc")[:-1], 400),
    ("half a header", b"\0\0", 400),
    ("trailers, which only answers have", framed(b"a") + framed(b"x: y\r\n", flags=0x80), 400),
    ("compressed though not declared", framed(gzip.compress(b"a"), flags=1), 400),
]


@pytest.mark.parametrize(("what", "body", "status"), REFUSED, ids=[what for what, _, _ in REFUSED])
def test_requests_that_are_refused(what: str, body: bytes, status: int, tally: Schema) -> None:
    call = post(BINARY, body)
    with pytest.raises(ClientError) as refused:
        form_of(call).request(call, service_of(tally, "Put"))
    assert refused.value.status == status


@given(st.binary(max_size=40), st.sampled_from([BINARY, TEXT, f"{BINARY}+json"]), st.sampled_from(["Put", "Both"]))
@settings(max_examples=200)
def test_garbage_is_a_clients_error(tally: Schema, body: bytes, name: str, method: str) -> None:
    call = post(name, body, ("grpc-encoding", "gzip"))
    try:
        exchange = form_of(call).open(call, service_of(tally, method))
        exchange.feed(body)
        exchange.finish()
    except ClientError:
        return


# --- answers -----------------------------------------------------------------------------------------------------


def test_trailers_are_the_last_message_of_the_body(tally: Schema) -> None:
    """Message framing 1 to 3: a block of HTTP/1 fields in small letters, without the terminating newline."""
    call = post(BINARY)
    inbound = GrpcReply(0, b"\n\x01a", metadata=[("shard", "4")], trailers=[("cost", "7"), ("raw-bin", b"\x01")])
    reply = form_of(call).reply(call, service_of(tally, "Put"), inbound)
    assert reply.status == 200
    assert reply.headers == [("content-type", "application/grpc-web+proto"), ("shard", "4")]
    block = b"grpc-status: 0\r\ncost: 7\r\nraw-bin: 01\r\n"
    assert list(opened(reply.content)) == [(0, b"\n\x01a"), (0x80, block)]


def test_an_empty_answer_is_a_message(tally: Schema) -> None:
    call = post(BINARY)
    reply = form_of(call).reply(call, service_of(tally, "Put"), GrpcReply(0))
    assert list(opened(reply.content)) == [(0, b""), (0x80, b"grpc-status: 0\r\n")]


def test_trailers_only(tally: Schema) -> None:
    """Message framing 4, with Percent-Encoded grpc-message."""
    call = post(BINARY)
    reply = form_of(call).reply(call, service_of(tally, "Put"), NOT_FOUND)
    assert reply.status == 200
    assert reply.body == b""
    told = dict(reply.headers)
    assert told["grpc-status"] == "5"
    assert told["grpc-message"] == "no such county: 100%25 %C3%A9%0A"
    assert told["cost"] == "7"


@pytest.mark.parametrize(
    ("detail", "sent"), [(" a  b ", "%20a  b%20"), (" ", "%20"), ("  ", "%20%20"), ("a\n", "a%0A")]
)
def test_a_message_has_no_blanks_at_its_ends(tally: Schema, detail: str, sent: str) -> None:
    """RFC 9113, section 8.2.1: clients of HTTP/2 would refuse the field, or drop them."""
    call = post(BINARY)
    reply = form_of(call).reply(call, service_of(tally, "Put"), GrpcReply(5, detail=detail))
    assert dict(reply.headers)["grpc-message"] == sent


def test_large_details_go_into_the_body(tally: Schema) -> None:
    """A head of many kilobytes would be refused on its way."""
    status = status_pb2.Status(code=5, message="x" * 9000).SerializeToString()
    inbound = GrpcReply(5, detail="x", status_details=status)
    for name in (BINARY, TEXT):
        call = post(name)
        reply = form_of(call).reply(call, service_of(tally, "Put"), inbound)
        assert [name for name, _ in reply.headers] == ["content-type"]
        ((flags, block),) = opened(base64.b64decode(reply.content) if name == TEXT else reply.content)
        assert flags == 0x80
        sent = trailers_of(block)["grpc-status-details-bin"]
        assert "=" not in sent
        assert base64.b64decode(sent + "==") == status


def test_nothing_is_returned_unless_the_route_says_so(tally: Schema) -> None:
    rpc = service_of(tally, "Put", returned=lambda metadata, trailers: [])
    call = post(BINARY)
    reply = form_of(call).reply(call, rpc, GrpcReply(0, metadata=[("a", "b")], trailers=[("c", "d")]))
    assert len(reply.headers) == 1
    assert list(opened(reply.content))[1] == (0x80, b"grpc-status: 0\r\n")


@pytest.mark.parametrize("name", ["Bad", "a b", "grpc-status", "grpc-message", "x:y", "", "x\r\ny"])
def test_names_that_would_break_the_block_are_left_out(name: str, tally: Schema) -> None:
    inbound = GrpcReply(0, metadata=[(name, "1")], trailers=[(name, "1"), ("ok", "1"), ("bad", "a\r\ngrpc-status: 5")])
    call = post(BINARY)
    reply = form_of(call).reply(call, service_of(tally, "Put"), inbound)
    assert len(reply.headers) == 1
    assert list(opened(reply.content))[1][1] == b"grpc-status: 0\r\nok: 1\r\n"


def test_an_answer_that_is_not_the_methods_type(tally: Schema) -> None:
    inbound = GrpcReply(0, b"\xff")
    call = post(BINARY)
    assert next(opened(form_of(call).reply(call, service_of(tally, "Put"), inbound).content)) == (0, b"\xff")
    call = post(f"{BINARY}+json")
    with pytest.raises(BadReply):
        form_of(call).reply(call, service_of(tally, "Put"), inbound)


# --- streams -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1000), max_size=6))
def test_a_clients_stream_is_cut_into_its_messages(tally: Schema, cuts: list[int]) -> None:
    for name, body in ((BINARY, framed(*MESSAGES)), (TEXT, b"".join(base64.b64encode(framed(m)) for m in MESSAGES))):
        call = post(name)
        exchange: StreamTranslation = form_of(call).open(call, service_of(tally, "Both"))
        assert exchange.sends
        assert not exchange.answers_once
        assert [message for part in splits(body, cuts) for message in exchange.feed(part)] == MESSAGES
        assert exchange.pending == 0
        assert list(exchange.finish()) == []


def test_each_answer_is_encoded_by_itself(tally: Schema) -> None:
    """ "The server runtime will always base64-encode and flush gRPC messages atomically"."""
    call = post(TEXT, base64.b64encode(framed(b"\n\x01a")))
    exchange = form_of(call).open(call, service_of(tally, "Watch"))
    assert not exchange.sends
    assert exchange.request.message == b"\n\x01a"
    head = exchange.head([("shard", "4")])
    assert (head.status, head.body) == (200, b"")
    assert ("shard", "4") in head.headers
    said = [exchange.message(message) for message in MESSAGES]
    assert [base64.b64decode(part, validate=True) for part in said] == [framed(message) for message in MESSAGES]
    last = exchange.end(NOT_FOUND)
    assert isinstance(last, bytes)
    ((flags, block),) = opened(base64.b64decode(last))
    assert flags == 0x80
    assert trailers_of(block) | {"grpc-message": ""} == {"grpc-status": "5", "grpc-message": "", "cost": "7"}


def test_a_client_stream_is_answered_at_once(tally: Schema) -> None:
    call = post(BINARY)
    exchange = form_of(call).open(call, service_of(tally, "Sum"))
    assert exchange.answers_once
    assert [flags for flags, _ in opened(exchange.reply(GrpcReply(0, b"")).content)] == [0, 0x80]
    assert dict(exchange.reply(NOT_FOUND).headers)["grpc-status"] == "5"


def test_a_stream_that_fails_midway_says_so(tally: Schema) -> None:
    call = post(BINARY)
    exchange = form_of(call).open(call, service_of(tally, "Both"))
    ((flags, block),) = opened(exchange.fail({"type": "urn:bridge:problem:upstream-timeout", "detail": "too long"}))
    assert flags == 0x80
    told = trailers_of(block)
    assert (told["grpc-status"], told["grpc-message"]) == ("4", "too long")


def test_a_body_that_is_compressed_as_a_whole_can_not_be_a_stream(tally: Schema) -> None:
    call = post(BINARY, b"", ("content-encoding", "gzip"))
    with pytest.raises(ClientError) as refused:
        form_of(call).open(call, service_of(tally, "Both"))
    assert refused.value.status == 501


# --- refusals ----------------------------------------------------------------------------------------------------


def refuse(call: Call, tally: Schema, error: Exception) -> tuple[dict[str, str], status_pb2.Status]:
    import orjson

    refused = problem(error, "0" * 32)
    reply = form_of(call).refusal(call, service_of(tally, "Put"), orjson.loads(refused.content), refused)
    assert reply.status == 200
    assert reply.body == b""
    told = dict(reply.headers)
    assert told["content-type"] == form_of(call).media_type
    return told, status_pb2.Status.FromString(base64.b64decode(told["grpc-status-details-bin"] + "=="))


def unpacked(status: Any, kind: Any) -> Any:
    made = kind()
    assert any(detail.Unpack(made) for detail in status.details)
    return made


def test_a_refusal_keeps_its_fields_and_says_why(tally: Schema) -> None:
    told, status = refuse(post(TEXT), tally, RateLimited("Try again.", headers=[("retry-after", "3")]))
    assert (told["grpc-status"], told["grpc-message"], told["retry-after"]) == ("8", "Try again.", "3")
    info = unpacked(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == ("RATE_LIMITED", "bridge", {"trace_id": "0" * 32})
    assert unpacked(status, error_details_pb2.RetryInfo).retry_delay.seconds == 3
    told, _ = refuse(post(BINARY), tally, Forbidden())
    assert told["grpc-status"] == "7"


def test_a_refused_body_names_each_fault(tally: Schema) -> None:
    told, status = refuse(post(BINARY), tally, InvalidBody([("/a", "wrong"), ("/b", "wrong, too")]))
    assert told["grpc-status"] == "3"
    violations = unpacked(status, error_details_pb2.BadRequest).field_violations
    assert [(each.field, each.description) for each in violations] == [("/a", "wrong"), ("/b", "wrong, too")]
