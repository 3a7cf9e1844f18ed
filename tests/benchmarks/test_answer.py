"""When two answers are the same by value, and when they are not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from benchmarks.side_by_side import sample
from benchmarks.side_by_side.answer import WrongAnswer, differs, order_of, plain, values
from benchmarks.side_by_side.services.http import answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Price": "19.95"}, {"price": 19.95}),
        ({"id": "4711"}, {"id": 4711}),
        ({"at": "2026-11-03T20:15:00Z"}, {"at": "2026-11-03T20:15:00.000+00:00"}),
        ({"PlaceOrderResult": {"a": 1}}, {"a": 1}),
        ([{"result": {"n": 1}}], [{"n": "1"}]),
    ],
)
def test_what_gateways_may_do_differently(one: Any, other: Any) -> None:
    assert not differs(plain(one), plain(other))


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        ({"a": 1}, {}, ".a is missing"),
        ({}, {"a": 1}, ".a is too much"),
        ({"a": [1, 2]}, {"a": [1]}, ".a has 1 items, not 2"),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, ".a[0].b is 'y', not 'x'"),
        ({"a": True}, {"a": 1}, ".a is Decimal('1'), not True"),
        ({"a": True}, {"a": "true"}, ".a is 'true', not True"),
        ({"a": "2026-11-03T20:15:00Z"}, {"a": "2026-11-03T20:15:00+01:00"}, ".a is "),
        ({"a": ["x"]}, {"a": "x"}, ".a is 'x', not ['x']"),
        ({"a": None}, {"a": ""}, ".a is '', not None"),
    ],
)
def test_what_they_may_not(expected: Any, got: Any, words: str) -> None:
    assert differs(plain(expected), plain(got)).startswith(words)


def test_a_stream_is_the_list_of_its_lines() -> None:
    assert values(b'{"n":1}\n{"n":2}\n') == [{"n": 1}, {"n": 2}]
    with pytest.raises(WrongAnswer, match="not JSON: upstream"):
        values(b"upstream connect error")


def envelope(lines: int) -> bytes:
    """A request to the service, made of its own answer."""
    return sample.soap_reply(lines).replace(b"PlaceOrderResponse", b"PlaceOrder").replace(b"PlaceOrderResult", b"order")


def test_the_services_order_is_compared_by_value() -> None:
    assert not differs(plain(sample.soap_order(5)), plain(order_of(envelope(5))))
    other = envelope(5).replace(b"<Gift>true</Gift>", b"<Gift>false</Gift>", 1)
    assert differs(plain(sample.soap_order(5)), plain(order_of(other))) == ".lines.orderline[0].gift is False, not True"
    with pytest.raises(WrongAnswer, match="no order"):
        order_of(envelope(5).replace(b"http://tempuri.org/", b"urn:other"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        (b"POST", b"/Orders.asmx", envelope(5), b"200"),
        (b"POST", b"/Orders.asmx", envelope(100), b"200"),
        (b"POST", b"/Orders.asmx", envelope(6), b"400"),
        (b"POST", b"/Orders.asmx", envelope(5)[:-200], b"400"),
        (b"POST", b"/Orders.asmx", b"", b"400"),
        (b"POST", b"/plain", sample.plain(), b"200"),
        (b"POST", b"/plain", sample.plain()[:-1], b"400"),
        (b"GET", b"/feed/governor", b"", b"400"),
    ],
)
def test_the_service_refuses_what_the_bench_does_not_send(
    method: bytes, path: bytes, body: bytes, status: bytes
) -> None:
    assert answer(method, path, body).split()[1] == status


def test_the_samples_are_of_the_sizes_that_they_are_named_for() -> None:
    assert len(sample.blob()) == 1_000_000
    assert len(orjson.loads(sample.blob())) > 10_000
    assert 9_000 < len(orjson.dumps(sample.grpc_order(100))) < 11_000
    assert len(sample.ticks()) == 1000
