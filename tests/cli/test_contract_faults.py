"""A fault in a contract names the spec, its line and its key, and where in the contract it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bridge.cli.main import app

SPEC = """route: /v1/a
upstream: svc:80
auth: none
transform:
  request: {name}
  {name}:
    {options}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("routes", "wsdl", "protos"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mesh.yml").write_text("svc: 127.0.0.1:9\n")
    return tmp_path


@pytest.fixture
def hms(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(home)
    monkeypatch.delenv("BRIDGE_HOME", raising=False)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("soap", "wsdl: vat.wsdl", "transform.soap.wsdl: vat.wsdl: it can't be read: No such file or directory"),
        ("soap", "wsdl: wsdl/broken.wsdl", "transform.soap.wsdl: names are below wsdl/: write broken.wsdl"),
        ("soap", "wsdl: broken.wsdl", "transform.soap.wsdl: broken.wsdl:2: it is not well-formed XML: "),
        ("soap", "wsdl: schema.xsd", "transform.soap.wsdl: schema.xsd:1: it is not WSDL 1.1: its root is schema"),
        (
            "grpc",
            "protos: [none.proto]",
            "transform.grpc.protos: protos: there is no file 'none.proto' in the proto fo",
        ),
        (
            "grpc",
            "protos: [protos/a.proto]",
            "transform.grpc.protos: protos: there is no file 'protos/a.proto' in the proto folder; names are below"
            " protos/: write 'a.proto'",
        ),
        ("grpc", "protos: [a.proto]", "transform.grpc.protos: protos/a.proto:2: "),
        (
            "grpc",
            "descriptor_set: protos/x.pb",
            "transform.grpc.descriptor_set: protos: there is no file 'protos/x.pb'",
        ),
    ],
)
def test_a_fault_names_spec_line_and_key(hms: Any, home: Path, name: str, options: str, reason: str) -> None:
    (home / "wsdl/broken.wsdl").write_text("<definitions>\n<x></definitions>")
    (home / "wsdl/schema.xsd").write_text('<schema xmlns="http://www.w3.org/2001/XMLSchema"/>')
    (home / "protos/a.proto").write_text('syntax = "proto3";\nmessage A { Nothing x = 1; }\n')
    (home / "routes/a.yml").write_text(SPEC.format(name=name, options=options))
    done = hms("check")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"routes/a.yml:7: {reason}"), done.stderr
    [problem] = json.loads(hms("check", "--json").stdout)["problems"]
    assert (problem["file"], problem["line"]) == ("routes/a.yml", 7)


SOAP, GRPC = "wsdl: {}", "protos: ['{}']"


@pytest.mark.parametrize(
    ("folder", "name", "options", "broken"),
    [
        ("wsdl", "soap", SOAP.format("vat.wsdl"), {"vat.wsdl": "<definitions>\n<x></definitions>"}),
        (
            "wsdl",
            "soap",
            SOAP.format("vat.wsdl"),
            {
                "vat.wsdl": '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/">\n<import location="b.wsdl"'
                ' namespace="urn:b"/></definitions>',
                "b.wsdl": "<x>\n</y>",
            },
        ),
        ("wsdl/team", "soap", SOAP.format("team/vat.wsdl"), {"vat.wsdl": "<definitions>\n<x></definitions>"}),
        ("protos", "grpc", GRPC.format("a.proto"), {"a.proto": 'syntax = "proto3";\nmessage A { Nothing x = 1; }'}),
    ],
)
def test_a_fault_in_a_config_map_names_the_file_as_its_users_do(
    hms: Any, home: Path, folder: str, name: str, options: str, broken: dict[str, str]
) -> None:
    """Kubernetes mounts each file as a link into ``..data``, which is a link to a folder of this moment."""
    mount = home / folder
    (mount / "..2026_11_30_10_00_00.123").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026_11_30_10_00_00.123")
    for file, text in broken.items():
        (mount / "..2026_11_30_10_00_00.123" / file).write_text(text)
        (mount / file).symlink_to(f"..data/{file}")
    (home / "routes/a.yml").write_text(SPEC.format(name=name, options=options))
    done = hms("check")
    assert done.exit_code == 1
    assert "2026" not in done.stderr
    assert f"{folder.partition('/')[2]}/{list(broken)[-1]}:2: ".lstrip("/") in done.stderr


def test_what_is_no_file_is_told_and_nobody_waits_for_it(hms: Any, home: Path) -> None:
    """A pipe that nobody writes to, and links that lead to themselves."""
    os.mkfifo(home / "pipe.yml")
    os.mkfifo(home / "wsdl/pipe.wsdl")
    for link in (home / "loop.yml", home / "wsdl/loop.wsdl", home / "protos/loop.proto"):
        link.symlink_to(link.name)
    done = hms("check", "pipe.yml", "loop.yml")
    assert done.stderr == "pipe.yml: it holds no route spec\nloop.yml: Too many levels of symbolic links\n"
    for name, options, reason in (
        ("soap", "wsdl: pipe.wsdl", "transform.soap.wsdl: pipe.wsdl: it is no file"),
        ("soap", "wsdl: loop.wsdl", "transform.soap.wsdl: loop.wsdl: it can't be read: Too many levels of symbolic"),
        ("grpc", "protos: [loop.proto]", "transform.grpc.protos: protos: there is no file 'loop.proto'"),
    ):
        (home / "routes/a.yml").write_text(SPEC.format(name=name, options=options))
        done = hms("check")
        assert done.stderr.startswith(f"routes/a.yml:7: {reason}"), done.stderr
    (home / "routes/a.yml").unlink()
    os.mkfifo(home / "keys.json")
    (home / "issuers.yml").write_text("- {issuer: 'https://idp.example', jwks_file: keys.json}\n")
    assert hms("check").stderr.endswith("issuers.yml:1: jwks_file: keys.json: it is no file\n")


def test_a_spec_of_any_size_is_refused_without_reading_it_all(hms: Any, home: Path) -> None:
    with (home / "routes/a.yml").open("wb") as stream:
        stream.truncate(1 << 34)
    assert hms("check").stderr == "routes/a.yml: it has more than 256 kB\n"


def test_two_files_of_one_path_are_one_fault(hms: Any, home: Path) -> None:
    for name in ("a", "b"):
        (home / f"routes/{name}.yml").write_text(SPEC.format(name="xml", options="root: a"))
    lines = hms("routes").stderr.splitlines()
    assert [line for line in lines if "left out" not in line] == [
        "routes/b.yml:1: * /v1/a is published twice: by routes/a.yml and by routes/b.yml"
    ]


async def test_a_publisher_is_told_the_contract_and_no_path_of_this_machine(start: Any) -> None:
    files = {"protos/a.proto": 'syntax = "proto3";\nmessage A { Nothing x = 1; }\n'}
    async with start(mesh={}, files=files) as gateway:
        spec = {"route": "/a", "upstream": "svc:80", "auth": "none"}
        soap = await gateway.register({**spec, "transform": {"request": "soap", "soap": {"wsdl": "vat.wsdl"}}})
        assert soap.json()["errors"] == [
            {"pointer": "/transform/soap/wsdl", "reason": "vat.wsdl: it can't be read: No such file or directory"}
        ]
        grpc = await gateway.register({**spec, "transform": {"request": "grpc", "grpc": {"protos": ["a.proto"]}}})
        [error] = grpc.json()["errors"]
        assert error["pointer"] == "/transform/grpc/protos"
        assert error["reason"].startswith("a.proto:2: ")
        assert str(gateway.home) not in grpc.text
