"""What settings and trusted proxies say: title and terms of the API, and the servers of the document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from bridge.config.settings import load
from bridge.errors import SettingsError
from tests.conftest import Start, Upstream

PROXY = {"x-forwarded-proto": "https", "x-forwarded-host": "api.example", "x-forwarded-prefix": "/eu"}
ROUTES = {
    "a.yml": (
        "route: /v1/a\nmethods: [GET]\nupstream: svc:80\nauth: none\ntags: [A]\ntransform: {request: passthrough}\n"
    ),
    "b.yml": (
        "route: /v1/b\nupstream: svc:80\nauth: {type: JWT, audience: B}\ntenant: state\nsunset: 2031-01-01\n"
        "transform: {request: xml, xml: {root: b}}\n"
    ),
    "c.yml": (
        "route: /v1/c\nhost: c.example\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
        "---\nroute: /v1/d\nhost: d.example\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"
    ),
}
CONFIG = """\
openapi_title: Election night
openapi_version: "2026.2"
openapi_description: |
  Returns of **every county**.
openapi_contact: {name: API team, email: api@state.example, url: "https://state.example/api"}
openapi_license: {name: EUPL 1.2, identifier: EUPL-1.2}
openapi_terms: https://state.example/terms
openapi_servers:
  - url: https://api.state.example/eu/
    description: Production
  - /staging
"""


def settings_of(**values: str) -> dict[str, Any]:
    settings = load({f"BRIDGE_{name.upper()}": value for name, value in values.items()})
    return {name: getattr(settings, name) for name in values}


async def document(gateway: Any, **headers: str) -> dict[str, Any]:
    answer = await gateway.client.get(
        "/-/openapi.json", headers={name.replace("_", "-"): headers[name] for name in headers}
    )
    built: dict[str, Any] = answer.json()
    OpenAPIV31SpecValidator(built).validate()
    return built


async def test_servers_are_where_a_trusted_proxy_says(start: Start, upstream: Upstream) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, **settings_of(trusted_proxies="127.0.0.0/8")) as gateway:
        get = gateway.client.get
        plain = (await get("/-/openapi.json")).json()
        assert "servers" not in plain, "they are where the document is"
        behind = (await get("/-/openapi.json", headers=PROXY)).json()
        OpenAPIV31SpecValidator(behind).validate()
        assert behind == plain | {"servers": [{"url": "https://api.example/eu"}]}
        other = (await get("/-/openapi.json", headers={"x-forwarded-prefix": "/us"})).json()
        assert other["servers"] == [{"url": f"http://127.0.0.1:{gateway.port}/us"}]
        wrong = (await get("/-/openapi.json", headers={"x-forwarded-prefix": "//elsewhere.example"})).json()
        assert wrong == plain

        publisher = gateway.bearer(roles=("api_publisher",))
        spec = {"route": "/v1/e", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
        created = await gateway.client.post("/register", json=spec, headers=publisher | PROXY)
        assert created.headers["location"] == "/eu/-/routes/1"
        one = (await get("/-/routes/1/openapi", headers=publisher | PROXY)).json()
        assert one["servers"] == [{"url": "https://api.example/eu"}]


async def test_nobody_else_says_where_servers_are(gateway: Any) -> None:
    assert "servers" not in (await gateway.client.get("/-/openapi.json", headers=PROXY)).json()
    spec = {"route": "/v1/e", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
    publisher = gateway.bearer(roles=("api_publisher",))
    created = await gateway.client.post("/register", json=spec, headers=publisher | PROXY)
    assert created.headers["location"] == "/-/routes/1"


async def test_settings_name_the_api_and_its_servers(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(CONFIG)
    settings = load({}, config)
    values = {name: getattr(settings, name) for name in type(settings).model_fields if name.startswith("openapi_")}
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh, routes=ROUTES, **values, **settings_of(trusted_proxies="127.0.0.0/8")) as gateway:
        built = (await gateway.client.get("/-/openapi.json", headers=PROXY)).json()
        OpenAPIV31SpecValidator(built).validate()
        assert built["info"] == {
            "title": "Election night",
            "version": "2026.2",
            "description": "Returns of **every county**.\n",
            "termsOfService": "https://state.example/terms",
            "contact": {"name": "API team", "email": "api@state.example", "url": "https://state.example/api"},
            "license": {"name": "EUPL 1.2", "identifier": "EUPL-1.2"},
        }
        assert built["servers"] == [
            {"url": "https://api.state.example/eu", "description": "Production"},
            {"url": "/staging"},
        ], "settings go before proxies"

        hosts = {"c.example": "/v1/c", "127.0.0.1": "/v1/a", "d.example": "/v1/d"}
        for host, path in hosts.items():
            served = (await gateway.client.get("/-/openapi.json", headers={"host": host})).json()
            assert path in served["paths"]
            assert printed(gateway.home, config, "--host", host) == served
        tenants = (await gateway.client.get("/-/openapi.json?tenant=state")).json()
        assert printed(gateway.home, config, "--tenant", "state") == tenants

        whole = printed(gateway.home, config)
        OpenAPIV31SpecValidator(whole).validate()
        assert list(whole["paths"]) == ["/v1/a", "/v1/b", "/v1/c", "/v1/d"]
        assert whole["paths"]["/v1/c"]["get"]["servers"] == [{"url": "//c.example/eu"}]
        assert "servers" not in whole["paths"]["/v1/a"]["get"]


def printed(home: Path, config: Path, *options: str) -> dict[str, Any]:
    """What ``hms-bridge openapi`` prints."""
    command = [sys.executable, "-m", "bridge", "openapi", "--config", str(config), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    done = subprocess.run(
        command, env=environment | {"BRIDGE_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built: dict[str, Any] = json.loads(done.stdout)
    return built


@pytest.mark.parametrize(
    ("name", "text", "members"),
    [
        ("contact", "API team, api@state.example", {"name": "API team", "email": "api@state.example"}),
        ("contact", "https://state.example/api", {"url": "https://state.example/api"}),
        ("license", "EUPL-1.2", {"name": "EUPL-1.2"}),
        ("license", "Own terms, https://a.example/x?y", {"name": "Own terms", "url": "https://a.example/x?y"}),
    ],
)
def test_in_the_environment_each_is_one_text(name: str, text: str, members: dict[str, str]) -> None:
    setting = getattr(load({f"BRIDGE_OPENAPI_{name.upper()}": text}), f"openapi_{name}")
    assert setting.members() == members


def test_servers_in_the_environment() -> None:
    servers = load({"BRIDGE_OPENAPI_SERVERS": "https://a.example/x/, /y/,http://[::1]:8080"}).openapi_servers
    assert [server.url for server in servers] == ["https://a.example/x", "/y", "http://[::1]:8080"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("SERVERS", "ftp://a.example", "'ftp://a.example' is no address of an API"),
        ("SERVERS", "https://a.example/x?y=1", "is no address of an API"),
        ("SERVERS", "/a/../b", "is no address of an API"),
        ("SERVERS", "//a.example", "is no address of an API"),
        ("SERVERS", "a.example", "write https://host/path, or /path"),
        ("TERMS", "see the wiki", "'see the wiki' is no URL; write https://…"),
        ("CONTACT", "one, two", "'one' and 'two' are both its name"),
        ("CONTACT", "", "it must not be empty"),
        ("LICENSE", "https://a.example", "it is missing"),
        ("TITLE", "", "it must not be empty"),
    ],
)
def test_settings_that_are_wrong(name: str, text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"BRIDGE_OPENAPI_{name}": text})
    assert reason in str(caught.value)
    assert f"BRIDGE_OPENAPI_{name}" in str(caught.value)


def test_a_wrong_key_of_the_file_has_its_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text(
        "openapi_contact:\n  mail: a@b.example\nopenapi_license: {name: A, identifier: A, url: 'https://a.b'}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load({}, config)
    one, two = str(caught.value).splitlines()
    assert one.startswith(f"{config}:2: openapi_contact.mail: ")
    assert two == f"{config}:3: openapi_license: identifier and url exclude each other"
