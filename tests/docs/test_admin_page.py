"""docs/admin.md as written, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import Start
from tests.docs.pages import ROOT, blocks_of
from tests.docs.walking import walk

BLOCKS = blocks_of(ROOT / "docs" / "admin.md")


def test_the_page_on_the_admin_api(tmp_path: Path) -> None:
    with walk(tmp_path, "8080", "9001") as reader:
        for block in BLOCKS:
            if "scrape_configs" not in block.text:
                reader.read(block)


async def test_prometheus_reads_metrics_with_a_token(start: Start) -> None:
    [block] = [block for block in BLOCKS if "scrape_configs" in block.text]
    [job] = YAML(typ="safe").load(block.text)["scrape_configs"]
    assert job["authorization"].keys() == {"credentials_file"}  # whose default type is Bearer
    async with start(mesh={}, admin_public="health") as gateway:
        assert (await gateway.client.get(job["metrics_path"])).status_code == 401
        answer = await gateway.client.get(job["metrics_path"], headers=gateway.bearer(roles=("auditor",)))
        assert "# TYPE bridge_requests_total counter" in answer.text


#: What the calls of the table answer in its order, with the gateway's only route as `{id}`.
ANSWERS = {
    "POST /register": 201,
    "POST /-/routes": 409,  # the path is published already
    "GET /-/routes": 200,
    "GET /-/routes/{id}": 200,
    "PUT /-/routes/{id}": 200,
    "DELETE /-/routes/{id}": 204,
    "GET /-/routes/{id}/openapi": 404,  # it has just been deleted
    "GET /-/routes/{id}/history": 200,
    "GET /-/routes/{id}/history/{revision}": 200,
    "GET /-/routes/{id}/history/{revision}/diff/{other}": 200,
    "POST /-/routes/{id}/rollback": 200,
    "GET /-/routes/deleted": 200,
    "POST /-/routes/check": 200,
    "POST /-/routes/check?id=ID": 200,
    "POST /-/routes/{id}/check": 200,
    "GET /-/jwks.json": 200,
    "GET /-/health/live": 200,
    "GET /-/health/ready": 200,
    "GET /-/metrics": 200,
    "GET /-/openapi.json": 200,
    "GET /-/docs": 200,
    "GET /-/console": 200,
}


async def test_each_call_of_the_table(start: Start) -> None:
    page = (ROOT / "docs" / "admin.md").read_text("utf-8")
    table = page.partition("| call | does |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    calls = [call for row in rows for call in re.findall(r"`((?:GET|POST|PUT|DELETE) [^`]+)`", row)]
    [spec] = [block.text for block in BLOCKS if "# hello.yml" in block.text]
    async with start(mesh={"hello": "127.0.0.1:9"}) as gateway:
        publisher = gateway.bearer(roles=("api_publisher",))

        async def status(call: str) -> int:
            method, target = (
                call.replace("{id}", "1")
                .replace("{revision}", "1")
                .replace("{other}", "2")
                .replace("=ID", "=1")
                .split()
            )
            yaml = {"content-type": "application/yaml"} if method in ("POST", "PUT") else {}
            body = '{"revision": 1}' if "rollback" in target else spec
            headers = publisher | yaml
            return (await gateway.client.request(method, target, headers=headers, content=body)).status_code

        assert {call: await status(call) for call in calls} == ANSWERS


KEY_ANSWERS = {
    "GET /-/keys": 200,
    "POST /-/keys": 201,
    "GET /-/keys/{id}": 200,
    "POST /-/keys/{id}/rotate": 201,
    "DELETE /-/keys/{id}": 204,
}


async def test_each_call_of_the_table_of_keys(start: Start) -> None:
    page = (ROOT / "docs" / "admin.md").read_text("utf-8").partition("## API keys")[2]
    table = page.partition("| call | does |\n")[2].partition("\n\n")[0]
    calls = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    async with start(mesh={}) as gateway:
        admin = gateway.bearer(roles=("api_admin",))
        terms = {"subject": "press", "limit": {"rps": 1, "burst": 2}, "ttl": "90d", "label": "live"}
        made = (await gateway.client.post("/-/keys", json=terms, headers=admin)).json()
        [fields] = re.findall(r'\{"keys": \[\{(.+?)\}\]\}', table)
        assert ["key", *re.findall(r'"(\w+)"', fields)] == list(made)

        async def status(call: str) -> int:
            method, target = call.replace("{id}", made["id"]).split()
            body = {"overlap": "24h"} if "rotate" in target else terms if method == "POST" else None
            return (await gateway.client.request(method, target, headers=admin, json=body)).status_code

        assert {call: await status(call) for call in calls} == KEY_ANSWERS
