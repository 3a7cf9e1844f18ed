"""What a trusted proxy says of the address that clients use."""

from __future__ import annotations

import pytest

from bridge.http.public_address import public_base, public_prefix


@pytest.mark.parametrize(
    ("prefix", "result"),
    [
        ("/gateway", "/gateway"),
        ("/a/b-c/d%20e/", "/a/b-c/d%20e"),
        ("/", ""),
        ("", ""),
        ("/evil, /gateway", "/gateway"),
        ("gateway", ""),
        ("//elsewhere.example", ""),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/a/%2E%2e", ""),
        ("/a/.", ""),
        ("/.hidden/..x", "/.hidden/..x"),
        ("/a?b", ""),
        ("/a#b", ""),
        ("/a b", ""),
        ('/a"><script>', ""),
        ("/a%2", ""),
        ("/\xe9", ""),
        ("https://elsewhere.example/a", ""),
        ("/" + "a" * 1024, ""),
    ],
)
def test_a_prefix_is_a_path_or_nothing(prefix: str, result: str) -> None:
    assert public_prefix([("x-forwarded-prefix", prefix)]) == result


@pytest.mark.parametrize(
    ("fields", "base"),
    [
        ({}, ""),
        ({"proto": "https"}, "https://gw:8080"),
        ({"proto": "HTTPS", "host": "api.example", "prefix": "/eu/"}, "https://api.example/eu"),
        ({"host": "api.example:8443"}, "http://api.example:8443"),
        ({"host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
        ({"prefix": "/eu"}, "http://gw:8080/eu"),
        ({"proto": "javascript", "host": "a/b", "prefix": "//x"}, ""),
        ({"proto": "wss", "prefix": "/eu"}, "http://gw:8080/eu"),
        ({"host": "evil@api.example", "proto": "https"}, "https://gw:8080"),
        ({"host": "x" * 400, "proto": "https"}, "https://gw:8080"),
        ({"host": "client.example, api.example", "proto": "http,https"}, "https://api.example"),
    ],
)
def test_where_clients_see_the_gateway(fields: dict[str, str], base: str) -> None:
    headers = [(f"x-forwarded-{name}", value) for name, value in fields.items()]
    assert public_base(headers, "http", "gw:8080") == base


def test_the_last_field_counts() -> None:
    headers = [("x-forwarded-prefix", "/clients-own"), ("host", "gw"), ("x-forwarded-prefix", "/gateway")]
    assert public_prefix(headers) == "/gateway"
