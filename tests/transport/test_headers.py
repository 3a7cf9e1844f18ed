"""The tables of fields that end at the gateway: each entry is walked, so none can be lost in silence."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.http import forwarding as tables
from bridge.http.forwarding import end_to_end, forwardable, returnable

KEPT = [("accept", "application/json"), ("cookie", "a=1"), ("x-kept", "1"), ("x-kept", "2"), ("te-x", "y")]

#: RFC 9110, section 7.6.1, and RFC 9112 for the framing. Written out, so that the table can't vouch for itself.
STANDARD = [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "host", "expect",
]  # fmt: skip
ORIGIN = [
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-real-ip",
    "x-http-method-override", "x-original-url",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted({*STANDARD, *tables.HOP_BY_HOP, *tables.FRAMING}))
@pytest.mark.parametrize("strip", [end_to_end, forwardable, returnable])
def test_fields_of_one_connection_end_here(strip: Any, name: Any) -> None:
    assert strip([*KEPT, (name, "x")]) == KEPT


@pytest.mark.parametrize("name", sorted({*ORIGIN, *tables.ORIGIN, *tables.OVERRIDES}))
def test_only_the_gateway_says_who_called_and_for_what(name: Any) -> None:
    assert forwardable([(name, "x"), *KEPT]) == KEPT
    assert forwardable([(name.replace("-", "_"), "x"), *KEPT]) == KEPT
    assert end_to_end([(name, "x"), *KEPT]) == [(name, "x"), *KEPT]  # so that the gateway can set it


@pytest.mark.parametrize("name", ["server", "x-powered-by", "date", "content-length"])
def test_replies_do_not_tell_of_the_upstreams_software(name: Any) -> None:
    assert returnable([(name, "x"), *KEPT]) == KEPT


@pytest.mark.parametrize("strip", [end_to_end, forwardable, returnable])
def test_connection_nominates(strip: Any) -> None:
    brought = [("x-a", "1"), ("connection", " X-A ,close"), ("x-b", "2"), ("connection", "x-c"), ("x-c", "3")]
    assert strip(brought) == [("x-b", "2")]


def test_connection_can_not_take_out_what_others_rely_on() -> None:
    brought = [("content-type", "text/xml"), ("connection", "content-type, authorization"), ("authorization", "x")]
    assert end_to_end(brought) == [brought[0], brought[2]]


def test_consumed_credentials_stay_here() -> None:
    brought = [("authorization", "Bearer x"), ("x-api-key", "k"), ("x_api_key", "k"), ("x_other", "1")]
    assert forwardable(brought, frozenset(("authorization", "x-api-key"))) == [("x_other", "1")]
    assert forwardable(brought) == brought
