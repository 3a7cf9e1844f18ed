"""docs/admin.md as written, in an empty folder."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from tests.docs.pages import ROOT, blocks_of
from tests.docs.walking import walk


def test_the_page_on_the_admin_api(tmp_path: Path) -> None:
    scraped = ""
    with walk(tmp_path, "8080", "9001") as reader:
        for block in blocks_of(ROOT / "docs" / "admin.md"):
            if "scrape_configs" in block.text:
                [job] = YAML(typ="safe").load(block.text)["scrape_configs"]
                scraped = "http://127.0.0.1:8080" + job["metrics_path"]
                continue
            reader.read(block)
            if "hms-bridge.token" in block.text:
                assert f"{scraped}\n" in block.text
