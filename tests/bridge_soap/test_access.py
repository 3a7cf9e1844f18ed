"""A WSDL behind authentication: a real server that wants credentials, and others that must not see them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from bridge.api import BindError, Context, RouteSpec
from bridge_soap import Soap
from bridge_soap.access import Access
from bridge_soap.importing import SoapImport
from bridge_soap.options import SoapOptions, WsdlAuth
from tests.soap_kit import WSDL_DIR, bind_wsdl, loopback_fetch

SECRET = "hunter-2:é"
BASIC = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()


@dataclass
class Server:
    """Serves files to those who bring `wanted`; keeps what each request brought."""

    wanted: str = ""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    redirects: dict[str, str] = field(default_factory=dict[str, str])
    seen: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running = []

    def start(**given: Any) -> Server:
        server = Server(**given)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                brought = self.headers.get("authorization")
                server.seen.append((self.path, brought))
                body = b""
                if self.path in server.redirects:
                    self.send_response(302)
                    self.send_header("location", server.redirects[self.path])
                elif server.wanted and brought != server.wanted:
                    self.send_response(401)
                else:
                    body = server.files.get(self.path, b"")
                    self.send_response(200 if body else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None: ...

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.port = httpd.server_port
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((httpd, thread))
        return server

    yield start
    for httpd, thread in running:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def people(**given: Any) -> dict[str, Any]:
    """A server's arguments: a WSDL in pieces, which imports its port type and schemas from the same host."""
    folder = WSDL_DIR / "people"
    files = {f"/p/{each.relative_to(folder).as_posix()}": each.read_bytes() for each in folder.rglob("*.*")}
    return {"files": files, **given}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_WSDL_PASSWORD", SECRET)
    monkeypatch.setenv("BRIDGE_SECRET_WSDL_TOKEN", "tok.en-1==\n")


BY_NAME = {"username": "ada", "password_env": "BRIDGE_SECRET_WSDL_PASSWORD"}
BY_OPTION = {"wsdl_user": "ada", "wsdl_password_env": "BRIDGE_SECRET_WSDL_PASSWORD"}


@pytest.mark.parametrize(
    ("wanted", "auth"),
    [(BASIC, BY_NAME), ("Bearer tok.en-1==", {"bearer_env": "BRIDGE_SECRET_WSDL_TOKEN"})],
    ids=["basic", "bearer"],
)
async def test_all_files_of_its_own_host(
    serve: Callable[..., Server], tmp_path: Path, wanted: str, auth: dict[str, str]
) -> None:
    server = serve(**people(wanted=wanted))
    operations = await bind_wsdl(tmp_path, f"{server.url}/p/PeopleService.wsdl", options={"wsdl_auth": auth})
    assert [each.name for each in operations] == ["find", "notify"]
    assert {path for path, _ in server.seen} == set(server.files)
    assert {brought for _, brought in server.seen} == {wanted}


@pytest.mark.parametrize("location", ["/p/PeopleService.wsdl", "p/PeopleService.wsdl", "{own}/p/PeopleService.wsdl"])
async def test_imports_count_from_where_a_redirect_leads(
    serve: Callable[..., Server], tmp_path: Path, location: str
) -> None:
    server = serve(**people())
    server.redirects["/people?wsdl"] = location.format(own=server.url)
    options = {"strict": True}  # nothing is looked for elsewhere
    operations = await bind_wsdl(tmp_path, f"{server.url}/people?wsdl", options=options)
    assert [each.name for each in operations] == ["find", "notify"]
    assert {path for path, _ in server.seen} == {"/people?wsdl", *server.files}


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (None, "the server wants credentials (HTTP 401); see wsdl_auth"),
        ({"bearer_env": "BRIDGE_SECRET_WSDL_TOKEN"}, "the server refuses the credentials (HTTP 401); see wsdl_auth"),
        (
            {**BY_NAME, "password_env": "BRIDGE_SECRET_NOPE"},
            "transform.soap.wsdl_auth.password_env: the environment variable BRIDGE_SECRET_NOPE",
        ),
        (
            {"bearer_env": "BRIDGE_SECRET_WSDL_PASSWORD"},
            "wsdl_auth.bearer_env: what BRIDGE_SECRET_WSDL_PASSWORD holds is no bearer token",
        ),
        ({"bearer_env": "BRIDGE_STORE"}, "wsdl_auth.bearer_env: BRIDGE_STORE can't be named by a route"),
        ({**BY_NAME, "username": "a:b"}, "wsdl_auth.username: a user name can't hold a colon"),
    ],
)
async def test_who_may_not(
    serve: Callable[..., Server], tmp_path: Path, auth: dict[str, str] | None, told: str
) -> None:
    server = serve(**people(wanted=BASIC))
    with pytest.raises(BindError) as caught:
        await bind_wsdl(tmp_path, f"{server.url}/p/PeopleService.wsdl", options={"wsdl_auth": auth} if auth else {})
    assert told in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert "tok.en" not in str(caught.value)


async def test_another_host_never_sees_them(serve: Callable[..., Server], tmp_path: Path) -> None:
    other = serve(files={"/x.xsd": b"<x/>"})
    server = serve(**people(wanted=BASIC, redirects={"/away": f"{other.url}/x.xsd"}))
    # An import of another host, one that redirects there, and one that hides a password of its own.
    for target in (f"{other.url}/x.xsd", "/away", f"http://eve:pass-word@127.0.0.1:{server.port}/p/xsd/people.xsd"):
        text = (WSDL_DIR / "people/PeoplePort.wsdl").read_bytes()
        server.files["/p/PeoplePort.wsdl"] = text.replace(b"xsd/people.xsd", target.encode())
        with pytest.raises(BindError) as caught:
            await bind_wsdl(tmp_path, f"{server.url}/p/PeopleService.wsdl", options={"wsdl_auth": BY_NAME})
        for secret in ("hunter", "pass-word", "eve"):
            assert secret not in str(caught.value)
    assert other.seen == []
    server.redirects["/p/PeopleService.wsdl"] = f"{other.url}/x.xsd"
    with pytest.raises(BindError, match="redirects to another host"):
        await bind_wsdl(tmp_path, f"{server.url}/p/PeopleService.wsdl", options={"wsdl_auth": BY_NAME})
    assert other.seen == []


def test_only_the_same_scheme_host_and_port(operator: None) -> None:
    access = Access(WsdlAuth(**BY_NAME), "https://h.example/a?wsdl")
    assert access.headers("https://H.example:443/b") == {"authorization": BASIC}
    for url in ("http://h.example/a", "https://h.example:444/a", "https://h.example.evil/a", "https://x/h.example"):
        assert access.headers(url) == {}


async def test_a_shared_contract_is_no_way_around(serve: Callable[..., Server], tmp_path: Path) -> None:
    server, soap = serve(**people(wanted=BASIC)), Soap()
    url = f"{server.url}/p/PeopleService.wsdl"
    kept = await bind_wsdl(tmp_path, url, soap=soap, options={"wsdl_auth": BY_NAME})
    assert kept
    with pytest.raises(BindError, match="wants credentials"):
        await bind_wsdl(tmp_path, url, soap=soap)


@pytest.mark.parametrize("place", ["wsdl", "import"])
async def test_credentials_in_a_url_are_refused(serve: Callable[..., Server], tmp_path: Path, place: str) -> None:
    server = serve(**people())
    url = f"http://ada:pass-word@127.0.0.1:{server.port}/p/PeopleService.wsdl"
    told = "a URL can't hold a user and password; wsdl_auth names them"
    if place == "import":
        (tmp_path / "a.wsdl").write_text(
            f'<definitions xmlns="http://schemas.xmlsoap.org/wsdl/"><import location="{url}"/></definitions>'
        )
        url, told = "a.wsdl", "which a file can't refer to"
    with pytest.raises(BindError, match=told) as caught:
        await bind_wsdl(tmp_path, url)
    assert "pass-word" not in str(caught.value)
    assert server.seen == []


async def test_a_file_has_nobody_to_ask(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="wsdl_auth: the WSDL is a file"):
        await bind_wsdl(WSDL_DIR, "vat.wsdl", options={"wsdl_auth": BY_NAME})


@pytest.mark.parametrize(
    "auth", [{}, {"username": "a"}, {"password_env": "P"}, {**BY_NAME, "bearer_env": "T"}, {"username": "a", "x": "y"}]
)
def test_half_an_option(auth: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SoapOptions.model_validate({"wsdl": "https://h/x", "wsdl_auth": auth})


async def test_importing_names_them_in_the_spec(serve: Callable[..., Server], tmp_path: Path, operator: None) -> None:
    server = serve(**people(wanted=BASIC))
    context = Context(tmp_path, tmp_path, loopback_fetch)
    url = f"{server.url}/p/PeopleService.wsdl"
    text, _ = await Soap().import_spec(SoapImport(wsdl=url, **BY_OPTION), context)
    spec = YAML(typ="safe").load(text)
    assert spec["transform"]["soap"] == {"wsdl": url, "wsdl_auth": BY_NAME}
    RouteSpec.model_validate(spec)
    assert "hunter" not in text
    with pytest.raises(BindError, match="it needs username and password_env, or bearer_env alone"):
        await Soap().import_spec(SoapImport(wsdl=url, wsdl_user="ada"), context)
    with pytest.raises(BindError, match="wants credentials"):
        await Soap().import_spec(SoapImport(wsdl=url), context)
