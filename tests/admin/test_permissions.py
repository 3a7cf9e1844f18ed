"""The table of what each role may do: every call of the admin API is in it, and is asked for what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from bridge.admin.permissions import ADMIN, AUDITOR, PERMISSIONS, PUBLISHER
from bridge.admin.publisher import PublisherAccess
from bridge.api.call import Identity

SPEC = {"route": "/v1/a", "upstream": "svc:80", "auth": {"type": "none"}, "transform": {"request": "passthrough"}}


def mounted(routes: list[BaseRoute], above: str = "") -> Iterator[tuple[str, str]]:
    """Each path with each of its methods."""
    for route in routes:
        match route:
            case Mount(path="/-"):
                yield from mounted(route.routes, "/-")
            case Mount():
                yield above + route.path, "GET"
            case Route():
                for method in (route.methods or set()) - {"HEAD"}:
                    yield above + route.path, method
            case _:
                raise AssertionError(f"{route} is no route that this test knows")


async def test_every_call_is_in_the_table_and_nothing_else(gateway: Any) -> None:
    listed = [(path, method) for path, methods in PERMISSIONS.items() for method in methods]
    assert sorted(mounted(gateway.app.routes)) == sorted(listed)


def test_a_call_that_is_not_in_the_table_cannot_be_mounted() -> None:
    async def handler(request: Request, who: Identity) -> Response:
        return Response()

    access: Any = PublisherAccess(None, None)  # type: ignore[arg-type]  # neither is asked
    with pytest.raises(KeyError):
        access.route("/-/secrets", GET=handler)
    with pytest.raises(KeyError):
        access.route("/-/routes", PATCH=handler)


@pytest.mark.parametrize(
    ("role", "reads", "tries", "changes"),
    [
        (PUBLISHER, 200, 200, 201),
        (ADMIN, 200, 200, 201),
        (AUDITOR, 200, 403, 403),
        ("clerk", 403, 403, 403),
    ],
)
async def test_what_a_role_may_do_with_routes(gateway: Any, role: str, reads: int, tries: int, changes: int) -> None:
    headers = gateway.bearer(roles=(role,), sub="pat")
    assert (await gateway.client.get("/-/routes", headers=headers)).status_code == reads
    assert (await gateway.client.head("/-/routes", headers=headers)).status_code == reads
    assert (await gateway.client.post("/-/routes/check", json=SPEC, headers=headers)).status_code == tries
    refused = await gateway.client.post("/register", json=SPEC, headers=headers)
    assert refused.status_code == changes
    if changes == 403:
        assert refused.json()["detail"] == "This needs one of the roles api_publisher, api_admin."
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
