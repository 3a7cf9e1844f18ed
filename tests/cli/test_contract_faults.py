"""A fault in a contract names the spec, its line and its key, and where in the contract it is."""

from __future__ import annotations

import json
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
