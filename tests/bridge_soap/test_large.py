"""Large replies, read by slices: what comes of them is what comes of a message that is parsed as a whole.

Slices of a few bytes send each construct through the reading in steps; the other way is the judge.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from bridge import BridgeError, Call, HttpCodec, HttpReply
from bridge_soap.message import large
from tests.bridge_soap.test_random import services
from tests.soap_kit import codec_of, envelope, make_echo


@contextlib.contextmanager
def sliced(size: int) -> Iterator[None]:
    """Every reply is a large one, and slices have `size` bytes."""
    before = large.LARGE, large.SLICE
    large.LARGE, large.SLICE = 0, size
    try:
        yield
    finally:
        large.LARGE, large.SLICE = before


def outcome(codec: HttpCodec, body: bytes, kind: str = "text/xml") -> tuple[Any, ...]:
    """All that a caller and an operator can see of a reply."""
    call = Call()
    try:
        reply = codec.reply(call, HttpReply(200, [("content-type", kind)], body))
    except BridgeError as error:
        text = error.detail
        if "not well-formed" in text:  # which of a broken document's faults is told first is the parser's affair
            text = text[: text.index("not well-formed")]
        return type(error), text, error.status, error.members
    return reply.status, reply.headers, reply.body, call.warnings


def same(
    codec: HttpCodec, body: bytes, sizes: tuple[int, ...] = (9, 40, 200), kind: str = "text/xml"
) -> tuple[Any, ...]:
    """What comes of a reply, which is the same whichever way it is read."""
    expected = outcome(codec, body, kind)
    for size in sizes:
        with sliced(size):
            assert outcome(codec, body, kind) == expected
    return expected


# --- any schema, any instance, and what services make of it -------------------------------------------------------


def _again(draw: st.DrawFn, node: etree._Element) -> None:
    parent = node.getparent()
    assert parent is not None
    for _ in range(draw(st.sampled_from([1, 3, 40]))):
        parent.insert(draw(st.integers(0, len(parent))), copy.deepcopy(node))


def _gone(draw: st.DrawFn, node: etree._Element) -> None:
    parent = node.getparent()
    assert parent is not None
    parent.remove(node)


def _elsewhere(draw: st.DrawFn, node: etree._Element) -> None:
    parent = node.getparent()
    assert parent is not None
    parent.append(node)


def _renamed(draw: st.DrawFn, node: etree._Element) -> None:
    local = etree.QName(node).localname
    node.tag = draw(st.sampled_from([local, f"{{urn:o}}{local}", "{urn:t}lax", "{urn:o}w", "{urn:t}none"]))


def _texts(draw: st.DrawFn, node: etree._Element) -> None:
    node.text = draw(st.sampled_from(["", " ", "text"]))
    node.tail = draw(st.sampled_from([None, "\n  ", "tail"]))


def _told(draw: st.DrawFn, node: etree._Element) -> None:
    name = draw(st.sampled_from(["nil", "type"]))
    value = "true" if name == "nil" else draw(st.sampled_from(["t:D1", "t:D2", "xs:string", "t:nowhere"]))
    node.set(f"{{http://www.w3.org/2001/XMLSchema-instance}}{name}", value)


def _odd(draw: st.DrawFn, node: etree._Element) -> None:
    node.set(draw(st.sampled_from(["a", "{urn:o}z"])), "1")


CHANGES: list[Callable[[st.DrawFn, etree._Element], None]] = [
    *(_again, _again, _gone, _elsewhere, _renamed, _texts, _told, _odd)
]


@st.composite
def changed(draw: st.DrawFn, xml: str) -> str:
    """An instance as a sloppy service would send it."""
    root = etree.fromstring(xml.replace("<r", '<r xmlns="urn:t" xmlns:xs="http://www.w3.org/2001/XMLSchema"', 1))
    for _ in range(draw(st.integers(0, 4))):
        nodes = list(root.iter())[1:]
        if not nodes:
            break
        draw(st.sampled_from(CHANGES))(draw, draw(st.sampled_from(nodes)))
    if draw(st.booleans()):
        etree.indent(root)
    return etree.tostring(root, encoding="unicode")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(services(), st.booleans(), st.data())
def test_any_reply_of_any_schema(service: tuple[str, list[str]], strict: bool, data: st.DataObject) -> None:
    schema, instances = service
    with tempfile.TemporaryDirectory() as folder:
        try:
            echo = make_echo(Path(folder), schema, strict=strict)
        except etree.XMLSchemaParseError:
            assume(False)
        codec = codec_of(echo.operation)
        for xml in instances:
            same(codec, envelope(data.draw(changed(xml))), (data.draw(st.integers(2, 60)), 150))
