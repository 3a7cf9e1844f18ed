"""Origins and patterns of them: properties, and the same by a plain reading of URLs."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http.origin import NULL, Origins, WebOrigin, is_own, origin_pattern, parse_origin

LABELS = st.sampled_from(["a", "app", "x-1", "example", "org", "evil", "xn--bcher-kva"])
NAMES = st.lists(LABELS, min_size=2, max_size=5).map(".".join)
SCHEMES = st.sampled_from(["https", "http"])
PORTS = st.sampled_from(["", ":80", ":443", ":8443", ":81"])
ORIGINS = st.builds(lambda scheme, name, port: f"{scheme}://{name}{port}", SCHEMES, NAMES, PORTS)
PATTERNS = st.one_of(
    ORIGINS,
    NAMES,
    st.builds(lambda scheme, name, port: f"{scheme}://*.{name}{port}", SCHEMES, NAMES, PORTS),
    st.builds(lambda scheme, name: f"{scheme}://{name}:*", SCHEMES, NAMES),
)
DEFAULT = {"https": 443, "http": 80}


def allowed(pattern: str, origin: str) -> bool:
    """A plain reading of the documentation."""
    page = urlsplit(origin)
    assert page.hostname
    if page.port == DEFAULT[page.scheme]:
        return False  # no browser writes that
    if "://" not in pattern:
        pattern = f"https://{pattern}"
    scheme, rest = pattern.split("://")
    host, _, port = rest.partition(":")
    same_port = port == "*" or (page.port or DEFAULT[page.scheme]) == int(port or DEFAULT[scheme])
    name = page.hostname
    same_host = name.endswith(host[1:]) and name != host[2:] if host.startswith("*.") else name == host
    return scheme == page.scheme and same_port and same_host


@given(st.lists(PATTERNS, max_size=6), ORIGINS)
def test_it_allows_what_a_pattern_says(patterns: list[str], origin: str) -> None:
    origins = Origins(map(origin_pattern, patterns))
    assert (origin in origins) == any(allowed(pattern, origin) for pattern in patterns)


@given(st.lists(PATTERNS, max_size=6), st.text(max_size=60))
def test_no_other_text_is_allowed(patterns: list[str], text: str) -> None:
    if parse_origin(text) is None:
        assert text not in Origins(map(origin_pattern, patterns))


@given(
    NAMES,
    NAMES,
    st.sampled_from(["", ".", "-", "@", "/", "\\", "#", "?", ":", "%2e", "%00", "\0", "\t", " ", ",", "_"]),
)
def test_nothing_around_a_name_makes_it_another(name: str, evil: str, sign: str) -> None:
    """`app.example.org` of a list is neither the beginning nor the end of somebody else's name."""
    origins = Origins([origin_pattern(f"https://{name}"), origin_pattern(f"https://*.{name}")])
    for host in (f"{name}{sign}{evil}.test", f"{evil}{sign}test.{name}.test", f"{evil}{sign}{name}"):
        is_below = host.endswith(f".{name}") and parse_origin(f"https://{host}") is not None
        assert (f"https://{host}" in origins) == (is_below or host == name), host


@given(PATTERNS)
def test_the_normal_form_is_the_same_pattern(text: str) -> None:
    pattern = origin_pattern(text)
    assert origin_pattern(pattern.text) == pattern
    assert origin_pattern(text.upper()) == pattern


@given(ORIGINS)
def test_a_serialised_origin_reads_as_itself(text: str) -> None:
    page = urlsplit(text)
    parsed = parse_origin(text)
    if page.port == DEFAULT[page.scheme]:
        assert parsed is None
    else:
        assert parsed == WebOrigin(page.scheme, str(page.hostname), page.port or DEFAULT[page.scheme])


@pytest.mark.parametrize(
    ("pattern", "origin", "is_allowed"),
    [
        ("https://app.example.org", "https://app.example.org", True),
        ("HTTPS://App.Example.ORG:443", "https://app.example.org", True),
        ("app.example.org", "https://app.example.org", True),
        ("app.example.org", "http://app.example.org", False),
        ("https://app.example.org", "https://app.example.org:443", False),
        ("https://app.example.org", "https://app.example.org.", False),
        ("https://app.example.org", "https://APP.example.org", False),
        ("https://app.example.org", "https://app.example.org/", False),
        ("https://app.example.org", "https://app.example.org, https://evil.test", False),
        ("https://app.example.org", "https://evil.test https://app.example.org", False),
        ("https://app.example.org:8443", "https://app.example.org", False),
        ("https://app.example.org:8443", "https://app.example.org:8443", True),
        ("https://app.example.org:8443", "https://app.example.org:08443", False),
        ("*.example.org", "https://a.example.org", True),
        ("*.example.org", "https://a.b.example.org", True),
        ("*.example.org", "https://example.org", False),
        ("*.example.org", "https://evilexample.org", False),
        ("*.example.org", "https://.example.org", False),
        ("*.example.org", "http://a.example.org", False),
        ("*.example.org", "https://a.example.org:8443", False),
        ("*.example.org", "https://a@b.example.org", False),
        ("*.example.org", "https://a/.example.org", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "https://localhost:5173", False),
        ("http://*.localhost:*", "http://app.localhost:5173", True),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("http://[::1]:8000", "http://[::1]:8000", True),
        ("http://[::1]:*", "http://[::2]:8000", False),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("https://app.example.org", NULL, False),
        ("*.example.org", NULL, False),
        (NULL, NULL, True),
        (NULL, "https://null", False),
        ("https://null", NULL, False),
        ("https://app.example.org", "", False),
    ],
)
def test_by_hand(pattern: str, origin: str, is_allowed: bool) -> None:
    assert (origin in Origins([origin_pattern(pattern)])) is is_allowed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*", "origins: any"),
        ("any", "origins: any"),
        ("https://app.example.org/", "has a path, an origin has none; write https://app.example.org"),
        ("https://app.example.org/a?b", "write https://app.example.org"),
        ("https://*", "is no origin"),
        ("https://app.*.org", "is no origin"),
        ("https://*app.example.org", "is no origin"),
        ("*.org", "a whole top-level domain"),
        ("https://*.7.7.7.7", "an address has no subdomains"),
        ("https://*.[::1]", "an address has no subdomains"),
        ("https://bücher.example", "xn--"),
        ("https://app.example.org:0", "a port is a number"),
        ("https://app.example.org:65536", "a port is a number"),
        ("https://app.example.org:x", "is no origin"),
        ("https://u:p@app.example.org", "is no origin"),
        ("https://a b", "is no origin"),
        ("https://[::1", "is no origin"),
        ("", "is no origin"),
        ("//app.example.org", "is no origin"),
        ("a" * 400 + "!", "is no origin"),
    ],
)
def test_what_is_no_pattern(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("?", r"\?")) as caught:
        origin_pattern(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("origin", "fields", "secure", "own"),
    [
        ("https://api.example.org", {"host": "api.example.org"}, False, True),
        ("http://api.example.org", {"host": "api.example.org"}, False, True),
        ("http://api.example.org", {"host": "api.example.org"}, True, False),
        ("http://api.example.org", {"host": "api.example.org", "x-forwarded-proto": "https"}, False, False),
        ("https://api.example.org", {"host": "API.example.org:443"}, True, True),
        ("https://api.example.org:8443", {"host": "api.example.org:8443"}, True, True),
        ("https://api.example.org:8443", {"host": "api.example.org"}, True, False),
        ("https://api.example.org", {"host": "api.example.org:8443"}, True, False),
        ("https://evil.test", {"host": "api.example.org"}, False, False),
        (NULL, {"host": "api.example.org"}, False, False),
        (NULL, {"host": "null"}, False, False),
        ("capacitor://api.example.org", {"host": "api.example.org"}, False, False),
        ("https://api.example.org", {}, False, False),
        ("https://api.example.org", {"host": "api.example.org/"}, False, False),
        ("http://[::1]:8080", {"host": "[::1]:8080"}, False, True),
    ],
)
def test_the_gateway_s_own_pages(origin: str, fields: dict[str, str], secure: bool, own: bool) -> None:
    assert is_own(origin, fields, secure=secure) is own
