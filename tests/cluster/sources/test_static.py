"""``mesh.yml``: what it may say, what is wrong with it and where, and edits while it is in use."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from typing import Any

import pytest

from bridge.cluster.balance import Mesh
from bridge.cluster.mesh import open_mesh
from bridge.cluster.sources.static import StaticSource, read
from bridge.errors import SettingsError, Unavailable


@pytest.fixture
def file(tmp_path: Any) -> Any:
    return tmp_path / "mesh.yml"


STAMPS = itertools.count(1_700_000_000)


def write(file: Any, text: Any) -> None:
    """A change that no clock's resolution can hide."""
    file.write_text(text, "utf-8")
    stamp = next(STAMPS)
    os.utime(file, (stamp, stamp))


GOOD = """
tally-svc: 10.0.0.7
vat-svc: [10.0.1.1, "10.0.1.2:9001"]
vat-svc:8081:
  - "[fd00::7]:9002"
  - "[fd00::8]"
loop: 127.0.0.1:5000
named:http: [10.0.0.9:80]
"""


@pytest.mark.parametrize(
    ("name", "port", "addresses"),
    [
        ("tally-svc", "8080", {("10.0.0.7", 8080)}),
        ("vat-svc", "8080", {("10.0.1.1", 8080), ("10.0.1.2", 9001)}),
        ("vat-svc", "8081", {("fd00::7", 9002), ("fd00::8", 8081)}),
        ("loop", "80", {("127.0.0.1", 5000)}),
        ("named", "http", {("10.0.0.9", 80)}),
    ],
)
async def test_lookup(file: Any, name: Any, port: Any, addresses: Any) -> None:
    file.write_text(GOOD)
    assert set((await StaticSource(file).lookup(name, port)).addresses) == addresses


@pytest.mark.parametrize(("name", "port"), [("unknown", "80"), ("named", "80"), ("tally-svc", "http")])
async def test_nobody_there(file: Any, name: Any, port: Any) -> None:
    file.write_text(GOOD)
    mesh = Mesh(StaticSource(file))
    with pytest.raises(Unavailable) as none:
        await mesh.addresses(name, port)
    assert none.value.detail == "No service answers to this route's upstream name."
    assert "mesh.yml" in none.value.cause


async def test_host_names_are_resolved_by_the_system(file: Any) -> None:
    file.write_text("here: localhost:5000\n")
    found = await StaticSource(file).lookup("here", "80")
    assert ("127.0.0.1", 5000) in found.addresses
    assert len(set(found.addresses)) == len(found.addresses)


async def test_a_host_name_that_does_not_resolve(file: Any, caplog: Any) -> None:
    file.write_text("gone: host.invalid:80\nhalf: [host.invalid:80, 10.0.0.1]\n")
    source = StaticSource(file)
    assert (await source.lookup("half", "81")).addresses == (("10.0.0.1", 81),)
    with pytest.raises(Unavailable):
        await source.lookup("gone", "80")


@pytest.mark.parametrize(
    ("host", "answer", "used"),
    [
        ("old.example", "10.0.0.9", True),
        ("old.example", "192.0.2.9", True),
        ("old.example", "127.0.0.1", False),
        ("localhost.example", "127.0.0.1", False),
        ("a.localhost", "127.0.0.1", True),
        ("localhost.", "::1", True),
        ("old.example", "::ffff:127.0.0.1", False),
        ("old.example", "169.254.169.254", False),
        ("localhost", "169.254.169.254", False),
        ("old.example", "100.100.100.200", False),
        ("old.example", "0.0.0.0", False),  # nothing is bound
        ("old.example", "fe80::1%eth0", False),
        ("old.example", "64:ff9b::a9fe:a9fe", False),
    ],
)
async def test_a_name_of_others_leads_to_no_refused_address(
    file: Any, monkeypatch: Any, caplog: Any, host: str, answer: str, used: bool
) -> None:
    """Whatever the DNS says, and also where it says so only at a later time (rebinding)."""
    answers = {"now": ["10.0.0.1"]}

    async def getaddrinfo(asked: str, port: int, **_: Any) -> list[Any]:
        assert asked == host
        return [(0, 0, 0, "", (address, port)) for address in answers["now"]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    file.write_text(f"old: {host}:9000\n")
    source = StaticSource(file)
    assert (await source.lookup("old", "80")).addresses == (("10.0.0.1", 9000),)
    answers["now"] = [answer, "10.0.0.2"]
    expected = ((answer, 9000), ("10.0.0.2", 9000)) if used else (("10.0.0.2", 9000),)
    assert (await source.lookup("old", "80")).addresses == expected
    assert ("which is refused" in caplog.text) is not used
    answers["now"] = [answer]
    found = await source.lookup("old", "80")
    assert found.cause == ("" if used else "old leads only to addresses that are refused")


async def test_an_address_in_the_file_is_the_operator_s_word(file: Any) -> None:
    file.write_text("old: [127.0.0.1:1, 169.254.1.1:1]\n")
    assert (await StaticSource(file).lookup("old", "80")).addresses == (("127.0.0.1", 1), ("169.254.1.1", 1))


BAD = {
    "a: [10.0.0.1, 10.0.0.2:0]": [(1, "a", "'0' is no port")],
    "a: 10.0.0.1\nb:\n  - 10.0.0.1:99999\n  - ok\n  - x y\n": [(3, "b", "99999"), (5, "b", "'x y'")],
    "a: 10.0.0.1\nb: 10.0.0.2\na: 10.0.0.3\n": [(3, "a", "twice")],
    "a: fd00::7": [(1, "a", "brackets")],
    "a: '[fd00::7]:'": [(1, "a", "neither")],
    "a: '[10.0.0.1]:80'": [(1, "a", "neither")],
    "a: '[fd00::7'": [(1, "a", "neither")],
    "a: 10.0.0.256": [(1, "a", "neither a host name nor an address")],
    "a: http://b:80": [(1, "a", "neither")],
    "a: 'b:'": [(1, "a", "no port")],
    "a: b:http": [(1, "a", "'http' is no port")],
    "a:": [(1, "a", "names no address")],
    "a: []": [(1, "a", "names no address")],
    "a: {b: c}": [(1, "a", "neither")],
    "a: [[b]]": [(1, "a", "neither")],
    "10.0.0.1: b": [(1, "10.0.0.1", "is an address")],
    "a:99999: b": [(1, "a:99999", "no port")],
    "http://a:80: b": [(1, "http://a:80", "")],
    "a:80/x: b": [(1, "a:80/x", "")],
    "a:http: b": [(1, "a:http", "needs a port")],
    "[a, b]: c": [(1, "", "")],
    "- a\n": [(1, "", "must map")],
    "just words": [(1, "", "must map")],
    "a: b\n\n\n  c: [": [(5, "", "not YAML")],
    "a: 'b": [(1, "", "not YAML")],
    "a: *b": [(1, "", "anchors and aliases are not supported")],
    "\x00": [(0, "", "not YAML")],
}


@pytest.mark.parametrize(("text", "faults"), BAD.items(), ids=BAD)
def test_faults_name_file_line_and_key(file: Any, text: Any, faults: Any) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as bad:
        read(file)
    found = bad.value.faults
    assert [(fault.key, fault.file) for fault in found] == [(key, str(file)) for _, key, _ in faults]
    for fault, (line, _, words) in zip(found, faults, strict=True):
        assert words in fault.reason
        assert fault.line == line or "not YAML" in words
    assert str(found[0]).startswith(str(file))


def test_bytes_that_are_no_text(file: Any) -> None:
    file.write_bytes(b"a: \xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        StaticSource(file)


async def test_no_file_is_an_empty_mesh_until_there_is_one(file: Any, clock: Any) -> None:
    source = StaticSource(file, clock)
    assert (await source.lookup("a", "80")).addresses == ()
    write(file, "a: 10.0.0.1")
    clock.now += 1
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.1", 80),)
    file.unlink()
    clock.now += 1
    assert (await source.lookup("a", "80")).addresses == ()


async def test_an_edit_is_seen_and_a_broken_one_is_reported_and_ignored(file: Any, clock: Any, caplog: Any) -> None:
    write(file, "a: 10.0.0.1")
    source = StaticSource(file, clock)
    write(file, "a: 10.0.0.2")
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.1", 80),)  # looked at once a second
    clock.now += 1
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.2", 80),)
    write(file, "a: 10.0.0.2\nb: 10.0.0.1:0\n")
    with caplog.at_level(logging.ERROR, "bridge.mesh"):
        for _ in range(3):
            clock.now += 1
            assert (await source.lookup("a", "80")).addresses == (("10.0.0.2", 80),)
    assert len(caplog.records) == 1  # once for each edit, not for each second
    assert f"{file}:2: b: " in caplog.text
    write(file, "a: 10.0.0.3")
    clock.now += 1
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.3", 80),)


async def test_a_config_map_is_followed(file: Any, clock: Any) -> None:
    """Kubernetes switches ``..data``, through which the file is reached; the new file may be as old as the old one."""
    for version in ("1", "2"):
        (file.parent / f"..{version}").mkdir()
        (file.parent / f"..{version}" / file.name).write_text(f"a: 10.0.0.{version}")
        os.utime(file.parent / f"..{version}" / file.name, (1_700_000_000, 1_700_000_000))
    (file.parent / "..data").symlink_to("..1")
    file.symlink_to(f"..data/{file.name}")
    source = StaticSource(file, clock)
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.1", 80),)
    (file.parent / "..tmp").symlink_to("..2")
    (file.parent / "..tmp").replace(file.parent / "..data")
    clock.now += 1
    assert (await source.lookup("a", "80")).addresses == (("10.0.0.2", 80),)


async def test_the_mesh_follows_an_edit(file: Any, clock: Any) -> None:
    write(file, "a: 10.0.0.1")
    mesh = Mesh(StaticSource(file, clock), clock)
    assert await mesh.addresses("a", "80") == (("10.0.0.1", 80),)
    write(file, "a: 10.0.0.2")
    clock.now += 1.5
    assert await mesh.addresses("a", "80") == (("10.0.0.2", 80),)


async def test_open(tmp_path: Any) -> None:
    (tmp_path / "mesh.yml").write_text("a: 10.0.0.1")
    mesh = open_mesh("static:mesh.yml", tmp_path)
    assert await mesh.addresses("a", "80") == (("10.0.0.1", 80),)
    await mesh.aclose()
    (tmp_path / "mesh.yml").write_text("a: b c")
    with pytest.raises(SettingsError, match=r"mesh\.yml:1: a: "):
        open_mesh("static:mesh.yml", tmp_path)


@pytest.mark.parametrize(
    "url",
    ["etcd://10.0.0.1:2379", "consul://x", "kubernetes:", "mesh.yml", "", "static:", "dns://name:53", "dns://10.0.0.1:x",
     "dns:?loopback=yes", "dns:?lopback=allow", "dns:?x", "dns:/x", "dns://u@10.0.0.1", "dns://[::1:53"],
)  # fmt: skip
def test_settings_that_can_not_be_used(tmp_path: Any, url: Any) -> None:
    with pytest.raises(SettingsError) as bad:
        open_mesh(url, tmp_path)
    assert bad.value.faults[0].key == "BRIDGE_MESH"
    if not url.startswith(("dns", "static")):
        assert "static:" in str(bad.value)
        assert "dns:" in str(bad.value)
