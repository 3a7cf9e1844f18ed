"""What a publisher is told about a route that is live: what of its contract is not published, and what it lacks."""

from __future__ import annotations

import logging
import shutil
from typing import Any

import pytest

from tests.bridge_soap.test_policy import ADDRESSING, EMPTY, WSDL, policy
from tests.soap_kit import WSDL_DIR


def spec(wsdl: str) -> dict[str, Any]:
    return {
        "route": "/v1/w", "upstream": "svc:80", "auth": "none",
        "transform": {"request": "soap", "soap": {"wsdl": wsdl}},
    }  # fmt: skip


async def test_registering_tells_what_is_not_published(gateway: Any, caplog: pytest.LogCaptureFixture) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    folder = gateway.home / "wsdl"
    folder.mkdir(exist_ok=True)
    shutil.copy(WSDL_DIR / "weather.wsdl", folder)
    (folder / "bank.wsdl").write_text(WSDL.format(**{**EMPTY, "binding": policy(ADDRESSING)}))
    dry = (await gateway.client.post("/-/routes/check", json=spec("weather.wsdl"), headers=admin)).json()
    with caplog.at_level(logging.WARNING, "bridge.routes"):
        answer = await gateway.register(spec("weather.wsdl"))
    assert answer.status_code == 201
    warnings = answer.json()["warnings"]
    assert [each[:18] for each in warnings] == ["left out: fails: w", "left out: alert: w"]
    assert (dry["ok"], dry["warnings"]) == (True, warnings)
    assert all(each in caplog.text for each in warnings)

    url = answer.headers["location"]
    changed = await gateway.client.put(url, json=spec("bank.wsdl"), headers=admin)
    assert changed.status_code == 200
    assert changed.json()["warnings"] == [
        "the service's WS-Policy asks for WS-Addressing (wsam:Addressing), and headers sets no Action, To or MessageID"
    ]
    # The list is absent where there is nothing to tell.
    headers = {"headers": {"Action": "urn:a"}}
    quiet = {**spec("bank.wsdl"), "transform": {"request": "soap", "soap": {"wsdl": "bank.wsdl", **headers}}}
    assert "warnings" not in (await gateway.client.put(url, json=quiet, headers=admin)).json()
    assert (await gateway.client.post(f"{url}/check", json=quiet, headers=admin)).json()["warnings"] == []
