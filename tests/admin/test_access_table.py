"""Every call of the admin API x every role x every tenant, as the table of docs/access.md says.

What is called for belongs to the tenant ``revenue``. Callers are of that tenant, of another one, or of none, as
operators are.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.admin.permissions import ADMIN, AUDITOR, PERMISSIONS, PUBLISHER
from bridge.api.call import Identity
from bridge.config.specfile import read_value
from tests.conftest import Running, Start
from tests.docs.tables import code, table

TENANTS = """\
tenants:
  revenue: {paths: [/revenue], upstreams: [svc]}
  health: {paths: [/health], upstreams: [svc]}
"""
OWN, OTHER, OPERATOR = "revenue", "health", ""
#: Stands in what belongs to revenue, and in no request of anybody else.
MARK = "known-to-revenue"
HEADING = "Who gets which answer"
ROWS = {code(row[0])[0]: row[1:] for row in table("docs/access.md", HEADING)}


def spec(number: int) -> dict[str, Any]:
    return {
        "route": f"/revenue/{number}",
        "tenant": "revenue",
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "transform": {"request": "passthrough"},
    }


def kind_of(path: str) -> str:
    """``routes`` of ``/-/routes/{id}/check``."""
    return path.removeprefix("/-/").partition("/")[0]


class Revenue:
    """What there is of revenue, made anew once a call has changed it."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._headers = gateway.bearer(roles=(ADMIN,), sub=MARK)
        self._made: dict[str, str] = {}
        self._routes = 0

    async def request(self, path: str, body: Any) -> httpx.Response:
        answer = await self._gateway.client.post(path, json=body, headers=self._headers)
        assert answer.status_code == 201, answer.text
        return answer

    def new_spec(self) -> dict[str, Any]:
        self._routes += 1
        return spec(self._routes)

    async def id_of(self, path: str) -> str:
        """For the placeholder ``{id}`` of a call."""
        kind = kind_of(path)
        if kind not in self._made:
            self._made[kind] = await self._make(kind)
        return self._made[kind]

    def changed(self, path: str) -> None:
        self._made.pop(kind_of(path), None)

    async def _make(self, kind: str) -> str:
        match kind:
            case "routes":
                answer = await self.request("/register", self.new_spec() | {"description": MARK})
                await self._gateway.client.put(
                    answer.headers["location"], json=self.new_spec() | {"description": MARK}, headers=self._headers
                )
                return str(answer.json()["route_id"])
            case "bindings":
                body = {"role": AUDITOR, "tenant": "revenue", "claims": {"group": MARK}}
                return str((await self.request("/-/bindings", body)).json()["binding_id"])
            case "keys":
                return str((await self.request("/-/keys", {"subject": MARK, "tenant": "revenue"})).json()["id"])
            case _:
                author = Identity(subject=MARK, tenant="revenue", key=f"sub:x|{MARK}")
                changes = self._gateway.app.state.registry.changes
                return str(await changes.propose("create", author, None, read_value(self.new_spec())))

    async def body(self, call: str) -> Any:
        """What a call sends."""
        if call.endswith("/rollback"):
            return {"revision": 1}
        if call.endswith(("/rotate", "/approve", "/reject")):
            return None
        match kind_of(call.split(" ")[1]):
            case "bindings":
                return {"role": AUDITOR, "tenant": "revenue", "claims": {"group": "new"}}
            case "keys":
                return {"subject": "new", "tenant": "revenue"}
            case _:
                return self.new_spec()


class Table:
    """Makes the calls of the table."""

    def __init__(self, gateway: Running) -> None:
        self._gateway, self._revenue = gateway, Revenue(gateway)

    async def status(self, call: str, headers: dict[str, str], *, may_know: bool) -> int:
        method, path = call.split(" ")
        target = path.replace("{revision}", "1").replace("{other}", "2")
        if "{id" in path:
            target = re.sub(r"\{id(:path)?\}", await self._revenue.id_of(path), target)
        body = await self._revenue.body(call) if method in ("POST", "PUT") else None
        content = None if body is None else json.dumps(body)
        fields = headers | ({"content-type": "application/json"} if content else {})
        answer = await self._gateway.client.request(method, target, content=content, headers=fields)
        if method != "GET" and answer.is_success:
            self._revenue.changed(path)
        assert may_know or MARK not in answer.text, f"{call} tells {headers} what is revenue's: {answer.text}"
        return answer.status_code

    async def cells(self, call: str) -> list[str]:
        """What a row of the page has for `call`."""
        found = [str(await self.status(call, {}, may_know=False))]
        others = set()
        for roles in ((), ("clerk",)):
            for tenant in (OWN, OTHER, OPERATOR):
                others.add(await self.status(call, self._bearer(roles, tenant), may_know=False))
        found.append(" ".join(map(str, sorted(others))))
        for role in (PUBLISHER, ADMIN, AUDITOR):
            each = [
                await self.status(call, self._bearer((role,), tenant), may_know=tenant != OTHER)
                for tenant in (OWN, OTHER, OPERATOR)
            ]
            found.append(" ".join(map(str, each)))
        return found

    def _bearer(self, roles: tuple[str, ...], tenant: str) -> dict[str, str]:
        return self._gateway.bearer(roles=roles, tenant=tenant, sub="somebody")


def test_the_page_has_each_call() -> None:
    mounted = {f"{method} {path}" for path, methods in PERMISSIONS.items() for method in methods}
    assert {call.replace("routes/{id}", "routes/{id:path}").replace("/{file}", "") for call in ROWS} == mounted


@pytest.fixture
async def gateway(start: Start) -> AsyncIterator[Running]:
    async with start(mesh={"svc": "127.0.0.1:9"}, files={"tenants.yml": TENANTS}, admin_public="none") as running:
        yield running


async def test_each_cell_answers_as_the_page_says(gateway: Running) -> None:
    calls = Table(gateway)
    answers = {call: await calls.cells(call.replace("{file}", "docs.css")) for call in ROWS}
    assert answers == ROWS
