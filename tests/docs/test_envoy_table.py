"""docs/grpc.md, "Beside Envoy": the table has each difference that tests/live/test_envoy.py pins, and no other."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT
from tests.docs.tables import table
from tests.live.envoy_cases import CASES
from tests.live.envoy_differences import CLAUSES


def test_the_table_has_every_difference_as_it_is_pinned() -> None:
    pinned = {each.name.replace("\ufeff", "<BOM>"): (each, clause) for clause, rows in CLAUSES.items() for each in rows}
    rows = {row[0].strip("`"): row[1:] for row in table("docs/grpc.md", "Beside Envoy")}
    assert rows.keys() == pinned.keys()
    for name, (theirs, ours, clause) in rows.items():
        each, why = pinned[name]
        assert (theirs.strip("`"), ours.strip("`"), clause) == (plain(each.theirs), plain(each.ours), why), name


def test_the_number_of_requests() -> None:
    assert f"{len(CASES)} requests: status," in (ROOT / "docs" / "grpc.md").read_text("utf-8")


def plain(answer: str) -> str:
    """Without the media type."""
    return re.sub(r"^(\d+) [\w.+-]+/[\w.+-]+(?: |$)", r"\1 ", answer).strip()
