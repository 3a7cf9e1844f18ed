"""Spec files: each mistake named by file, line and key; nothing executed, nothing expanded."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.config.specfile import read_file, read_text, read_value
from bridge.errors import SpecError

GOOD = """\
route: /v1/a/{id}
upstream: svc:80
auth: {type: JWT, audience: A}
transform:
  request: passthrough
"""


def faults(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_text(text, "a.yml")
    return [str(fault) for fault in caught.value.faults]


def test_a_good_spec() -> None:
    [(spec, _)] = read_text(GOOD)
    assert (spec.route, str(spec.upstream), spec.timeout) == ("/v1/a/{id}", "svc:80", 30.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "rate_limt: {rps: 1}\n", ["a.yml:6: rate_limt: unknown key; did you mean 'rate_limit'?"]),
        (GOOD.replace("audience: A", "audiance: A"), ["a.yml:3: auth.audiance: unknown key"]),
        (GOOD.replace("type: JWT", "type: JTW"), ["a.yml:3: auth: 'JTW' is not one of"]),
        (GOOD.replace("route: /v1/a/{id}\n", ""), ["a.yml:1: route: it is missing"]),
        (GOOD.replace("{id}", "{id"), ["a.yml:1: route: '{id': a parameter fills a whole segment"]),
        (GOOD.replace("{id}", "{id}/{id}"), ["a.yml:1: route: the parameter 'id' stands in it twice"]),
        (GOOD.replace("{id}", "{id*}/b"), ["a.yml:1: route: '{id*}' takes the rest"]),
        (GOOD.replace("svc:80", "svc"), ["a.yml:2: upstream: 'svc' names no port"]),
        (GOOD.replace("svc:80", "10.0.0.1:80"), ["a.yml:2: upstream: '10.0.0.1' is an address"]),
        (GOOD.replace("svc:80", "ftp://svc:80"), ["a.yml:2: upstream: 'ftp' is not one of"]),
        (GOOD.replace("svc:80", "http://u:p@svc:80"), ["a.yml:2: upstream: 'http://u:p@svc:80' is not of the form"]),
        (GOOD + "timeout: 3 parsecs\n", ["a.yml:6: timeout: '3 parsecs' is no duration"]),
        (GOOD + "rate_limit:\n  rps: -1\n  per: moon\n", ["a.yml:7: rate_limit.rps: ", "a.yml:8: rate_limit.per: 'm"]),
        (GOOD + "route: /b\n", ["a.yml:6: route: it is not YAML: the key stands twice in one mapping"]),
        ("a: [1, 2", ["a.yml:"]),
        ("- 1\n- 2\n", ["a.yml:1: a route spec maps keys to values"]),
        ("", ["a.yml: it holds no route spec"]),
        ("a: &x {}\nb: *x\n", ["a.yml:1: YAML anchors and aliases are not supported"]),
        (GOOD + "a: &x 1\nb: &x 2\n", ["a.yml:6: YAML anchors and aliases are not supported"]),
        (GOOD + "timeout: .inf\n", ["a.yml:6: timeout: it is no finite number"]),
        (GOOD + f"timeout: {'9' * 400}d\n", ["a.yml:6: timeout: it is longer than a hundred years"]),
        (GOOD + "timeout: 1e300\n", ["a.yml:6: timeout: it is longer than a hundred years"]),
        (GOOD + "cache: {ttl: .inf}\n", ["a.yml:6: cache.ttl: it is no finite number"]),
        (GOOD + "rate_limit: {rps: .inf}\n", ["a.yml:6: rate_limit.rps: it is no finite number"]),
        (GOOD + "rate_limit: {rps: 1e308}\n", ["a.yml:6: rate_limit.rps: "]),
        (GOOD + "rate_limit: {rps: 1, burst: 9999999999}\n", ["a.yml:6: rate_limit.burst: "]),
        (GOOD + f"rate_limit: {{rps: 1, burst: 1{'0' * 30}}}\n", ["a.yml:6: rate_limit.burst: it is too large"]),
        (GOOD + "methods: [GET, GET]\n", ["a.yml:6: methods: a method stands in it twice"]),
        (GOOD.replace("svc:80", "svc:²"), ["a.yml:2: upstream: '²' is neither a port number"]),
        (GOOD.replace("svc:80", "svc:080"), ["a.yml:2: upstream: '080' is no port"]),
        (GOOD.replace("svc:80", "{name: 127.0.0.1, port: '80'}"), ["a.yml:2: upstream: it is written as one text"]),
        (GOOD.replace("/v1/a/{id}", "/%2d/x"), ["a.yml:1: route: '/%2d/x' belongs to the gateway"]),
        (GOOD.replace("/v1/a/{id}", "/v1/%2e%2E/x"), ["a.yml:1: route: '%2e%2E' can't be a path segment"]),
        (GOOD.replace("/v1/a/{id}", "/v1/..;a"), ["a.yml:1: route: '..;a' can't be a path segment"]),
        (GOOD.replace("/v1/a/{id}", "/v1/%zz"), ["a.yml:1: route: '%zz' can't be a path segment"]),
        (GOOD + "²: 1\n" + "9" * 400 + ": 1\n", ["a.yml:6: ²: unknown key", "a.yml:7: 999"]),
        ("[" * 20_000, ["a.yml:1: it is more than 32 levels deep"]),
        ("{" * 20_000, ["a.yml:1: a key is a list or a mapping"]),
        ("{a: " * 20_000, ["a.yml:1: it is more than 32 levels deep"]),
        ("- " * 20_000, ["a.yml:1: it is more than 32 levels deep"]),
        ("? " * 20_000, ["a.yml:1: a key is a list or a mapping"]),
        (GOOD + "x: [" + "1," * 60_000 + "]", ["a.yml:6: it has more than 10000 keys and values"]),
        ("a: !!python/object/apply:os.system [ls]\n", ["a.yml:1: YAML tags are not supported"]),
    ],
)  # fmt: skip
def test_mistakes_are_named_by_line_and_key(text: str, expected: list[str]) -> None:
    found = faults(text)
    assert len(found) >= len(expected)
    for start in expected:
        assert any(fault.startswith(start) for fault in found), found


def test_a_value_without_lines_has_faults_without_lines() -> None:
    with pytest.raises(SpecError) as caught:
        read_value(
            {"route": "/a", "upstream": "s:1", "auth": "none", "transform": {"request": "x"}, "tenant": "\ud800"}
        )
    assert [str(fault) for fault in caught.value.faults] == ["tenant: it is no Unicode text"]
    with pytest.raises(SpecError) as caught:
        read_value({"a/b": 1})
    assert caught.value.faults[0].line == 0


def test_several_documents_are_several_routes() -> None:
    assert len(read_text(f"{GOOD}---\n{GOOD}")) == 2


def test_files_that_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_file(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SpecError, match="UTF-8"):
        read_file(tmp_path / "bad.yml")


@given(st.text(max_size=200))
@example("[]0")  # a list, and then text that is not YAML
def test_no_text_makes_anything_but_a_spec_error(text: str) -> None:
    with contextlib.suppress(SpecError):
        read_text(text, "x")
