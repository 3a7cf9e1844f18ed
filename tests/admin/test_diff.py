"""What differs between two revisions of a route, by key and as lines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.admin.answers import yaml_text
from bridge.admin.diff import differences, unified
from bridge.config.specfile import read_value

SPEC: dict[str, Any] = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}
CHANGED = SPEC | {"methods": ["GET"], "rate_limit": {"rps": 5.0}}


async def test_two_revisions_are_compared(gateway: Any) -> None:
    admin = gateway.bearer(roles=("auditor",))
    where = (await gateway.register(SPEC)).headers["location"]
    publisher = gateway.bearer(roles=("api_publisher",), sub="kim")
    assert (await gateway.client.put(where, json=CHANGED, headers=publisher)).status_code == 200
    assert (await gateway.client.delete(where, headers=publisher)).status_code == 204

    async def diff(pair: str, **more: str) -> Any:
        first, second = pair.split()
        return await gateway.client.get(f"{where}/history/{first}/diff/{second}", headers=admin | more)

    answer = (await diff("1 2")).json()
    assert (answer["before"]["revision"], answer["after"]["by"]) == (1, "kim")
    assert answer["diff"] == [
        {"path": "/methods", "after": ["GET"]},
        {"path": "/rate_limit", "after": {"rps": 5.0}},
    ]
    assert (await diff("2 1")).json()["diff"][0] == {"path": "/methods", "before": ["GET"]}
    assert (await diff("2 2")).json()["diff"] == []
    assert (await diff("2 3")).json()["diff"] == [{"path": "", "before": CHANGED}]
    for pair in ("1 9", "9 1", "1 x", "0 1"):
        assert (await diff(pair)).status_code == 404
    text = await diff("1 2", accept="text/plain")
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text.splitlines()[:2] == ["--- route 1 revision 1", "+++ route 1 revision 2"]
    assert "+methods: [GET]\n" in text.text
    assert (await diff("1 2", accept="application/json, text/plain")).headers["content-type"] == "application/json"


def test_each_kind_of_difference() -> None:
    def between(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
        return differences(read_value(SPEC | before), read_value(SPEC | after))

    assert between({"tags": ["a/b"]}, {"tags": ["a/b", "c"]}) == [
        {"path": "/tags", "before": ["a/b"], "after": ["a/b", "c"]}
    ]
    slash = {"upstream_auth": {"type": "signed_jwt", "claims": {"x/~": "1"}}}
    assert between(slash, {"upstream_auth": {"type": "signed_jwt", "claims": {}}}) == [
        {"path": "/upstream_auth/claims/x~1~0", "before": "1"}
    ]
    assert between({"timeout": 1}, {"timeout": "1s"}) == []
    claims = {"upstream_auth": {"type": "signed_jwt", "claims": {"a": True}}}
    numbers = {"upstream_auth": {"type": "signed_jwt", "claims": {"a": 1}}}
    assert between(claims, numbers) == [{"path": "/upstream_auth/claims/a", "before": True, "after": 1}]
    assert between(numbers, {"upstream_auth": {"type": "signed_jwt", "claims": {"a": None}}})[0]["after"] is None


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
@pytest.mark.parametrize("lines", [3, 600])
def test_the_text_is_a_patch(tmp_path: Path, lines: int) -> None:
    claims = {f"claim{number}": number for number in range(lines)}
    before, after = (
        read_value(SPEC | {"upstream_auth": {"type": "signed_jwt", "claims": some}})
        for some in (claims, {f"{name}x": value for name, value in claims.items()})
    )
    file = tmp_path / "a.yml"
    file.write_text(yaml_text(before))
    subprocess.run(["patch", str(file)], input=unified(before, after, ("a", "b")), text=True, check=True)
    assert file.read_text() == yaml_text(after)
    assert unified(before, before, ("a", "b")) == ""
