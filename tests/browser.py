"""A browser that is driven over Chrome's DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.servers import need

PATIENCE = 45.0  # seconds; the machine may be busy


class Page:
    """One tab. `console` holds what the page logged: errors, refusals by its own policy, exceptions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self.console: list[str] = []
        self.requested: list[str] = []

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=PATIENCE)
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            if message["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                self.console.append(json.dumps(message["params"]))
            if message["method"] == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])

    async def evaluate(self, script: str) -> Any:
        answer = await self.command("Runtime.evaluate", expression=f"JSON.stringify({script})", returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        value = answer["result"].get("value")
        return json.loads(value) if value else None

    async def until(self, script: str) -> Any:
        """Ask until the answer is truthy; the page works at its own pace."""
        async with asyncio.timeout(PATIENCE):
            while not (found := await self.evaluate(script)):
                await asyncio.sleep(0.02)
        return found

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    async def text(self, element: str) -> str:
        found: str = await self.evaluate(f"document.getElementById({element!r}).textContent")
        return found

    async def fill(self, element: str, text: str) -> None:
        await self.evaluate(
            f"(() => {{ const it = document.getElementById({element!r}); it.value = {json.dumps(text)};"
            " it.dispatchEvent(new Event('input', {bubbles: true})); return true; })()"
        )

    async def choose(self, element: str, label: str) -> None:
        """Choose the first entry of a list whose text begins with `label`."""
        await self.evaluate(
            f"(() => {{ const it = document.getElementById({element!r});"
            f" it.selectedIndex = [...it.options].findIndex((one) => one.text.startsWith({json.dumps(label)}));"
            " it.dispatchEvent(new Event('change', {bubbles: true})); return it.selectedIndex; })()"
        )

    async def says(self, element: str, text: str) -> None:
        """Wait until the element's text holds `text`."""
        await self.until(f"document.getElementById({element!r}).textContent.includes({json.dumps(text)})")

    async def outcome(self, body: str) -> Any:
        """What the asynchronous function with this body returns in the page; a text for what it throws."""
        await self.evaluate(
            f"(() => {{ window.outcome = undefined; const run = async () => {{ {body} }};"
            " run().then((it) => { window.outcome = [it]; }, (error) => { window.outcome = ['' + error]; });"
            " return true; })()"
        )
        return (await self.until("window.outcome"))[0]

    async def click(self, selector: str) -> None:
        """Press what `selector` finds, once it is there and does not ignore it for being busy."""
        await self.until(
            f"(() => {{ const it = document.querySelector({selector!r});"
            " return it && it.getAttribute('aria-busy') !== 'true'; })()"
        )
        await self.evaluate(f"(() => {{ document.querySelector({selector!r}).click(); return true; }})()")


class Browser:
    """A headless Chromium. Its tabs share cookies and what it keeps of sites."""

    def __init__(self, port: str) -> None:
        self._address = f"http://127.0.0.1:{port}"

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Page]:
        """A new tab. There are no cookies at first."""
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{self._address}/json/new?about:blank") as answer:
                made = await answer.json()
            async with session.ws_connect(made["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.command(f"{domain}.enable")
                await page.command("Network.clearBrowserCookies")
                yield page
            async with session.get(f"{self._address}/json/close/{made['id']}"):
                pass


@contextlib.asynccontextmanager
async def browsing(folder: Path, *options: str) -> AsyncIterator[Browser]:
    """Run Chromium with its profile in `folder`, and these `options`. Skips the test where there is none."""
    await asyncio.to_thread(need, "chromium", "chromium", "--version")
    process = await asyncio.create_subprocess_exec(
        "chromium",
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *options,
        *(f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Browser(await asyncio.wait_for(_devtools_port(process), PATIENCE))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


@contextlib.asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A tab of a Chromium of its own, with its profile in `folder`. Skips the test where there is none."""
    async with browsing(folder) as browser, browser.tab() as page:
        yield page


async def _devtools_port(process: asyncio.subprocess.Process) -> str:
    assert process.stderr
    async for line in process.stderr:
        if found := re.search(rb"ws://[^/]+:(\d+)", line):
            return found[1].decode()
    raise AssertionError("chromium ended before it listened")
