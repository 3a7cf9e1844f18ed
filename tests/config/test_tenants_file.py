"""``tenants.yml``: what is wrong in it is told with line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config.tenants_file import TenantsFile, read_tenants
from bridge.errors import SettingsError
from tests.counting import counted

GOOD = """\
tenants:
  revenue:
    paths: [/v1/vat, /revenue]
    hosts: [Revenue.api.example., "*.revenue.example"]
    upstreams: [vat-svc, "revenue-*", ledger:8080]
    approval: true
  health: {paths: [/health]}
roles:
  - {role: api_publisher, tenant: revenue, issuer: https://idp.example, subjects: [pat, kim]}
  - {role: api_admin, tenant: revenue, claims: {groups: revenue-admins}}
  - {role: auditor, tenant: "*", issuer: https://idp.example, claims: {realm.groups: [audit, board]}}
"""


def read(tmp_path: Path, text: str) -> TenantsFile:
    (tmp_path / "tenants.yml").write_text(text)
    return read_tenants(tmp_path / "tenants.yml")


def test_a_file_without_faults(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD)
    assert file.tenants is not None
    revenue = file.tenants["revenue"]
    assert (revenue.hosts, revenue.approval) == (("revenue.api.example", "*.revenue.example"), True)
    assert not file.tenants["health"].approval
    assert [revenue.has_host(host) for host in ("a.revenue.example", "revenue.example", "xrevenue.example")] == [
        True, False, False,
    ]  # fmt: skip
    assert file.roles[1].claims == {"groups": ("revenue-admins",)}


def test_no_file_and_an_empty_one_say_nothing(tmp_path: Path) -> None:
    assert read_tenants(tmp_path / "tenants.yml") == read(tmp_path, "") == TenantsFile()


@pytest.mark.parametrize(
    ("upstream", "is_own"),
    [
        ("vat-svc:80", True),
        ("vat-svc:9", True),
        ("revenue-a:80", True),
        ("revenue-:80", True),
        ("revenue-a.other.svc:80", False),
        ("ledger:8080", True),
        ("ledger:80", False),
        ("vat-svc2:80", False),
    ],
)
def test_the_upstreams_of_a_tenant(tmp_path: Path, upstream: str, is_own: bool) -> None:
    tenants = read(tmp_path, GOOD).tenants
    assert tenants is not None
    name, _, port = upstream.partition(":")
    assert tenants["revenue"].has_upstream(name, port) is is_own


def test_who_has_a_role(tmp_path: Path) -> None:
    people, admins, auditors = read(tmp_path, GOOD).roles
    idp = {"iss": "https://idp.example"}
    assert people.covers("pat", idp)
    assert not people.covers("pat", {"iss": "https://other.example"})
    assert not people.covers("pam", idp)
    assert not people.covers("pat", {})
    assert admins.covers("x", {"groups": "revenue-admins"})
    assert admins.covers("x", {"groups": ["a", "revenue-admins"]})
    assert not admins.covers("x", {"groups": "all revenue-admins"})
    assert not admins.covers("x", {"groups": {"revenue-admins": True}})
    assert auditors.covers("x", {**idp, "realm": {"groups": ["board"]}})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n", ":1: it must be a mapping with the keys tenants and roles"),
        ("tenant: {}\n", ":1: tenant: unknown key; did you mean 'tenants'?"),
        ("tenants:\n  a b: {}\n", ":2: tenants.a b: "),
        ("tenants:\n  a:\n    path: [/a]\n", ":3: tenants.a.path: unknown key; did you mean 'paths'?"),
        ("tenants:\n  a:\n    paths:\n      [a]\n", ":3: tenants.a.paths: 'a' must start with /"),
        ("tenants:\n  a: {paths: ['/a/{b}']}\n", ":2: tenants.a.paths: '/a/{b}' is no prefix: it has plain segments"),
        ("tenants:\n  a: {hosts: ['a.*']}\n", ":2: tenants.a.hosts: 'a.*' is no host; write api.example, or *.example"),
        ("tenants:\n  a: {hosts: ['*']}\n", ":2: tenants.a.hosts: '*' is no host"),
        ("tenants:\n  a: {upstreams: ['http://a:1']}\n", ":2: tenants.a.upstreams: 'http://a:1' is not of the form"),
        ("tenants:\n  a: {approval: 1}\n", ":2: tenants.a.approval: "),
        (
            "tenants:\n  a: {paths: [/a/b]}\n  b:\n    paths:\n    - /c\n    - /a\n",
            ":6: tenants.b.paths[1]: /a overlaps with /a/b, which a owns",
        ),
        (
            "tenants:\n  a: {hosts: ['*.x']}\n  b: {hosts: [b.x]}\n",
            ":3: tenants.b.hosts[0]: b.x overlaps with *.x, which a owns",
        ),
        (
            "tenants:\n  a: {hosts: ['*.b.x']}\n  b: {hosts: ['*.x']}\n",
            ":3: tenants.b.hosts[0]: *.x overlaps with *.b.x, which a owns",
        ),
        (
            "tenants:\n  a: {paths: [/a]}\n  b: {paths: [/b, /a]}\n",
            ":3: tenants.b.paths[1]: /a overlaps with /a, which a owns",
        ),
        (
            "tenants:\n  a: {paths: [/a/b, /a/b/c]}\n  b: {paths: [/]}\n",
            ":3: tenants.b.paths[0]: / overlaps with /a/b, which a owns",
        ),
        (
            "tenants:\n  a: {hosts: ['*.x']}\n  b: {hosts: ['*.x', x]}\n",
            ":3: tenants.b.hosts[0]: *.x overlaps with *.x, which a owns",
        ),
        ("tenants:\n", ":1: tenants: it is empty; list the tenants, or write {} if none may register anything"),
        ("tenants:\nroles: []\n", ":1: tenants: it is empty"),
        (
            "tenants: {revenue: {}}\nroles:\n- {role: auditor, tenant: '*', claims: {a: b}}\n"
            "- {role: auditor, tenant: revenu, claims: {a: b}}\n",
            ":4: roles[1].tenant: 'revenu' has no entry in tenants; did you mean 'revenue'?",
        ),
        ("roles:\n- {role: clerk, tenant: a, claims: {a: b}}\n", ":2: roles[0].role: 'clerk' is not one of"),
        ("roles:\n- {role: auditor, claims: {a: b}}\n", ":2: roles[0].tenant: "),
        ("roles:\n- {role: auditor, tenant: a}\n", ":2: roles[0]: it names nobody; write subjects, claims or both"),
        ("roles:\n- {role: auditor, tenant: a, subjects: [b]}\n", ":2: roles[0]: issuer is missing: two issuers"),
        (
            "roles:\n- {role: auditor, tenant: a, issuer: x, subjects: []}\n",
            ":2: roles[0].subjects: it must name at least one",
        ),
        ("roles:\n- {role: auditor, tenant: a, claims: {a: [1]}}\n", ":2: roles[0].claims.a"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert f"{tmp_path}/tenants.yml{fault}" in str(caught.value)
    assert len(caught.value.faults) == 1


def test_what_one_tenant_owns_may_overlap(tmp_path: Path) -> None:
    assert read(tmp_path, "tenants: {a: {paths: [/a, /a/b, /a], hosts: ['*.x', b.x]}, b: {hosts: [x, bx]}}").tenants


async def test_the_time_does_not_grow_with_the_square_of_the_tenants(tmp_path: Path) -> None:
    calls = []
    for count in (100, 800):
        text = "".join(f"  t{at}: {{paths: [/t{at}/a, /t{at}/b], hosts: ['*.t{at}.x']}}\n" for at in range(count))
        path = tmp_path / f"{count}.yml"
        path.write_text(f"tenants:\n{text}")

        async def work(path: Path = path) -> None:
            read_tenants(path)

        calls.append(sum(await counted(work)) / count)
    assert calls[1] < 1.2 * calls[0]
