"""A wrong value is told in plain words with its file, line and key, to whoever runs ``check`` and whoever registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

SPEC = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": "none",
    "transform": "{request: passthrough}",
}
NAMES = "there are grpc, passthrough, soap, xml"


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("auth", "JWT", "a.yml:3: auth: it must be a mapping; write {type: JWT}"),
        ("auth", "{type: jwt}",
         "a.yml:3: auth: 'jwt' is not one of none, JWT, api_key, oauth2, mtls; did you mean 'JWT'?"),
        ("methods", "GET", "a.yml:5: methods: it must be a list, not 'GET'; write [GET]"),
        ("rate_limit", "50", "a.yml:5: rate_limit: it must be a mapping of keys to values, not 50"),
        ("rate_limit", "{rps: 1, per: clinet}",
         "a.yml:5: rate_limit.per: 'clinet' is not one of client, key, route, tenant, address, claim:NAME; "
         "did you mean 'client'?"),
        ("limits", "\n- {rps: 1}\n- {rps: 1, per: clinet}",
         "a.yml:7: limits[1].per: 'clinet' is not one of client, key, route, tenant, address, claim:NAME; "
         "did you mean 'client'?"),
        ("limits", "\n- {rps: 1, window: day}",
         "a.yml:6: limits[0]: window goes with quota, not with rps"),
        ("limits", "\n- {rps: 1}\n- {rps: 2}",
         "a.yml:5: limits: two of them are called 'client'; give one another name"),
        ("limits", "\n- {rps: 5, cost: {PSOT: 3}}",
         "a.yml:6: limits[0].cost.PSOT: 'PSOT' is no operation of this route and no method; did you mean 'POST'?"),
        ("upstream", "htp://svc:80",
         "a.yml:2: upstream: 'htp' is not one of grpc, grpcs, http, https; did you mean 'http'?"),
        ("transform", "soap", "a.yml:4: transform: it must be a mapping of keys to values, not 'soap'"),
        ("transform", "{request: xml, response: jsn}",
         "a.yml:4: transform.response: 'jsn' is not one of json, xml, passthrough; did you mean 'json'?"),
        ("transform", "{request: soap, soap: {wsdl: [a.wsdl]}}",
         "a.yml:4: transform.soap.wsdl: it must be a text, not a list"),
        ("transform", "{request: soup}",
         f"a.yml:4: transform.request: no transformer is named 'soup'; {NAMES}; did you mean 'soap'?"),
        ("transform", "{request: soup, soap: {wsdl: a.wsdl}}",
         f"a.yml:4: transform.request: no transformer is named 'soup'; {NAMES}; did you mean 'soap'?"),
    ],
)  # fmt: skip
def test_check_tells_a_wrong_value_in_plain_words(cli: Any, home: Path, key: str, value: str, told: str) -> None:
    (home / "a.yml").write_text("".join(f"{name}: {text}\n" for name, text in {**SPEC, key: value}.items()))
    done = cli("check", "a.yml")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told + "\n")


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("BRIDGE_LOG_KEEP", "many", "it must be a whole number, not 'many'"),
        ("BRIDGE_LOCAL_ISSUER", "of", "'of' is not one of on, off; did you mean 'off'?"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words(cli: Any, setting: str, value: str, told: str) -> None:
    done = cli("check", **{setting: value})
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{setting}: {told}\n")


def test_a_publisher_is_told_of_a_wrong_value_in_plain_words(cli: Any, served: Any) -> None:
    token = cli("token", "--role", "api_publisher").stdout.strip()
    body = {"route": "/v1/a", "upstream": "svc:80", "auth": {"type": "jwt"}, "methods": "GET"}
    with httpx.Client(base_url=served().url, headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
        wrong = client.post("/register", json={**body, "transform": {"request": "passthrough"}})
        misspelt = client.post(
            "/register", json={**body, "auth": "none", "methods": ["GET"], "transform": {"request": "soup"}}
        )
    assert [(error["pointer"], error["reason"]) for error in wrong.json()["errors"]] == [
        ("/methods", "it must be a list, not 'GET'; write [GET]"),
        ("/auth", "'jwt' is not one of none, JWT, api_key, oauth2, mtls; did you mean 'JWT'?"),
    ]
    assert [(error["pointer"], error["reason"]) for error in misspelt.json()["errors"]] == [
        ("/transform/request", f"no transformer is named 'soup'; {NAMES}; did you mean 'soap'?")
    ]
