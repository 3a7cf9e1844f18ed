"""CPU a request by case and gateway, as bars: an SVG that is written here, letter for letter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from benchmarks.side_by_side.result import OURS, Result, Row

WIDTH, LEFT, RIGHT = 900, 170, 190  # pixels; the bars lie between the margins
BAR, GAP, HEAD, TOP = 16, 5, 34, 52
INK, SOFT, MINE, THEIRS = "#1f2328", "#59636e", "#0a7d55", "#9aa4af"


def svg(result: Result) -> str:
    """A group of bars a case. Each group has a scale of its own, for the cases differ a hundredfold."""
    rows = [row for row in result.rows if row.runs]
    parts, y = list[str](), TOP
    for (title, guarded), group in groupby(rows, lambda row: (row.title, row.guarded)):
        bars = list(group)
        parts += _group(f"{title}, {'guards on' if guarded else 'bare'}", bars, y)
        y += HEAD + len(bars) * (BAR + GAP)
    height = y + GAP
    size = f"viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'"
    font = "font-family='system-ui, sans-serif' font-size='12'"
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} {font} role='img'>",
        "<title>CPU a request, by case and gateway</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        _text(LEFT, 22, "µs of CPU a request: less is better. Each case has a scale of its own.", INK, bold=True),
        _text(LEFT, 40, f"{result.machine.get('processor', '')}, one core a gateway, {result.date}", SOFT),
    )
    return "\n".join((*head, *parts, "</svg>", ""))


def _group(title: str, rows: Sequence[Row], y: int) -> Iterator[str]:
    yield _text(LEFT, y + HEAD - 12, title, INK, bold=True)
    longest = max(row.cost for row in rows)
    for at, row in enumerate(rows):
        top = y + HEAD - 4 + at * (BAR + GAP)
        width = max(1.0, row.cost / longest * (WIDTH - LEFT - RIGHT))
        ours = row.name == OURS
        words = f"{row.cost:,.0f}"
        if row.to_it is not None:
            words += f"  (ours {row.to_it.median:.2f} of it)"
        yield _text(LEFT - 8, top + 12, row.gateway, INK if ours else SOFT, anchor="end")
        yield f"<rect x='{LEFT}' y='{top}' width='{width:.1f}' height='{BAR}' fill='{MINE if ours else THEIRS}'/>"
        yield _text(LEFT + round(width) + 6, top + 12, words, INK if ours else SOFT)


def _text(x: int, y: int, words: str, fill: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x}' y='{y}' fill='{fill}' text-anchor='{anchor}'{weight}>{escape(words)}</text>"
