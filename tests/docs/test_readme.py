"""README.md: its route is published both ways that it names and gives JSON. tests/test_demo.py compares its scene."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.docs.not_run import NOT_RUN
from tests.docs.pages import ROOT, blocks_of

BLOCKS = blocks_of(ROOT / "README.md")


@pytest.fixture(scope="module")
def county_returns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The demo's SOAP service; its port."""
    service = ROOT / "examples" / "election_night" / "services" / "county_returns.py"
    wire = tmp_path_factory.mktemp("service") / "wire.jsonl"
    command = [sys.executable, str(service), "--port", "0", "--wire", str(wire)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield int(process.stdout.readline().removeprefix("ready "))
    process.terminate()
    process.communicate(timeout=60)


async def test_the_route_of_the_readme(start: Start, county_returns: int) -> None:
    [spec] = [block.text for block in BLOCKS if block.language == "yaml"]
    assert spec.count("\n") == 9  # the page's first paragraph says so
    contract = {"wsdl/county-returns.wsdl": (ROOT / "wsdl" / "county-returns.wsdl").read_text("utf-8")}
    async with start(mesh={"county-returns": f"127.0.0.1:{county_returns}"}, files=contract) as gateway:
        publisher = gateway.bearer(roles=("api_publisher",))
        citizen = gateway.bearer(audience="ELECTION_PUBLIC")
        yaml = {"content-type": "application/yaml"}
        registered = await gateway.client.post("/register", content=spec, headers=publisher | yaml)
        assert (registered.status_code, registered.json()["status"]) == (201, "ACTIVE")
        answer = await gateway.client.get("/v1/returns/91001", headers=citizen)
        assert (answer.json()["returns"]["countyName"], answer.json()["returns"]["turnout"]) == ("Alder", "60.15")
        assert (await gateway.client.get("/v1/returns/91001")).status_code == 401
        assert (await gateway.client.delete("/-/routes/1", headers=publisher)).status_code == 204
        assert (await gateway.client.get("/v1/returns/91001", headers=citizen)).status_code == 404
        (gateway.home / "routes" / "returns.yml").write_text(spec)
        async with asyncio.timeout(60):
            while (await gateway.client.get("/v1/returns/91001", headers=citizen)).status_code != 200:
                await asyncio.sleep(0.02)


def test_its_commands_are_those_of_make_which_other_tests_run() -> None:
    assert [block.language for block in BLOCKS] == ["console", "", "yaml", "console"]
    for block in BLOCKS:
        if block.language == "console":
            commands = [line.removeprefix("$ ") for line in block.text.splitlines()]
            assert set(commands) <= NOT_RUN["README.md"].keys()
