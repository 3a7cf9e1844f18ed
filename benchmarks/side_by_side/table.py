"""A result as tables: on a terminal by rich, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side.pairs import Spread
from benchmarks.side_by_side.result import FloorRow, Result, Row

HEAD = ("case", "guards", "gateway", "CPU µs/request", "requests/s", "p50 ms", "p99 ms", "peak MB", "ours / it, CPU")
FLOORS = ("case", "guards", "whole path µs", "server", "client", "parsers", "sum", "whole / sum")


def show(result: Result, console: Console) -> None:
    """Print the tables, and what stands beside them."""
    console.print(_table(HEAD, [_cells(row) for row in result.rows], numbers_from=3))
    if result.floors:
        console.print(_table(FLOORS, [_floor_cells(row) for row in result.floors], numbers_from=2))
    for line in remarks(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def remarks(result: Result) -> Iterator[str]:
    """Sentences: who is absent and why, and what failed."""
    for title, why in result.absent.items():
        yield f"absent: {title}: {why}"
    for row in result.rows:
        if row.why:
            yield f"no figure: {row.gateway}, {row.title}, {_guards(row.guarded)}: {row.why}"
    for complaint in result.complaints:
        yield f"failed: {complaint}"


def markdown(result: Result) -> str:
    """The tables for a page; rows that have no figures are left to `remarks`."""
    parts = [_markdown(HEAD, [_cells(row) for row in result.rows if row.runs], 3)]
    if result.floors:
        parts.append(_markdown(FLOORS, [_floor_cells(row) for row in result.floors], 2))
    return "\n\n".join(parts)


def _cells(row: Row) -> Sequence[str]:
    if not row.runs:
        return (row.title, _guards(row.guarded), row.gateway, "-", "-", "-", "-", "-", "-")
    return (
        row.title,
        _guards(row.guarded),
        row.gateway,
        _short(row.cost),
        f"{row.rate:,.0f}",
        f"{row.p50:.1f}",
        f"{row.p99:.1f}",
        f"{row.peak:.0f}",
        _spread(row.to_it),
    )


def _floor_cells(row: FloorRow) -> Sequence[str]:
    parts = (row.server, row.client, row.parsers)
    figures = (row.whole, *parts, sum(parts))
    return (row.title, _guards(row.guarded), *map(_short, figures), _spread(row.to_sum))


def _guards(on: bool) -> str:
    return "on" if on else "bare"


def _short(value: float) -> str:
    """Three digits are what such a figure is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _spread(spread: Spread | None) -> str:
    """The median, and the least and greatest of the pairs."""
    if spread is None:
        return ""
    digits = 2 if spread.median >= 0.1 else 3
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if at >= numbers_from else "left", no_wrap=True)
    before: Sequence[str] = ()
    for cells in rows:
        if before and before[:2] != cells[:2] and head is HEAD:
            table.add_section()
        table.add_row(*cells)
        before = cells
    return table


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int) -> str:
    rule = ["---:" if at >= numbers_from else "---" for at in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
