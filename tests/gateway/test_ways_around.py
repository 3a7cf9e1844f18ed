"""Conditions of single methods (``auth.methods``), where another HTTP method calls the same method of a service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Running, Start

PROTO = """\
syntax = "proto3";
package a.v1;
message M { string name = 1; }
service S {
  rpc Delete(M) returns (M);
  rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
}
"""
CHIEF, CLERK = {"roles": ["chief"]}, {"roles": ["clerk"]}


async def warnings(gateway: Running, auth: dict[str, Any], **more: Any) -> list[str]:
    rules = [{"selector": "a.v1.S.Delete", "delete": "/v1/{name}"}]
    spec = {
        "route": "/g",
        "upstream": "grpc://svc:80",
        "auth": auth,
        "transform": {"request": "grpc", "grpc": {"protos": ["a.proto"], "http_rules": rules}},
    }
    headers = gateway.bearer(roles=("api_publisher",))
    answer = (await gateway.client.post("/-/routes/check", json=spec | more, headers=headers)).json()
    assert answer["ok"], answer
    said: list[str] = answer["warnings"]
    return [warning for warning in said if warning.startswith("auth.methods")]


@pytest.mark.parametrize(
    ("methods", "ways"),
    [
        ({"DELETE": CHIEF}, ["/a.v1.S/Delete can be called by POST, too, without the conditions of DELETE"]),
        ({"DELETE": CHIEF, "POST": CHIEF, "GET": CHIEF}, []),
        (
            {"POST": CLERK, "GET": CLERK},
            ["/a.v1.S/Delete can be called by DELETE, too, without the conditions of POST"],
        ),
        ({"GET": CLERK, "DELETE": CHIEF, "POST": CHIEF}, ["/Read can be called by GET", "/Read can be called by POST"]),
    ],
)
async def test_a_method_that_is_called_without_the_conditions_of_another_is_told(
    start: Start, methods: dict[str, Any], ways: list[str]
) -> None:
    async with start(mesh={"svc": "127.0.0.1:9"}) as gateway:
        (gateway.home / "protos").mkdir(exist_ok=True)
        (gateway.home / "protos/a.proto").write_text(PROTO)
        jwt = {"type": "JWT", "audience": "A", "methods": methods}
        told = await warnings(gateway, jwt)
        assert len(told) == len(ways), told
        assert all(any(way in warning for warning in told) for way in ways), told
        assert await warnings(gateway, {"any": [jwt, {"type": "api_key"}]}) == told
        assert await warnings(gateway, {"type": "JWT", "audience": "A"}) == []
