"""``import soap``: a spec that serves at once, and what it could not publish."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.api import BindError, Context, RouteSpec
from bridge_soap import Soap
from bridge_soap.importing import SoapImport
from tests.soap_kit import WSDL_DIR, bind_wsdl


async def run(wsdl: str, folder: Path) -> tuple[str, list[str]]:
    return await Soap().import_spec(SoapImport(wsdl=wsdl), Context(folder, folder))


async def test_a_spec_that_serves() -> None:
    text, notes = await run("people/PeopleService.wsdl", WSDL_DIR)
    assert "#   POST /v1/peopleservice/find\n#   POST /v1/peopleservice/notify\n" in text
    spec = YAML(typ="safe").load(text)
    assert spec["upstream"] == "https://people.example:8443"
    assert spec["auth"] == {"type": "JWT", "audience": "PEOPLESERVICE"}
    assert spec["transform"]["soap"] == {"wsdl": "people/PeopleService.wsdl"}
    RouteSpec.model_validate(spec)
    assert "#   The mesh must know people.example:8443; with the static source, add it to mesh.yml.\n" in text
    assert notes == []


async def test_what_could_not_be_published_is_told() -> None:
    _, notes = await run("weather.wsdl", WSDL_DIR)
    assert [note.partition(":")[0] for note in notes] == ["fails", "alert"]


async def test_a_contract_from_elsewhere(tmp_path: Path) -> None:
    shutil.copy(WSDL_DIR / "vat.wsdl", tmp_path / "mine.wsdl")
    folder = tmp_path / "home" / "wsdl"
    folder.mkdir(parents=True)
    text, notes = await run(str(tmp_path / "mine.wsdl"), folder)
    assert YAML(typ="safe").load(text)["transform"]["soap"] == {"wsdl": "mine.wsdl"}
    assert "#   Copy mine.wsdl and what it imports to wsdl/" in text
    assert notes == []
    shutil.copy(WSDL_DIR / "vat.wsdl", folder / "mine.wsdl")
    assert len(await bind_wsdl(folder, "mine.wsdl")) == 1
    text, notes = await run(str(folder / "mine.wsdl"), folder)
    assert "Copy" not in text


@pytest.mark.parametrize(
    ("address", "upstream"),
    [
        ("http://10.0.0.7:8080/x", "checkvatservice:8080"),
        ("http://localhost/x", "checkvatservice:80"),
        ("REPLACE_WITH_ACTUAL_URL", "checkvatservice:80"),
        ("https://a.example/x", "https://a.example:443"),
    ],
)
async def test_addresses_become_names(tmp_path: Path, address: str, upstream: str) -> None:
    text = (WSDL_DIR / "vat.wsdl").read_text("utf-8")
    text = text.replace("http://vat.revenue.example/taxation_customs/services/checkVatService", address)
    (tmp_path / "a.wsdl").write_text(text, "utf-8")
    spec, _ = await run("a.wsdl", tmp_path)
    assert YAML(typ="safe").load(spec)["upstream"] == upstream


async def test_nothing_to_import(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="can't be read"):
        await run("none.wsdl", tmp_path)


async def test_urls_that_are_not_http(tmp_path: Path) -> None:
    shutil.copy(WSDL_DIR / "vat.wsdl", tmp_path / "a b.wsdl")
    text, _ = await run((tmp_path / "a b.wsdl").as_uri(), tmp_path)
    assert YAML(typ="safe").load(text)["transform"]["soap"] == {"wsdl": "a b.wsdl"}
    with pytest.raises(BindError, match="ftp:// is no place for a WSDL; name a file, or a URL with http://"):
        await run("ftp://me:secret@files.example/a.wsdl", tmp_path)
