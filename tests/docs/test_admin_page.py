"""docs/admin.md as written, in an empty folder."""

from __future__ import annotations

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
