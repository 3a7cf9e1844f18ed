"""A result in ``docs/performance.md``, between two marks, and the plot beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.side_by_side.plot import svg
from benchmarks.side_by_side.result import Result
from benchmarks.side_by_side.table import markdown, remarks

BEGIN, END = "<!-- begin: written by the bench -->", "<!-- end: written by the bench -->"


def write(result: Result, page: Path) -> None:
    """Put `result` between the marks of `page`, and the plot into a file of the same name.

    :raises ValueError: the page has no marks.
    """
    page.write_text(placed(result, page.read_text("utf-8")), "utf-8")
    page.with_suffix(".svg").write_text(svg(result), "utf-8")


def placed(result: Result, text: str) -> str:
    """`text` with all between the marks made anew.

    :raises ValueError: it has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"there is no {BEGIN} … {END}")
    middle = "\n".join(_lines(result))
    return f"{before}{begin}\n\n{middle}\n\n{end}{after}"


def _lines(result: Result) -> Iterator[str]:
    told = result.machine
    yield (
        f"{result.date}, `python -m benchmarks.side_by_side {result.options}`".rstrip()
        + f": {told.get('processor')}, {told.get('cores')} cores, {told.get('memory')}, "
        f"Linux {told.get('kernel')}, Python {told.get('python')}, "
        f"a load of {told.get('load')} at the start."
    )
    yield ""
    yield "![CPU a request, by case and gateway](performance.svg)"
    yield ""
    yield markdown(result)
    yield ""
    yield "| gateway | version | where guards are on |"
    yield "| --- | --- | --- |"
    for title, version in result.versions.items():
        yield f"| {title} | {version} | {result.guards.get(title, '')} |"
    told_apart = list(remarks(result))
    if told_apart:
        yield ""
        yield from (f"- {each}" for each in told_apart)
