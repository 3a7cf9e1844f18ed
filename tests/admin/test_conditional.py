"""`If-Match` and `If-None-Match` (RFC 9110, section 13), and changes of one route that meet."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

SPEC = {
    "route": "/v1/a",
    "upstream": "svc:80",
    "auth": {"type": "none"},
    "transform": {"request": "passthrough"},
}


def spec(number: int) -> dict[str, Any]:
    return {**SPEC, "timeout": f"{number + 1}s"}


async def test_of_twelve_changes_of_one_version_one_is_made(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    made = await gateway.register(SPEC)
    where, etag = made.headers["location"], made.headers["etag"]
    for _ in range(3):
        answers = await asyncio.gather(
            *(gateway.client.put(where, json=spec(n), headers={**admin, "if-match": etag}) for n in range(12))
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 11}
        won = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
        shown = await gateway.client.get(where, headers=admin)
        assert shown.json()["spec"] == spec(won) | {"timeout": won + 1.0}
        assert shown.headers["etag"] == answers[won].headers["etag"]
        lost = next(answer for answer in answers if answer.status_code == 412)
        assert lost.headers["etag"] == shown.headers["etag"]
        etag = (await gateway.client.put(where, json=SPEC, headers=admin)).headers["etag"]


async def test_a_deleted_route_does_not_live_on(gateway: Any) -> None:
    """Whichever comes first: after a 204 the route is gone, and a change of what is gone is 404."""
    admin = gateway.bearer(roles=("api_publisher",))
    client = gateway.client
    for number in range(10):
        path = f"/race/{number}"
        where = (await gateway.register({**SPEC, "route": path})).headers["location"]
        body = {**SPEC, "route": path, "timeout": "7s"}
        changes = [client.put(where, json=body, headers=admin), client.delete(where, headers=admin)]
        if number % 2:
            changes.reverse()
        statuses = sorted([answer.status_code for answer in await asyncio.gather(*changes)])
        assert statuses in ([200, 204], [204, 404])
        assert (await client.get(path)).status_code == 404
        assert (await client.get(where, headers=admin)).status_code == 404
    assert (await client.get("/-/routes", headers=admin)).json() == {"routes": []}


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("if-match", "{etag}", 200),
        ("if-match", "*", 200),
        ("if-match", '"other", {etag}', 200),
        ("if-match", ', "a,b" ,, {etag},', 200),
        ("if-match", '"other"', 412),
        ("if-match", "W/{etag}", 412),
        ("if-match", "", 412),
        ("if-match", "{bare}", 400),
        ("if-match", '{etag} "other"', 400),
        ("if-match", "*, {etag}", 400),
        ("if-match", "w/{etag}", 400),
        ("if-match", '"unfinished', 400),
        ("if-none-match", "*", 412),
        ("if-none-match", "{etag}", 412),
        ("if-none-match", "W/{etag}", 412),
        ("if-none-match", '"other"', 200),
        ("if-none-match", "{bare}", 400),
    ],
)
async def test_what_a_change_may_ask(gateway: Any, field: str, value: str, status: int) -> None:
    made = await gateway.register(SPEC)
    where, etag = made.headers["location"], made.headers["etag"]
    headers = gateway.bearer(roles=("api_publisher",)) | {field: value.format(etag=etag, bare=etag.strip('"'))}
    answer = await gateway.client.put(where, json=spec(5), headers=headers)
    assert answer.status_code == status, answer.text
    etag = answer.headers["etag"] if status == 200 else etag
    headers[field] = value.format(etag=etag, bare=etag.strip('"'))
    gone = await gateway.client.delete(where, headers=headers)
    assert gone.status_code == (204 if status == 200 else status)


async def test_fields_of_one_name_are_one_list(gateway: Any) -> None:
    made = await gateway.register(SPEC)
    admin = gateway.bearer(roles=("api_publisher",))
    fields = [*admin.items(), ("if-match", '"other"'), ("if-match", made.headers["etag"])]
    assert (await gateway.client.put(made.headers["location"], json=spec(1), headers=fields)).status_code == 200
    assert (await gateway.client.put(made.headers["location"], json=spec(2), headers=fields)).status_code == 412


async def test_reading_what_is_known(gateway: Any) -> None:
    made = await gateway.register(SPEC)
    where, etag = made.headers["location"], made.headers["etag"]
    admin = gateway.bearer(roles=("api_publisher",))

    async def asked(**fields: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in fields.items()}
        return await gateway.client.get(where, headers=admin | given)

    known = await asked(if_none_match=f'"x", W/{etag}')
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert (await asked(if_none_match='"x"')).status_code == 200
    assert (await asked(if_match='"x"')).status_code == 412
    assert (await asked(if_match=etag)).status_code == 200


async def test_nothing_to_ask_of_what_is_not_there(gateway: Any) -> None:
    admin = gateway.bearer(roles=("api_publisher",))
    for field in ({"if-match": "*"}, {"if-none-match": "*"}, {"if-match": '"x"'}, {}):
        for number in (0, 99):
            answer = await gateway.client.put(f"/-/routes/{number}", json=SPEC, headers=admin | field)
            assert answer.status_code == 404
    assert (await gateway.client.get("/v1/a")).status_code == 404
