"""`make demo` as a newcomer runs it: the real services, the real gateway, and nothing left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import blocks_of

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "examples" / "election_night" / "demo.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def alive(folder: Path) -> list[int]:
    """Processes that were started with `folder` as their TMPDIR, or below it, and still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(folder).encode() in environment and state != "Z":
            found.append(int(entry.name))
    return found


def gone(folder: Path, seconds: float = 10) -> bool:
    """Whether all of them end within `seconds`."""
    for pid in alive(folder):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            if not select.select([handle], [], [], seconds)[0]:
                return False
        finally:
            os.close(handle)
    return not alive(folder)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    return subprocess.Popen(
        [sys.executable, str(DEMO), *arguments],
        env=env | {"TMPDIR": str(folder), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_once(tmp_path: Path) -> None:
    out, errors = start(tmp_path, "--once", "--port", "0").communicate(timeout=120)
    assert errors == ""
    assert "\x1b" not in out  # piped: no colours
    lines = out.splitlines()
    assert "✓ All 4 calls went as they should." in lines
    for kind in ("SOAP", "gRPC", "XML", "refused"):
        assert any(line.startswith(f"✓ {kind}  ") for line in lines), kind
    # What went up was captured at the services.
    assert re.search(r"<(\w+:)?countyFips>91001</(\w+:)?countyFips>", out)
    assert '  county_fips: "91003"' in lines
    assert '      <candidate code="PELLETIER" party="Independent" leading="true">' in lines
    # What came back is JSON by the contracts.
    assert any('"turnout": "60.15"' in line for line in lines)
    assert any('"sequence": "20261"' in line for line in lines)
    assert any('"type": "urn:bridge:problem:unauthorized"' in line for line in lines)
    assert len(re.findall(r"trace id [0-9a-f]{32}$", out, re.MULTILINE)) == 4
    for cell in scene_of_the_readme():
        assert re.search(cell, "".join(out.split())), cell
    assert list(tmp_path.iterdir()) == []
    assert gone(tmp_path)


def scene_of_the_readme() -> list[str]:
    """A pattern for each line of each column of the scene that README.md shows; ``…`` is what it leaves out.
    Spaces don't count, nor whether another member follows: the order of an object's members is no part of JSON."""
    [scene] = [block.text for block in blocks_of(ROOT / "README.md") if block.language == ""]
    cells = [cell.strip(" ─┬┴┼╮╯") for line in scene.splitlines() for cell in re.split("[│├╭╰┤]", line)]
    shown = [cell for cell in cells if cell and not cell.startswith(("JSON: ", "XML: "))]
    assert len(shown) > 25
    patterns = [re.escape("".join(cell.split()).rstrip(",")).replace("…", ".*?") for cell in shown]
    return [re.sub(r"\d+\\\.\d+|[0-9a-f]{32}", ".+?", line) if "traceid" in line else line for line in patterns]


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, "--once", "--port", str(port))
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out == ""
    assert errors.count("\n") == 1
    assert errors.startswith(f"Port {port} on 127.0.0.1 can't be had")


@pytest.mark.parametrize("port", ["99999", "abc", "-1", ""])
def test_what_is_no_port(tmp_path: Path, port: str) -> None:
    process = start(tmp_path, f"--port={port}")
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert errors == f"{port!r} is not a port, which is a number from 0 to 65535; choose another: make demo PORT=8081\n"


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo, up, and what it printed so far."""
    process = start(tmp_path, "--port", "0")
    printed = []
    assert process.stdout
    for line in process.stdout:
        printed.append(line)
        if line.startswith("Ctrl-C ends"):
            break
    else:
        pytest.fail(f"it ended: {''.join(printed)} {process.communicate()[1]}")
    yield process, "".join(printed)
    process.kill()
    process.communicate()
    assert gone(tmp_path)


def test_it_stays_up_until_ctrl_c(staying: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, printed = staying
    for page in ("docs", "console", "openapi"):
        found = re.search(rf"^  {page} +(http://\S+)$", printed, re.MULTILINE)
        assert found, page
        assert httpx.get(found[1]).status_code == 200, page
    pasted = re.search(r'^curl -s (\S+) -H "Authorization: (Bearer \S+)"$', printed, re.MULTILINE)
    assert pasted
    answer = httpx.get(pasted[1], headers={"Authorization": pasted[2]})
    assert answer.status_code == 200
    assert answer.json()["returns"]["countyName"] == "Birch Lake"
    base = pasted[1].partition("/v1/")[0]
    unknown = httpx.get(f"{base}/v1/returns/91999", headers={"Authorization": pasted[2]})
    assert unknown.status_code == 404, unknown.text  # by the spec's `faults`
    assert unknown.json()["fault"]["detail"]["UnknownCounty"]["knownCounty"] == ["91001", "91003", "91005"]
    missing = httpx.get(f"{base}/v1/results/no-such")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert "feedd" not in missing.text  # the feed's page stays where it is
    assert len(alive(tmp_path)) == 5
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "Everything has been ended." in out
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_its_gateway(staying: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, _ = staying
    (gateway,) = (pid for pid in alive(tmp_path) if b"bridge.cli.main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(gateway, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("gateway ended: ")
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_outlives_it(staying: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    """Killed without a chance to clean up, it still leaves no process."""
    process, _ = staying
    assert len(alive(tmp_path)) == 5
    process.kill()
    process.wait()
    assert gone(tmp_path)
