"""Who may use which secret: the names of tenants' own variables, the entries of ``secrets.yml``, and the grant that
holds while a route is bound."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.api import BindError, Upstream, read_env
from bridge.api.grants import Binding, Grant, Secrets, granted, origin_of, tenant_prefix
from bridge.config.secrets_file import read_bindings
from bridge.errors import SettingsError

TENANTS = st.text("ab0AZ._-x5f", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("tenant", "prefix"),
    [
        ("revenue", "REVENUE"),
        ("city-hall", "CITY_HALL"),
        ("t1", "T1"),
        ("a_b", "Ax5fB"),
        ("a.b", "Ax2eB"),
        ("City", "x43ITY"),
        ("-a", "x2dA"),
        ("a--b", "Ax2dx2dB"),
        ("x5f", "X5F"),
    ],
)
def test_what_a_tenants_variables_begin_with(tenant: str, prefix: str) -> None:
    assert tenant_prefix(tenant) == f"BRIDGE_SECRET_{prefix}__"


@given(TENANTS, TENANTS, st.text("AB_0x", max_size=6))
def test_no_two_tenants_share_a_variable(one: str, other: str, rest: str) -> None:
    name = tenant_prefix(one) + rest
    assert name.startswith(tenant_prefix(other)) is (one == other)


@given(TENANTS)
def test_the_first_two_underscores_end_a_tenants_part(tenant: str) -> None:
    part, mark, rest = (tenant_prefix(tenant).removeprefix("BRIDGE_SECRET_") + "X").partition("__")
    assert part
    assert (mark, rest) == ("__", "X")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://H.example/a?wsdl", "https://h.example:443"),
        ("HTTP://h:8080", "http://h:8080"),
        ("http://[::1]:1/x", "http://[::1]:1"),
        ("ftp://h/x", ""),
        ("http://u@h/x", ""),
        ("http://h:x/", ""),
        ("//h/x", ""),
        ("", ""),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "secrets.yml:1: it is not YAML"),
        ("secret: x\n", "secrets.yml:1: it must be a list of entries"),
        ("- 7\n", "secrets.yml:1: an entry is a mapping"),
        ("- {upstreams: [a]}\n", "secrets.yml:1: secret: it is missing"),
        ("- {secret: BRIDGE_SECRET_A}\n", "it says nowhere to send it"),
        ("- {secret: PATH, upstreams: [a]}\n", "secrets.yml:1: secret: it is neither a variable BRIDGE_SECRET_"),
        ("- {secret: BRIDGE_STORE, upstreams: [a]}\n", "secret: it is neither a variable"),
        ("- {secret: issuers.yml, upstreams: [a]}\n", "secret: it is neither a variable"),
        ("- {secret: BRIDGE_SECRET_A, upstream: [a]}\n", "upstream: unknown key; did you mean 'upstreams'?"),
        ("- {secret: BRIDGE_SECRET_A, upstreams: ['a:b:c']}\n", "upstreams: 'a:b:c' is not of the form"),
        ("- {secret: BRIDGE_SECRET_A, upstreams: ['ftp://a']}\n", "is not of the form [scheme://]name[:port]"),
        ("- {secret: BRIDGE_SECRET_A, upstreams: ['*']}\n", "'*' can't be a host's name"),
        ("- {secret: BRIDGE_SECRET_A, wsdls: ['https://h/x.wsdl']}\n", "is no origin; write https://host"),
        ("- {secret: BRIDGE_SECRET_A, wsdls: [h]}\n", "wsdls: 'h' is no origin"),
        ("- {secret: BRIDGE_SECRET_A, upstreams: [a], tenants: []}\n", "an empty list lets nobody use it"),
        ("- {secret: BRIDGE_SECRET_A, upstreams: [a], tenants: ['a b']}\n", "'a b' can't be a tenant"),
    ],
)
def test_what_is_wrong_with_bindings_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "secrets.yml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_bindings(tmp_path / "secrets.yml")
    assert told in str(caught.value)


def test_no_file_no_bindings(tmp_path: Path) -> None:
    assert read_bindings(tmp_path / "secrets.yml") == []


A, B = "BRIDGE_SECRET_A", "BRIDGE_SECRET_T__B"


def allowed(binding: dict[str, Any], secret: str, tenant: str, upstream: str, url: str = "") -> bool:
    place = Upstream.parse(upstream)
    made = Grant(False, tenant, place, place.scheme or "http", Secrets([Binding.model_validate(binding)]))
    try:
        made.check_variable(secret, ("k",), url)
    except BindError:
        return False
    return True


@pytest.mark.parametrize(
    ("binding", "secret", "tenant", "upstream", "url", "may"),
    [
        ({"secret": A, "upstreams": ["svc:80"]}, A, "", "svc:80", "", True),
        ({"secret": A, "upstreams": ["svc"]}, A, "", "svc:81", "", True),
        ({"secret": A, "upstreams": ["https://svc:443"]}, A, "", "https://svc:443", "", True),
        ({"secret": A, "upstreams": ["https://svc:443"]}, A, "", "http://svc:443", "", False),
        ({"secret": A, "upstreams": ["https://svc:443"]}, A, "", "svc:443", "", False),
        ({"secret": A, "upstreams": ["svc:80"]}, A, "", "svc:81", "", False),
        ({"secret": A, "upstreams": ["svc:80"]}, A, "t", "svc:80", "", False),
        ({"secret": A, "upstreams": ["svc:80"], "tenants": ["t"]}, A, "t", "svc:80", "", True),
        ({"secret": A, "upstreams": ["svc:80"], "tenants": ["t"]}, A, "", "svc:80", "", False),
        ({"secret": A, "upstreams": ["svc:80"], "tenants": ["*"]}, A, "u", "svc:80", "", True),
        ({"secret": B, "upstreams": ["svc:80"]}, B, "t", "svc:80", "", True),
        ({"secret": B, "upstreams": ["svc:80"]}, B, "u", "svc:80", "", False),
        ({"secret": "BRIDGE_SECRET_*", "upstreams": ["svc:80"]}, B, "t", "svc:80", "", True),
        ({"secret": "BRIDGE_SECRET_*", "upstreams": ["svc:80"]}, B, "u", "svc:80", "", False),
        ({"secret": "BRIDGE_SECRET_A*", "upstreams": ["svc:80"]}, B, "t", "svc:80", "", False),
        ({"secret": A, "wsdls": ["https://h"]}, A, "", "svc:80", "https://h/x?wsdl", True),
        ({"secret": A, "wsdls": ["https://h"]}, A, "", "svc:80", "https://h:444/x?wsdl", False),
        ({"secret": A, "wsdls": ["https://h"]}, A, "", "svc:80", "http://h/x?wsdl", False),
        ({"secret": A, "wsdls": ["https://h"]}, A, "", "svc:80", "", False),
        ({"secret": A, "upstreams": ["h:443"]}, A, "", "h:443", "https://h/x?wsdl", False),
        ({"secret": A, "wsdls": ["https://h"], "upstreams": ["x"]}, A, "", "svc:80", "nonsense", False),
    ],
)
def test_where_a_binding_leads(
    binding: dict[str, Any], secret: str, tenant: str, upstream: str, url: str, may: bool
) -> None:
    assert allowed(binding, secret, tenant, upstream, url) is may


async def test_a_grant_holds_in_tasks_and_threads_of_the_bind_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(A, "a")
    loop = asyncio.get_running_loop()

    async def read() -> str:
        return read_env(A, ("k",))

    with granted(Grant(operator=True)):
        assert await asyncio.create_task(read()) == "a"
        assert await asyncio.to_thread(read_env, A, ("k",)) == "a"
        # A thread that a plug-in starts by itself has no grant, and so gets nothing rather than the operator's.
        with pytest.raises(BindError, match="only while a route is bound"):
            await loop.run_in_executor(None, read_env, A, ("k",))
    with pytest.raises(BindError, match="only while a route is bound"):
        await read()
