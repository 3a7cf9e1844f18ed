"""The demo's output: two columns on a wide terminal, one on others, plain text when piped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lxml import etree
from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from scenario import Played

_WIDE = 120
_MOST_LINES = 42
_LEVELS = {"ERROR": "red", "WARNING": "yellow", "INFO": "dim"}
_JSON_WIDTH = 48  # of the left column in the narrowest terminal that has two, less the frame


def pretty(text: str) -> tuple[str, str]:
    """`text` formatted for humans, and its language."""
    if text.lstrip().startswith("<"):
        try:
            root = etree.fromstring(text.encode(), etree.XMLParser(remove_blank_text=True, resolve_entities=False))
        except etree.XMLSyntaxError:
            return text, "text"
        return etree.tostring(root, pretty_print=True, encoding="unicode").rstrip(), "xml"
    return text.rstrip(), "protobuf"


def as_json(value: Any, indent: str = "") -> str:
    """JSON for humans: values that fit on a line are on one line."""
    if isinstance(value, str) and not indent:
        return value
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _JSON_WIDTH or not isinstance(value, dict | list) or not value:
        return line
    deeper = indent + "  "
    if isinstance(value, list):
        inner = [deeper + as_json(item, deeper) for item in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    inner = [f"{deeper}{json.dumps(key, ensure_ascii=False)}: {as_json(item, deeper)}" for key, item in value.items()]
    return "{\n" + ",\n".join(inner) + f"\n{indent}}}"


def shortened(text: str) -> str:
    lines = text.splitlines()
    rest = len(lines) - _MOST_LINES
    return text if rest <= 1 else "\n".join([*lines[:_MOST_LINES], f"… {rest} more lines"])


def _times(played: Played) -> str:
    """The client's time, and the shares of the service and the translation from the gateway's log."""
    parts = [f"{played.milliseconds:.1f} ms"]
    if played.exchange:
        parts.append(f"service {played.logged['ms_upstream']:.1f}")
        parts.append(f"translation {played.logged['ms_translation']:.2f}")
    return ", ".join(parts)


class Presenter:
    def __init__(self) -> None:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a check mark must not end the demo
        self._console = Console(highlight=False, emoji=False)
        self._terminal = self._console.is_terminal
        if not self._terminal:
            self._console = Console(highlight=False, emoji=False, soft_wrap=True, width=_WIDE - 1)

    def say(self, text: str = "", style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False)

    def whole(self, text: str) -> None:
        """A line that is copied and pasted: the terminal may wrap it, but no line break is put into it."""
        self._console.print(text, markup=False, soft_wrap=True)

    def report(self, line: str) -> None:
        """A line of the gateway's log."""
        style = next((style for level, style in _LEVELS.items() if f" {level} " in line[:20]), None)
        self._console.print(line, markup=False, soft_wrap=True, style=style)

    def title(self, text: str) -> None:
        self._console.print(Rule(Text(text, style="bold"), style="cyan")) if self._terminal else self.say(
            f"== {text} =="
        )

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """`what` with a spinner while it runs; then a check mark, the seconds, and the lines added to the list."""
        details: list[str] = []
        began = time.monotonic()
        if self._terminal:
            with self._console.status(what):
                yield details
        else:
            self.say(f"… {what}")
            yield details
        self._console.print(Text.assemble(("✓ ", "green"), what, (f"  {time.monotonic() - began:.1f} s", "dim")))
        for detail in details:
            self.say(f"  {detail}", style="dim")

    def scene(self, played: Played) -> None:
        """One call: the request and response of the client, and those of the service."""
        scene, exchange = played.scene, played.exchange
        self.say()
        good = not played.faults
        mark = ("✓ ", "bold green") if good else ("✗ ", "bold red")
        self._console.print(Text.assemble(mark, (f"{scene.kind}  ", "bold cyan"), (scene.title, "bold")))
        request_text = "\n".join([*played.sent, *(["", as_json(scene.body)] if scene.body is not None else [])])
        response_text = f"{played.status} {played.reason}  {played.content_type}\n\n{as_json(played.body)}"
        blocks = [("client → gateway", request_text, "json"), ("client ← gateway", response_text, "json")]
        if exchange:
            request, language = pretty(exchange["request"])
            up = f"{exchange['target']}\n\n{request}".rstrip()
            reply, reply_language = pretty(exchange["reply"])
            down = f"{exchange['status']}\n\n{reply}"
            blocks[1:1] = [("gateway → service", up, language), ("gateway ← service", down, reply_language)]
        if self._terminal and self._console.width >= _WIDE and exchange:
            self._side_by_side(blocks)
        else:
            for label, text, language in blocks:
                self._console.print(Text(f"  ── {label} ", style="cyan"))
                self._indented(text, language)
        times, trace = f"  {_times(played)}", f"   trace id {played.trace_id}"
        if self._terminal and len(times + trace) > self._console.width:
            self.say(times, style="dim")
            times, trace = "", trace[1:]
        self.say(times + trace, style="dim")
        for fault in played.faults:
            self.say(f"  ✗ {fault}", style="red")

    def _side_by_side(self, blocks: list[tuple[str, str, str]]) -> None:
        (_, request_text, _), (_, up, up_language), (_, down, down_language), (_, response_text, _) = blocks
        table = Table(box=ROUNDED, show_lines=True, expand=True, border_style="dim", header_style="cyan")
        table.add_column("JSON: the client and the gateway", ratio=9, overflow="fold")
        table.add_column(
            f"{'XML' if up_language == 'xml' or down_language == 'xml' else 'protobuf'}: the gateway and the service",
            ratio=11,
            overflow="fold",
        )
        table.add_row(self._code(request_text, "json"), self._code(up, up_language))
        table.add_row(self._code(response_text, "json"), self._code(down, down_language))
        self._console.print(table)

    def _indented(self, text: str, language: str) -> None:
        if self._terminal:
            self._console.print(self._code(text, language))
        else:
            for line in shortened(text).splitlines():
                self.say(f"  {line}".rstrip())

    def _code(self, text: str, language: str) -> RenderableType:
        """The first line (method and path, or status), then the body in colours."""
        head, _, body = text.partition("\n\n")
        if not body:
            return Text(head)
        code = Syntax(shortened(body), language, theme="ansi_dark", background_color="default", word_wrap=True)
        return Group(Text(head, style="bold"), code)
