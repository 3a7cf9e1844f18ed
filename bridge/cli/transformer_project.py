"""``hms-bridge new-transformer``: a project of a transformer, with tests that run it in a gateway."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from bridge import api
from bridge.api.spec.transform import Transform
from bridge.cli.files import write_folder
from bridge.config.yaml import dump
from bridge.errors import SettingsError
from bridge.plugins import discover

MAX_NAME = 40
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")

# The templates are what docs/plugins.md shows, where $name is `shout` and $title is `Shout`.
_MODULE = """\
from typing import ClassVar

from bridge.api import (
    BindError,
    Call,
    Context,
    Fault,
    HttpReply,
    HttpRequest,
    Operation,
    OperationDoc,
    Options,
    Reply,
    RouteSpec,
)


class ${title}Options(Options):
    mark: str = "!"


class ${title}Codec:
    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()

    def request(self, call: Call) -> HttpRequest:
        return HttpRequest("GET", "/" + call.params["word"].upper())

    def reply(self, call: Call, inbound: HttpReply) -> Reply:
        return Reply(200, [("content-type", "text/plain")], inbound.body + self._mark)


class $title:
    name: ClassVar[str] = "$name"
    wire: ClassVar[str] = "http"
    options: ClassVar[type[Options]] = ${title}Options

    async def open(self, context: Context) -> None: ...

    async def bind(self, route: RouteSpec, options: ${title}Options) -> list[Operation]:
        if "{word}" not in route.route:
            raise BindError(Fault("it needs the parameter {word}", ("route",)))
        doc = OperationDoc({"responses": {"200": {"description": "The reply, with a mark at its end."}}})
        return [Operation(self.name, "GET", "", ${title}Codec(options.mark), lambda: doc)]

    async def aclose(self) -> None: ...
"""
_TESTS = """\
import asyncio
from typing import Any

import pytest
from bridge.api import BindError, Call, HttpReply
from bridge.testing import bound

from $package import $title


def test_a_call_and_its_reply() -> None:
    spec = {"route": "/say/{word}", "transform": {"request": "$name"}}
    [operation] = asyncio.run(bound($title(), spec))
    codec: Any = operation.codec
    call = Call("GET", "/say/hi", raw_params={"word": "hi"})
    assert codec.request(call).path == "/HI"
    assert codec.reply(call, HttpReply(200, body=b"hello")).body == b"hello!"


def test_a_route_without_a_word_is_refused() -> None:
    spec = {"route": "/say", "transform": {"request": "$name"}}
    with pytest.raises(BindError, match="it needs the parameter {word}"):
        asyncio.run(bound($title(), spec))
"""
_GATEWAY_TEST = '''\
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

from bridge.testing import serving

SPEC = Path(__file__).parent.parent / "example" / "routes" / "$name.yml"


class Echo(BaseHTTPRequestHandler):
    """The service behind the gateway: it answers with the path that it was called at."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())


def test_a_gateway_serves_the_example(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / SPEC.name).write_text(SPEC.read_text())
    with HTTPServer(("127.0.0.1", 0), Echo) as service:
        (tmp_path / "mesh.yml").write_text(json.dumps({"echo:80": f"127.0.0.1:{service.server_port}"}))
        threading.Thread(target=service.serve_forever).start()
        try:
            with serving(tmp_path) as url, urlopen(f"{url}/say/hi") as reply:
                assert reply.read() == b"/HI?"
        finally:
            service.shutdown()
'''
_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "The transformer $name of HMS Bridge."
requires-python = ">=3.11"
dependencies = ["hms-bridge"]

[project.optional-dependencies]
dev = ["mypy", "pytest", "ruff"]

[project.entry-points."bridge.transformers"]
$name = "$package:$title"

[tool.pytest.ini_options]
testpaths = ["tests"]
addopts = ["--import-mode=importlib"]

[tool.mypy]
strict = true
files = ["$package", "tests"]

[tool.ruff]
line-length = 120

[tool.ruff.lint]
extend-select = ["I", "UP", "B"]
"""
_README = """\
# $distribution

The transformer `$name` of HMS Bridge. As generated it is an example: `GET /say/hi` calls the service at `/HI`, and the
reply gets a mark at its end, which is the option `mark`.

| file | has |
| --- | --- |
| `$package/__init__.py` | the options, the two functions that translate a call, the transformer |
| `tests/test_$module.py` | tests of the transformer alone |
| `tests/test_${module}_in_gateway.py` | a test of the example in a gateway that runs |
| `example/` | a home for a gateway: a route that uses the transformer, and `mesh.yml` |
| `pyproject.toml` | the entry point, by which the gateway finds the transformer |

## Next steps

In an environment that has the gateway (`hms-bridge --version` works there), in this folder:

1. Install the project so that changes take effect at once, and run its tests:

   ```console
   $$ python -m pip install -e '.[dev]'
   $$ python -m pytest
   ```

2. Check the example, and see what a call of it would send. No service is needed for that:

   ```console
   $$ export BRIDGE_HOME=example
   $$ hms-bridge check
   $$ hms-bridge explain /say/hi
   ```

3. Replace the example: the options, then `request` and `reply`, then their tests. `docs/plugins.md` of HMS Bridge has
   the rules and all else that a transformer can do.
4. Put the address of a real service into `example/mesh.yml`, and serve it: `hms-bridge serve`.
5. Before you publish a version: `ruff format . && ruff check . && mypy && python -m pytest`.
"""
_ROUTE = """\
route: /say/{word}
upstream: echo:80
auth: none
transform: {request: $name, $name: {mark: "?"}}
"""
_MESH = """\
# Where the services of routes are: a name with a port, and its addresses.
echo:80: ["127.0.0.1:9001"]
"""
_IGNORED = """\
.venv/
.bridge/
dist/
*.egg-info/
__pycache__/
.pytest_cache/
.mypy_cache/
.ruff_cache/
"""
_FILES = {
    "pyproject.toml": _PROJECT,
    "README.md": _README,
    ".gitignore": _IGNORED,
    "$package/__init__.py": _MODULE,
    "$package/py.typed": "",
    "tests/test_$module.py": _TESTS,
    "tests/test_${module}_in_gateway.py": _GATEWAY_TEST,
    "example/routes/$name.yml": _ROUTE,
    "example/mesh.yml": _MESH,
}
_IMPORTED = {*api.__all__, "Any", "ClassVar"}


def create(name: str) -> list[Path]:
    """Write the project of a transformer `name` into a new folder of this name, all of it or nothing.

    :returns: what was written.
    :raises SettingsError: no new transformer can have this name, a file or folder has it, or it can't be written.
    :raises ConflictError: two installed plug-ins have the same name.
    """
    _check_name(name)
    plain = name.replace("-", "_")
    words = {
        "name": name,
        "module": plain,
        "title": _title(plain),
        "package": f"{plain}_transformer",
        "distribution": f"{name.replace('_', '-')}-transformer",
    }
    files = {Template(path).substitute(words): Template(text).substitute(words) for path, text in _FILES.items()}
    folder = Path(name)
    write_folder(folder, {path: text.encode() for path, text in files.items()})
    return [folder / path for path in files]


def _title(name: str) -> str:
    """The class of a transformer; not one of the words that its module imports, or that Python has."""
    title = "".join(word.capitalize() for word in name.split("_"))
    return f"{title}Transformer" if title in _IMPORTED or keyword.iskeyword(title) else title


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        near = re.sub("[^a-z0-9]+", "-", re.sub("(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        advice = f"; {near!r} would do" if _NAME.fullmatch(near) and len(near) <= MAX_NAME else ""
        raise SettingsError(
            f"{name[:80]!r} can't be the name of a transformer: it begins with a small letter and has small letters, "
            f"digits, single hyphens or underscores, {MAX_NAME} characters at most{advice}"
        )
    if name in Transform.model_fields:
        raise SettingsError(f"{name!r} can't be the name of a transformer: it is a key of `transform` in a route spec")
    if not dump(name).startswith(name):
        raise SettingsError(f"{name!r} can't be the name of a transformer: in YAML it is no text unless it is quoted")
    same = {other.replace("-", "_"): point for other, point in discover().items()}.get(name.replace("-", "_"))
    if same is not None:
        raise SettingsError(f"a transformer {same.name!r} is installed already: {same.value}; choose another name")
