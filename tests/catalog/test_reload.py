"""The folder is followed: a changed file goes live without a dropped request, a broken one leaves the old serving."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridge.errors import SetupError

TEMPLATE = "route: {}\nupstream: svc:80\nauth: {{type: none}}\ntransform: {{request: passthrough}}\n"


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await check():
            await asyncio.sleep(0.02)


async def test_a_changed_file_goes_live_without_dropping_a_request(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": TEMPLATE.format("/a")}) as gateway:
        statuses: set[int] = set()
        stop = asyncio.Event()

        async def hammer() -> None:
            while not stop.is_set():
                statuses.add((await gateway.client.get("/a")).status_code)

        tasks = [asyncio.create_task(hammer()) for _ in range(4)]
        for number in range(3):
            (gateway.home / "routes/b.yml").write_text(TEMPLATE.format(f"/b{number}"))

            async def live(number: int = number) -> bool:
                return bool((await gateway.client.get(f"/b{number}")).status_code == 200)

            await eventually(live)
        stop.set()
        await asyncio.gather(*tasks)
        assert statuses == {200}
        assert (await gateway.client.get("/b0")).status_code == 404

        (gateway.home / "routes/b.yml").unlink()

        async def gone() -> bool:
            return bool((await gateway.client.get("/b2")).status_code == 404)

        await eventually(gone)


async def test_a_broken_change_is_reported_and_the_old_route_serves(
    start: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge")
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes={"a.yml": TEMPLATE.format("/a")}) as gateway:
        (gateway.home / "routes/a.yml").write_text(TEMPLATE.format("/a") + "rate_limt: {rps: 5}\n")

        async def reported() -> bool:
            return "rate_limt" in caplog.text

        await eventually(reported)
        assert "routes/a.yml:5: rate_limt: unknown key; did you mean 'rate_limit'?" in caplog.text
        assert (await gateway.client.get("/a")).status_code == 200


async def test_a_broken_folder_does_not_start_and_names_every_fault(start: Any) -> None:
    routes = {
        "a.yml": TEMPLATE.format("/a") + "colour: red\n",
        "b.yml": TEMPLATE.format("b"),
        "c.yml": "route: [",
        "d.yml": TEMPLATE.format("/d"),
        "e.yml": TEMPLATE.format("/d"),
    }
    with pytest.raises(SetupError) as caught:
        async with start(mesh={}, routes=routes):
            pass
    assert [str(fault).partition(": ")[0] for fault in caught.value.faults] == [
        "routes/a.yml:5",
        "routes/b.yml:1",
        "routes/c.yml:1",
        "routes/e.yml:1",
    ]


TWO_DOCUMENTS = (
    TEMPLATE.format("/a")
    + "rate_limt: {rps: 5}\n---\n"
    + ("route: /b\nupstream: svc:80\nauth: none\ntransform: {request: soap, soap: {wsdl: nowhere.wsdl}}\n")
)


async def test_a_file_that_breaks_the_grammar_hides_no_fault_of_its_other_documents(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SetupError) as raised:
        async with start(routes={"a.yml": TWO_DOCUMENTS}):
            pass
    faults = [(fault.key, fault.line) for fault in raised.value.faults]
    assert faults == [("rate_limt", 5), ("transform.soap.wsdl", 10)]
    async with start(routes={"a.yml": TEMPLATE.format("/a")}) as gateway:
        for text in (TWO_DOCUMENTS, TWO_DOCUMENTS.replace("rate_limt: {rps: 5}", "timeout: 1s").replace("/b", "/c")):
            caplog.clear()
            (gateway.home / "routes/a.yml").write_text(text)

            async def reported() -> bool:
                return "a.yml:10: transform.soap.wsdl" in caplog.text

            await eventually(reported)
            assert ("a.yml:5: rate_limt" in caplog.text) == ("rate_limt" in text)


async def test_what_another_process_registers_goes_live_here(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh) as one, start(mesh=mesh) as two:
        spec = {"route": "/x", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
        assert (await one.register(spec)).status_code == 201

        async def live() -> bool:
            return bool((await two.client.get("/x")).status_code == 200)

        await eventually(live)
