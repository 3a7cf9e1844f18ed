"""The demo at a terminal of 80 columns: what it prints to be pasted is pasted, and works."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.terminals import Terminal, terminal

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's part of the repository, whose files a test may change."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("examples", "routes", "wsdl", "protos"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def demo(tmp_path: Path, checkout: Path) -> Iterator[Terminal]:
    """The demo on a free port, after it has printed all it prints at the start."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    env |= {"TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    program = checkout / "examples" / "election_night" / "demo.py"
    with terminal([sys.executable, str(program), "--port", "0"], env=env) as screen:
        screen.wait_for("^What the gateway reports", 120)
        yield screen
        if screen.process.poll() is None:
            screen.type("\x03")
        assert screen.wait_for_end() == 0
    assert "Traceback" not in screen.screen
    assert "Everything has been ended." in screen.screen
    assert list(tmp_path.iterdir()) == []


def paragraph(screen: Terminal, start: str) -> str:
    """The lines from the one that begins with `start` to the next empty one, as a user selects them."""
    match = re.search(rf"^{start}.*?(?=\n *\n)", screen.screen, re.MULTILINE | re.DOTALL)
    assert match, screen.screen
    return match[0]


def pasted(text: str, folder: Path) -> str:
    """What a shell prints after `text` was pasted into its terminal."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PS1": "$ "}
    with terminal(["bash", "--norc", "--noprofile", "-i"], env=env, cwd=folder) as shell:
        shell.wait_for(r"\$ ")
        shell.type(text + "\n")
        shell.type("echo status=$?\n")
        before = shell.wait_for(r"^.*status=0", 30).start()
        return shell.screen[:before] + shell.screen[before:].partition("status=")[0]


def eventual_answer(url: str) -> httpx.Response:
    """The answer of `url` once its service is known; until then the gateway answers at once."""
    for _ in range(300):
        answer = httpx.get(url, timeout=60)
        if answer.json()["type"] != "urn:bridge:problem:upstream-unknown":
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{url} is still not known")


def test_what_the_demo_prints_to_be_pasted_works_and_what_breaks_later_is_shown(
    demo: Terminal, checkout: Path, tmp_path_factory: Any
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the line to paste calls curl, which is not installed here")
    folder = tmp_path_factory.mktemp("elsewhere")
    answer = pasted(paragraph(demo, "curl "), folder)
    returns = json.JSONDecoder().raw_decode(answer, answer.index("{"))[0]["returns"]
    assert returns["countyName"] == "Birch Lake"

    base = paragraph(demo, "curl ").split()[2].partition("/v1/")[0]
    made = pasted(paragraph(demo, "BRIDGE_HOME="), folder)
    token = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", made)[-1]
    tokens = {name: paragraph(demo, f"{name} +").split() for name in ("citizen", "clerk", "publisher")}
    assert [len(words) for words in tokens.values()] == [2, 2, 2]
    batch = {"batchId": "BL-0999", "source": "MAIL", "ballots": 1, "scannedAt": "2026-11-03T21:30:00-06:00"}
    with httpx.Client(base_url=base, timeout=30) as client:
        for path, body, word in (
            ("/v1/returns/91003", None, token),
            ("/v1/returns/91003", None, tokens["citizen"][1]),
            ("/v1/ballots/91003/batches", batch, tokens["clerk"][1]),
            ("/-/routes", None, tokens["publisher"][1]),
        ):
            headers = {"authorization": f"Bearer {word}"}
            reply = client.request("POST" if body else "GET", path, json=body, headers=headers)
            assert reply.status_code == 200, (path, reply.text)
    home = Path(paragraph(demo, "  home ").split()[1])
    log = Path(paragraph(demo, "  access log ").split()[2])
    assert home in log.parents
    assert '"path":"/v1/returns/91003"' in log.read_text()
    assert not (folder / ".bridge").exists()

    # A route file that is broken while the demo runs, and a call that fails, are shown.
    route = checkout / "routes" / "results-feed.yml"
    text = route.read_text()
    route.write_text(text + "\ncolour: red\n")
    demo.wait_for(r"^.*ERROR.*routes/results-feed\.yml:\d+: colour: unknown key$", 30)
    (checkout / "routes" / "away.yml").write_text(
        "route: /v1/away\nupstream: nobody:80\nauth: none\ntransform: {request: passthrough}\n"
    )
    demo.wait_for("^.*INFO.*5 routes are live$", 30)
    assert httpx.get(f"{base}/v1/away").status_code == 503
    demo.wait_for("^.*WARNING.*nobody:80: GET /v1/away got 503: .*nobody", 30)

    # Ctrl-C lets a call under way finish, says so, and a second one ends it.
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as thread:
        mesh = home / "mesh.yml"
        mesh.write_text(f'{mesh.read_text()}"nobody:80": ["127.0.0.1:{silent.getsockname()[1]}"]\n')
        silent.settimeout(30)
        call = thread.submit(eventual_answer, f"{base}/v1/away")
        service, _ = silent.accept()
        with service:
            demo.type("\x03")
            demo.wait_for("^.*stopping: 1 call may finish, in 10 s at most", 30)
            demo.type("\x03")
            demo.type("\x03")  # one too many does no harm
            ended = call.result(30)
    assert (ended.status_code, ended.json()["type"]) == (503, "urn:bridge:problem:shutting-down")
