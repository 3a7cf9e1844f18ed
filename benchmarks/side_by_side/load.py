"""wrk as the load: one request again and again over connections that are kept, and what came of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.side_by_side.process import on_core

HINT = "wrk is not here: apt-get install wrk"

# `done` is called once at the end; its numbers are exact where wrk's printed table is rounded.
_SCRIPT = """\
wrk.method = {method}
{headers}
local file = io.open({body}, "rb")
local body = file:read("*a")
file:close()
if #body > 0 then wrk.body = body end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nBENCH {{"requests":%d,"seconds":%.6f,"bytes":%d,"connect":%d,"read":%d,"write":%d,' ..
    '"status":%d,"timeout":%d,"p50":%d,"p99":%d}}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class LoadError(Exception):
    """A run that says nothing: wrk is missing, failed, or was answered by errors."""


@dataclass(frozen=True)
class Request:
    """What is sent: `headers` without those that frame it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """What wrk counted. `seconds` it ran; `p50` and `p99` in microseconds; `errors` says what went wrong."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    errors: str


def binary() -> str:
    """Where wrk is.

    :raises LoadError: nowhere; says how it is had.
    """
    found = shutil.which("wrk")
    if found is None:
        raise LoadError(HINT)
    return found


def script(request: Request, body: Path) -> str:
    """The Lua that makes wrk send `request`, whose body is written to `body`."""
    body.write_bytes(request.body)
    headers = "\n".join(f"wrk.headers[{_text(name)}] = {_text(value)}" for name, value in request.headers.items())
    return _SCRIPT.format(method=_text(request.method), headers=headers, body=_text(str(body)))


def _text(value: str) -> str:
    """A Lua string; what is not plain ASCII goes by number."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", lambda found: f"\\{ord(found[0]):03d}", value) + '"'


def outcome(printed: str) -> Outcome:
    """What the script's last line in `printed` says.

    :raises LoadError: there is none.
    """
    found = re.search(r"^BENCH (\{.*\})$", printed, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk told nothing: {printed[-500:]}")
    told = json.loads(found[1])
    errors = ", ".join(
        f"{told[name]} {words}"
        for name, words in (
            ("connect", "not connected"),
            ("read", "broken while reading"),
            ("write", "broken while writing"),
            ("status", "not 2xx"),
            ("timeout", "timed out"),
        )
        if told[name]
    )
    return Outcome(told["requests"], told["seconds"], told["bytes"], told["p50"], told["p99"], errors)


def drive(request: Request, port: int, seconds: float, connections: int, core: int, folder: Path) -> Outcome:
    """Send `request` to `port` for `seconds` from `core`; each connection sends the next once it is answered.

    :raises LoadError: wrk is missing or failed.
    """
    lua = folder / "load.lua"
    lua.write_text(script(request, folder / "load.body"))
    whole = max(1, round(seconds))
    command = [binary(), "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "--latency", "-s", str(lua)]
    with on_core(core):
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{request.path}"],
            capture_output=True,
            text=True,
            timeout=whole + 60,
            check=False,
        )
    if done.returncode:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stderr[-500:]}")
    return outcome(done.stdout)
