"""The demo at a terminal of 80 columns: what it prints to be pasted is pasted, and works."""

from __future__ import annotations

import contextlib
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

import httpx
import pytest

from tests.terminals import Terminal, terminal

ROOT = Path(__file__).resolve().parents[1]
AWAY = "route: /v1/away\nupstream: nobody:80\nauth: none\ntransform: {request: passthrough}\n"

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the line to paste calls curl, which is not installed here"
)


@contextlib.contextmanager
def demo_in(folder: Path) -> Iterator[tuple[Terminal, Path]]:
    """The demo on a free port, after it has printed all that is to be pasted, and its part of the repository, whose
    files a test may change."""
    checkout, temporary = folder / "checkout", folder / "temporary"
    temporary.mkdir()
    for name in ("examples", "routes", "wsdl", "protos"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    env |= {"TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"}
    program = checkout / "examples" / "election_night" / "demo.py"
    with terminal([sys.executable, str(program), "--port", "0"], env=env) as screen:
        screen.wait_for("^Ctrl-C ends everything", 120)
        yield screen, checkout
        if screen.process.poll() is None:
            screen.type("\x03")
        assert screen.wait_for_end() == 0
    assert "Traceback" not in screen.screen
    assert "Everything has been ended." in screen.screen
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, Path]]:
    """`demo_in`, for the tests that end nothing."""
    with demo_in(tmp_path_factory.mktemp("demo")) as both:
        yield both


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
        before = shell.wait_for(r"^.*status=0", 15).start()
        return shell.screen[:before] + shell.screen[before:].partition("status=")[0]


def eventual_answer(url: str, *, before: str) -> httpx.Response:
    """The first answer of `url` that is not the problem `before`, which the gateway gives at once until it has read
    what a test has just written."""
    end = time.monotonic() + 20
    while True:
        answer = httpx.get(url, timeout=60)
        if answer.json()["type"] not in {f"urn:bridge:problem:{slug}" for slug in ("not-found", before)}:
            return answer
        assert time.monotonic() < end, f"{url} still answers {answer.text}"
        time.sleep(0.1)


def address(screen: Terminal) -> str:
    """The gateway's URL."""
    return paragraph(screen, "curl ").split()[2].partition("/v1/")[0]


def home_of(screen: Terminal) -> Path:
    return Path(paragraph(screen, "  home ").split()[1])


@needs_curl
def test_the_call_that_the_demo_prints_works_when_it_is_pasted(demo: tuple[Terminal, Path], tmp_path: Path) -> None:
    answer = pasted(paragraph(demo[0], "curl "), tmp_path)
    assert '"returns":' in answer
    returns = json.JSONDecoder().raw_decode(answer, answer.index("{"))[0]["returns"]
    assert returns["countyName"] == "Birch Lake"


def test_the_demo_prints_a_token_for_each_role_and_a_command_for_more(
    demo: tuple[Terminal, Path], tmp_path: Path
) -> None:
    screen, _ = demo
    tokens = {name: paragraph(screen, f"{name} +").split() for name in ("citizen", "clerk", "publisher")}
    assert [len(words) for words in tokens.values()] == [2, 2, 2]
    made = pasted(paragraph(screen, "BRIDGE_HOME="), tmp_path)
    token = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", made)[-1]
    batch = {"batchId": "BL-0999", "source": "MAIL", "ballots": 1, "scannedAt": "2026-11-03T21:30:00-06:00"}
    with httpx.Client(base_url=address(screen), timeout=30) as client:
        for path, body, word in (
            ("/v1/returns/91003", None, token),
            ("/v1/returns/91003", None, tokens["citizen"][1]),
            ("/v1/ballots/91003/batches", batch, tokens["clerk"][1]),
            ("/-/routes", None, tokens["publisher"][1]),
        ):
            headers = {"authorization": f"Bearer {word}"}
            reply = client.request("POST" if body else "GET", path, json=body, headers=headers)
            assert reply.status_code == 200, (path, reply.text)
    log = Path(paragraph(screen, "  access log ").split()[2])
    assert home_of(screen) in log.parents
    assert '"path":"/v1/returns/91003"' in log.read_text()
    assert not (tmp_path / ".bridge").exists()


def test_a_route_file_that_breaks_while_the_demo_runs_is_shown(demo: tuple[Terminal, Path]) -> None:
    screen, checkout = demo
    route = checkout / "routes" / "results-feed.yml"
    text = route.read_text()
    route.write_text(text + "\nweekday: red\n")
    try:
        screen.wait_for(r"^.*ERROR.*routes/results-feed\.yml:\d+: weekday: unknown key$", 20)
    finally:
        route.write_text(text)


def test_a_call_that_fails_while_the_demo_runs_is_shown(demo: tuple[Terminal, Path]) -> None:
    screen, checkout = demo
    (checkout / "routes" / "away.yml").write_text(AWAY)
    answer = eventual_answer(f"{address(screen)}/v1/away", before="not-found")
    assert answer.status_code == 503
    screen.wait_for("^.*WARNING.*nobody:80: GET /v1/away got 503: .*nobody", 20)
    screen.wait_for("^.*INFO.*5 routes are live$", 20)


def test_ctrl_c_lets_a_call_under_way_finish_says_so_and_a_second_one_ends_it(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ThreadPoolExecutor(1) as thread,
        demo_in(tmp_path) as (screen, checkout),
    ):
        (checkout / "routes" / "away.yml").write_text(AWAY)
        mesh = home_of(screen) / "mesh.yml"
        mesh.write_text(f'{mesh.read_text()}"nobody:80": ["127.0.0.1:{silent.getsockname()[1]}"]\n')
        silent.settimeout(30)
        call = thread.submit(eventual_answer, f"{address(screen)}/v1/away", before="upstream-unknown")
        service, _ = silent.accept()
        with service:
            screen.type("\x03")
            screen.wait_for("^.*stopping: 1 call may finish, in 10 s at most", 20)
            screen.type("\x03")
            screen.type("\x03")  # one too many does no harm
            ended = call.result(30)
    assert (ended.status_code, ended.json()["type"]) == (503, "urn:bridge:problem:shutting-down")
