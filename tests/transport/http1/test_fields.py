"""A request's fields: what is remembered of names changes nothing of what goes up."""

from __future__ import annotations

import pytest

from bridge.api.call import HttpRequest
from bridge.errors import ClientError
from bridge.http.memo import Memo
from bridge.transport.http1 import fields
from bridge.transport.http1.fields import check_method, outgoing

HOST = ("host", "svc")


def out(*brought: tuple[str, str], trace: tuple[tuple[str, str], ...] = (), decode: bool = False) -> list[object]:
    request = HttpRequest("GET", "/", list(brought), b"", decode)
    first, second = (list(outgoing(HOST, request, trace)) for _ in range(2))  # from memory the second time
    assert first == second
    assert request.headers == list(brought)
    return list(first)


def test_order_case_and_memory() -> None:
    assert out(("B", "1"), ("a", "2"), ("b", "3")) == [HOST, ("b", "1"), ("a", "2"), ("b", "3")]
    assert out() == [HOST]


def test_what_ends_here() -> None:
    brought = ("Host", "x"), ("TE", "x"), ("Content-Length", "9"), ("Proxy-Authorization", "x"), ("expect", "x")
    assert out(*brought, ("c", "1")) == [HOST, ("c", "1")]
    assert out(("Connection", "X-Gone, close"), ("x-GONE", "1"), ("c", "1")) == [HOST, ("c", "1")]
    assert out(("connection", "content-type"), ("content-type", "a")) == [HOST, ("content-type", "a")]


def test_trace_and_coding_replace() -> None:
    brought = ("X-Trace-Id", "theirs"), ("Accept-Encoding", "br"), ("c", "1")
    trace = (("x-trace-id", "ours"),)
    assert out(*brought, trace=trace) == [HOST, ("accept-encoding", "br"), ("c", "1"), *trace]
    assert out(*brought, trace=trace, decode=True) == [HOST, ("c", "1"), *trace, ("accept-encoding", "identity")]
    hidden = out(("connection", "c"), *brought, trace=trace)
    assert hidden == [HOST, ("accept-encoding", "br"), *trace]


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", "a\r\nb", "a\0", "(a)"])
def test_names_that_are_none(name: str) -> None:
    for _ in range(2):
        with pytest.raises(ClientError):
            out((name, "x"))
        with pytest.raises(ClientError):
            out(trace=((name, "x"),))


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "\0", "\x1f", "\x7f", "\ud800", "é\r\n"])
def test_values_that_are_none(value: str) -> None:
    for brought, trace in (((("a", value),), ()), ((), (("a", value),))):
        with pytest.raises(ClientError):
            out(*brought, trace=trace)


def test_methods() -> None:
    for method in ("GET", "LIST", "M-SEARCH"):
        check_method(method)
    for method in ("", "G T", "GET\r\n", "É"):
        with pytest.raises(ClientError):
            check_method(method)


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_names", Memo(fields.MAX_NAMES))
    for number in range(fields.MAX_NAMES + 100):
        assert out((f"X-{number}", "1")) == [HOST, (f"x-{number}", "1")]
    assert len(fields._names) == fields.MAX_NAMES
