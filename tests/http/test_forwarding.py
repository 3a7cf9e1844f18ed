from __future__ import annotations

import pytest

from bridge.http.forwarding import tells_where, without_authority


@pytest.mark.parametrize("name", ["location", "content-location"])
@pytest.mark.parametrize(
    ("link", "seen"),
    [
        ("/next?a=1#b", "/next?a=1#b"),
        ("next", "next"),
        ("http://things-svc:8080/next?a=1#b", "/next?a=1#b"),
        ("http://THINGS-SVC/", "/"),
        ("//things-svc//evil.example", "/evil.example"),
        ("http://10.0.0.7:8080/next", "/next"),
        ("http://[::1]:8080", "/"),
        ("//127.0.0.1/x", "/x"),
        ("http://localhost:9/x", "/x"),
        ("http://[::ffff:10.0.0.7]/x", "/x"),
        ("http://[fd00::7]/x", "/x"),
        ("http://0.0.0.0:8080/x", "/x"),
        ("https://www.example.org/x", "https://www.example.org/x"),
        # Another service's: nothing is at /x on the gateway.
        ("http://192.0.2.9/x", "http://192.0.2.9/x"),
        ("http://8.8.8.8:8080/x", "http://8.8.8.8:8080/x"),
        ("http://[2606:4700::1111]/x", "http://[2606:4700::1111]/x"),
    ],
)
def test_an_upstreams_address_is_not_told(name: str, link: str, seen: str) -> None:
    headers = [(name, link), ("content-type", "text/plain")]
    assert tells_where(headers)
    assert without_authority(headers, frozenset(("things-svc",))) == [(name, seen), headers[1]]


def test_a_location_that_is_no_uri_is_left_out() -> None:
    assert without_authority([("location", "http://[broken/x"), ("etag", "1")], frozenset()) == [("etag", "1")]


def test_a_public_address_of_the_upstream_is_not_told_either() -> None:
    instances = frozenset(("things-svc", "8.8.8.8"))
    assert without_authority([("location", "http://8.8.8.8:8080/x")], instances) == [("location", "/x")]
