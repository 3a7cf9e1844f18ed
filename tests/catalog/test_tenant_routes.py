"""A tenant's publisher can't take the callers of another tenant, or of the operator: what it may register where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

OPERATOR = """\
route: /v1/returns/{county}
upstream: svc:80
auth: {type: none}
transform: {request: passthrough}
"""


def spec(route: str, **more: Any) -> dict[str, Any]:
    return {
        "route": route,
        "upstream": "svc:80",
        "auth": {"type": "none"},
        "transform": {"request": "passthrough"},
    } | more


async def refused(answer: httpx.Response, key: str = "route") -> None:
    assert answer.status_code == 403, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:bridge:problem:forbidden"
    assert problem["errors"][0]["pointer"] == f"/{key}"
    assert "belongs to" in problem["detail"]


@pytest.fixture
async def shared(gateway: Any) -> Any:
    """A gateway at which t2 owns ``/t2/pay/{id}``, and the host ``t2.example``."""
    for owned in (spec("/t2/pay/{id}"), spec("/desk/{id}", host="t2.example", methods=["GET"])):
        assert (await gateway.register(owned, tenant="t2")).status_code == 201
    return gateway


@pytest.mark.parametrize(
    "stolen",
    [
        pytest.param(spec("/t2/pay/{id}"), id="the same"),
        pytest.param(spec("/t2/pay/{other}", methods=["DELETE"]), id="another method"),
        pytest.param(spec("/t2/pay/7"), id="more literal"),
        pytest.param(spec("/t2/pay/7", host="t1.example"), id="more literal, at a host"),
        pytest.param(spec("/t2/pay/{id}", host="pay.example"), id="the same, at a host"),
        pytest.param(spec("/t2/{rest*}"), id="a catch-all"),
        pytest.param(spec("/{rest*}"), id="all"),
        pytest.param(spec("/{rest*}", host="pay.example"), id="all, at a host"),
        pytest.param(spec("/{a}/pay/{b}"), id="less literal"),
        pytest.param(spec("/{a}/{b}/{c}"), id="nothing literal"),
        pytest.param(spec("/t2/pay"), id="above"),
        pytest.param(spec("/t2/"), id="above, with a slash"),
        pytest.param(spec("/t2"), id="far above"),
        pytest.param(spec("/t2/pay/{id}/items"), id="beneath"),
        pytest.param(spec("/t2/pay/7/{rest*}"), id="all beneath"),
        pytest.param(spec("/t2/pay/{id}:refund"), id="a verb"),
        pytest.param(spec("/%742/p%61y/{id}"), id="percent-encoded"),
        pytest.param(spec("/desk/7"), id="hostless beside a host's"),
        pytest.param(spec("/desk/{id}", methods=["POST"]), id="what the host's lacks"),
    ],
)
async def test_nothing_stands_where_another_tenant_publishes(shared: Any, stolen: dict[str, Any]) -> None:
    await refused(await shared.register(stolen, tenant="t1"))
    dry = await shared.client.post(
        "/-/routes/check", json=stolen, headers=shared.bearer(roles=("api_publisher",), tenant="t1")
    )
    assert not dry.json()["ok"]
    assert dry.json()["problems"][0]["key"] == "route"
    # Its owner may, and so may the operator.
    assert (await shared.register(stolen, tenant="t2")).status_code in (201, 409)


@pytest.mark.parametrize("host", ["t2.example", "T2.Example", "t2.example."])
async def test_a_host_belongs_to_the_tenant_that_came_first(shared: Any, host: str) -> None:
    await refused(await shared.register(spec("/elsewhere", host=host), tenant="t1"), "host")
    assert (await shared.register(spec("/elsewhere", host="t1.example"), tenant="t1")).status_code == 201


async def test_a_put_moves_nothing_to_where_another_publishes(shared: Any) -> None:
    admin = shared.bearer(roles=("api_publisher",), tenant="t1")
    made = await shared.register(spec("/t1/a"), tenant="t1")
    where = made.headers["location"]
    await refused(await shared.client.put(where, json=spec("/t2/pay/7"), headers=admin))
    assert (await shared.client.put(where, json=spec("/t1/b"), headers=admin)).status_code == 200
    assert (await shared.client.get("/t1/b")).status_code == 200


async def test_neighbours_don_t_disturb_each_other(shared: Any) -> None:
    for mine in (spec("/t1/pay/{id}"), spec("/t2x/pay/{id}"), spec("/t1/{rest*}"), spec("/desk", host="t1.example")):
        assert (await shared.register(mine, tenant="t1")).status_code == 201
    assert (await shared.register(spec("/t2/pay/7"), tenant="t2")).status_code == 201


async def test_nothing_stands_beside_the_operators_files(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    home = OPERATOR.replace("/v1/returns/{county}", "/")
    async with start(mesh=mesh, routes={"returns.yml": OPERATOR, "home.yml": home}) as gateway:
        for stolen in ("/v1/returns/91001", "/v1/{rest*}", "/v1", "/v1/returns/{c}/precincts", "/{x}", "/"):
            await refused(await gateway.register(spec(stolen), tenant="t1"))
            await refused(await gateway.register(spec(stolen, host="t1.example"), tenant="t1"))
        # The page at / owns itself alone.
        assert (await gateway.register(spec("/v1/permits/{id}"), tenant="t1")).status_code == 201
        # A publisher without a tenant is the operator's.
        assert (await gateway.register(spec("/v1/returns/91001"))).status_code == 201
        assert (await gateway.register(spec("/v1/permits/7"))).status_code == 201


async def test_what_can_t_serve_now_still_owns_its_paths(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    wsdl = spec("/t2/pay", transform={"request": "soap", "soap": {"wsdl": "pay.wsdl"}})
    contract = (Path(__file__).parents[2] / "wsdl/county-returns.wsdl").read_text()
    async with start(mesh=mesh, files={"wsdl/pay.wsdl": contract}) as gateway:
        assert (await gateway.register(wsdl, tenant="t2")).status_code == 201
        (gateway.home / "wsdl/pay.wsdl").unlink()
    async with start(mesh=mesh) as gateway:
        admin = gateway.bearer(roles=("api_publisher",), tenant="t2")
        (listed,) = (await gateway.client.get("/-/routes", headers=admin)).json()["routes"]
        assert listed["status"] == "BROKEN"
        await refused(await gateway.register(spec("/t2/pay/GetCountyReturns"), tenant="t1"))


async def test_a_route_keeps_what_it_had_before_the_operator_came(start: Any, upstream: Any) -> None:
    mesh = {"svc": f"127.0.0.1:{upstream.port}"}
    async with start(mesh=mesh) as gateway:
        where = (await gateway.register(spec("/t1/a"), tenant="t1")).headers["location"]
    async with start(mesh=mesh, routes={"all.yml": OPERATOR.replace("/v1/returns/{county}", "/{rest*}")}) as gateway:
        admin = gateway.bearer(roles=("api_publisher",), tenant="t1")
        changed = spec("/t1/a", methods=["GET"])
        assert (await gateway.client.put(where, json=changed, headers=admin)).status_code == 200
        await refused(await gateway.client.put(where, json=spec("/t1/b"), headers=admin))


@pytest.mark.parametrize("tenant", ["a b", "t1/x", "é", "x" * 65])
async def test_a_tenant_that_no_spec_can_name_publishes_nothing(gateway: Any, tenant: str) -> None:
    answer = await gateway.register(spec("/a"), tenant=tenant)
    assert answer.status_code == 403
    assert "tenant" in answer.json()["detail"]
