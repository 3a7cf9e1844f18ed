"""The table of settings in docs/cli.md: its defaults are the code's, and what it says of a setting happens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config.settings import load
from bridge.errors import SettingsError
from bridge.payload.json_text import MAX_JSON_MEMORY, give_memory
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT

ROWS = re.findall(r"^\| (`BRIDGE_.+?) \| .* \| (.+?) \|$", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
SPEC = "route: /a\nupstream: svc:80\nauth: none\n"


@pytest.mark.parametrize(("names", "default"), ROWS, ids=lambda text: text[:40])
def test_the_default_of_a_setting(names: str, default: str) -> None:
    fields = [name.removeprefix("BRIDGE_").lower() for name in re.findall(r"BRIDGE_\w+", names)]
    values = re.findall(r"`([^`]+)`", default.partition(";")[0])
    for field, value in zip(fields, values or [""] * len(fields), strict=True):
        actual: Any = getattr(load({}), field)
        if value:
            assert getattr(load({f"BRIDGE_{field.upper()}": value}), field) == actual, field
        else:
            assert default.startswith(("none", "the current directory", "all five")), field
            assert not actual or field == "home", field


@pytest.fixture
def json_memory() -> Iterator[None]:
    """The process's setting is as it was after the test."""
    yield
    give_memory(MAX_JSON_MEMORY)


@pytest.mark.usefixtures("json_memory")
async def test_what_settings_of_sizes_and_times_do(start: Start, upstream: Upstream) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    xml = {"a.yml": SPEC + "methods: [POST]\ntransform: {request: xml, xml: {root: a}}\n"}
    settings = _settings(
        max_json="20k", body_timeout="200ms", max_body="100k", log="calls.log", log_size="1k", log_keep="2"
    )
    async with start(mesh=mesh, routes=xml, **settings) as gateway:
        post = gateway.client.post
        json = {"content-type": "application/json"}
        rich = await post("/a", content=b'{"x":[' + b"{}," * 30000 + b"{}]}", headers=json)
        assert (rich.status_code, rich.json()["type"]) == (413, "urn:bridge:problem:too-large")
        large = await post("/a", content=b'{"x":"' + b"x" * 102400 + b'"}', headers=json)
        assert large.status_code == 413
        fine = await post("/a", content=b'{"x":"' + b"x" * 90000 + b'"}', headers=json)
        assert fine.status_code != 413
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        for _ in range(20):
            await gateway.client.get("/nothing")
    assert sorted(path.name for path in gateway.home.glob("calls.log*")) == ["calls.log", "calls.log.1", "calls.log.2"]


async def test_what_settings_of_files_and_networks_do(start: Start, upstream: Upstream) -> None:
    limit = "rate_limit: {rps: 50, internal_rps: 500}\ntransform: {request: passthrough}\n"
    issuers = {"who.yml": "- issuer: payroll\n  secret_env: PAYROLL_SECRET\n"}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(
        mesh=mesh, routes={"a.yml": SPEC + limit}, **_settings(internal_networks="127.0.0.0/8")
    ) as gateway:
        answer = await gateway.client.get("/a")
        assert (answer.status_code, answer.headers["ratelimit-policy"]) == (200, '"default";q=500;w=1')
    with pytest.raises(SettingsError, match=r"who\.yml:2: .*PAYROLL_SECRET"):
        async with start(files=issuers, **_settings(issuers="who.yml")):
            pass


def _settings(**values: str) -> dict[str, Any]:
    """As the environment gives them."""
    settings = load({f"BRIDGE_{name.upper()}": value for name, value in values.items()})
    return {name: getattr(settings, name) for name in values}
