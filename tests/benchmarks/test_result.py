"""From a result to tables, plot and page, and what misses the house's figures."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchmarks.side_by_side import page, table, targets
from benchmarks.side_by_side.pairs import Spread
from benchmarks.side_by_side.plot import svg
from benchmarks.side_by_side.result import OURS, FloorRow, Result, Row

NAMESPACE = "{http://www.w3.org/2000/svg}"


def even(value: float) -> Spread:
    return Spread(value, value, value)


def row(case: str, name: str, cost: float, to_it: float | None = None, p99: float = 2.0) -> Row:
    paired = None if to_it is None else even(to_it)
    tail = None if to_it is None else even(1.0 / p99)
    return Row(case, f"<{case}> & co", True, name, name.title(), 5, cost, 5000, 1.0, p99, 50, paired, tail)


@pytest.fixture
def result() -> Result:
    """All figures reached."""
    made = Result("2026-11-24 12:00 UTC", "--pairs 5", {"processor": "A & B", "cores": "2"})
    made.versions = {"Envoy": "1.40.0"}
    made.rows = [
        row("grpc-small", OURS, 130),
        row("grpc-small", "envoy", 140, 0.93),
        row("soap-5", OURS, 140),
        row("soap-5", "fastapi-zeep", 2100, 0.066),
        row("soap-5", "express-soap", 760, 0.18),
        row("soap-5", "camel-cxf", 400, 0.35),
    ]
    made.floors = [
        FloorRow(case, case, guarded, 130, 25, 60, 25, even(1.18))
        for case in ("grpc-small", "soap-5")
        for guarded in (True, False)
    ]
    return made


def test_a_result_comes_back_from_its_file(result: Result, tmp_path: Path) -> None:
    result.write(tmp_path / "run.json")
    assert Result.read(tmp_path / "run.json") == result


def test_the_plot_is_xml_with_a_bar_a_row(result: Result) -> None:
    root = ET.fromstring(svg(result))
    bars = root.findall(f"{NAMESPACE}rect")[1:]  # the first is the paper
    assert len(bars) == len(result.rows)
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] / widths[1] == pytest.approx(130 / 140, rel=0.01)
    bottom = max(float(bar.attrib["y"]) + float(bar.attrib["height"]) for bar in bars)
    assert bottom < float(root.attrib["height"])
    assert {each.text for each in root.findall(f"{NAMESPACE}text")} >= {"<grpc-small> & co, guards on", "Envoy"}


def test_rows_without_figures_are_told_and_not_drawn(result: Result) -> None:
    result.rows.append(Row("xml", "XML", False, "envoy", "Envoy", why="it fell over"))
    result.absent = {"Camel": "mvn is not here"}
    assert len(ET.fromstring(svg(result)).findall(f"{NAMESPACE}rect")) == len(result.rows)
    out = io.StringIO()
    table.show(result, Console(file=out, width=150))
    assert "no figure: Envoy, XML, bare: it fell over" in out.getvalue()
    assert "absent: Camel: mvn is not here" in out.getvalue()
    assert "0.93 (0.93 to 0.93)" in out.getvalue()
    assert "XML" not in table.markdown(result)


def test_the_page_keeps_all_but_what_stands_between_its_marks(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "performance.md"
    file.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(result, file)
    page.write(result, file)
    text = file.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert text.count("| <grpc-small> & co | on | Envoy |") == 1
    assert ET.parse(tmp_path / "performance.svg").getroot().tag == f"{NAMESPACE}svg"
    with pytest.raises(ValueError, match="there is no"):
        page.placed(result, "no marks")


def test_the_houses_page_has_the_marks(result: Result) -> None:
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text("utf-8")
    assert page.placed(result, text).count("A & B") == 1


def test_nothing_is_missed_where_all_is_reached(result: Result) -> None:
    assert not list(targets.missed(result))


@pytest.mark.parametrize(
    ("at", "changed", "words"),
    [
        (1, row("grpc-small", "envoy", 140, 0.96), "0.960 of the CPU of Envoy"),
        (1, row("grpc-small", "envoy", 140, 0.9, p99=0.5), "p99 is 2.00 of that of Envoy"),
        (3, row("soap-5", "fastapi-zeep", 2100, 0.08), "0.080 of the CPU of Fastapi-Zeep, and 0.071 is the most"),
        (4, row("soap-5", "express-soap", 600, 0.21), "and 0.200 is the most"),
        (5, row("soap-5", "camel-cxf", 100, 1.4), "1.400 of the CPU"),
        (5, Row("soap-5", "SOAP", True, "camel-cxf", "Camel", why="absent"), "no figure beside camel-cxf"),
    ],
)
def test_each_figure_is_missed_in_a_sentence(result: Result, at: int, changed: Row, words: str) -> None:
    result.rows[at] = changed
    (missed,) = targets.missed(result)
    assert words in missed


def test_the_floors_and_failures_count_too(result: Result) -> None:
    result.floors = [each for each in result.floors if each.case == "grpc-small"]
    result.floors[0] = FloorRow("grpc-small", "gRPC", True, 150, 25, 60, 25, even(1.36))
    result.complaints = ["plain: 3 not 2xx"]
    assert list(targets.missed(result)) == [
        "gRPC, guards on: the whole path costs 1.36 of the sum of its floors, and 1.25 is the most",
        "soap-5: its floors were not measured",
        "plain: 3 not 2xx",
    ]
