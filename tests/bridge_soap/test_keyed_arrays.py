"""Arrays by name in place of ``#items``: read where the schema leaves one order, refused where it leaves several."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from tests.soap_kit import MakeEcho


def schema(particles: str, times: str = "") -> str:
    content = f"<xs:sequence {times}>{particles}</xs:sequence>"
    return f'<xs:element name="r"><xs:complexType>{content}</xs:complexType></xs:element>'


def element(name: str, times: str = "") -> str:
    return f'<xs:element name="{name}" type="xs:string" {times}/>'


A, B, C = map(element, "abc")
MANY = 'maxOccurs="9"'
TWO = 'maxOccurs="2"'
OPTIONAL = 'minOccurs="0"'
PAIR = element("a", 'minOccurs="2" maxOccurs="2"')
NESTED = f"<xs:sequence>{B}{C}</xs:sequence>"


@pytest.mark.parametrize(
    ("content", "value", "order"),
    [
        (schema(A + B + A), {"a": ["1", "3"], "b": "2"}, "a1 b2 a3"),
        (schema(A + B + A), {"a": ["1", "3"], "b": ["2"]}, "a1 b2 a3"),
        (schema(A + element("b", MANY) + element("a", OPTIONAL)), {"a": "1", "b": ["2", "3"]}, "a1 b2 b3"),
        (schema(A + element("b", MANY) + element("a", OPTIONAL)), {"a": ["1", "4"], "b": ["2", "3"]}, "a1 b2 b3 a4"),
        (schema(A + B, MANY), {"a": ["1", "3"], "b": ["2", "4"]}, "a1 b2 a3 b4"),
        (schema(PAIR + B, MANY), {"a": list("1245"), "b": ["3", "6"]}, "a1 a2 b3 a4 a5 b6"),
        (schema(element("a", OPTIONAL) + B, MANY), {"a": ["1", "3"], "b": ["2", "4"]}, "a1 b2 a3 b4"),
        (schema(A + NESTED, MANY), {"a": ["1", "4"], "b": ["2", "5"], "c": ["3", "6"]}, "a1 b2 c3 a4 b5 c6"),
    ],
)  # fmt: skip
def test_where_the_schema_leaves_one_order(echo: MakeEcho, content: str, value: Any, order: str) -> None:
    sent = echo(content).send(value)
    assert " ".join(f"{etree.QName(child).localname}{child.text}" for child in sent) == order


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (schema(element("a", TWO) + element("b", TWO), MANY), {"a": ["1", "2"], "b": ["3", "4"]}),
        (schema(f'<xs:choice minOccurs="2" maxOccurs="2">{A}{B}</xs:choice>{C}', MANY),
         {"a": ["1", "2"], "b": ["3", "4"], "c": ["5", "6"]}),
        (schema(element("a", OPTIONAL) + B, MANY), {"a": ["1"], "b": ["2", "4"]}),
        (schema(element("a", TWO) + B + element("a", TWO)), {"a": ["1", "2", "3"], "b": "4"}),
    ],
)  # fmt: skip
def test_where_it_leaves_several_the_client_must_say(echo: MakeEcho, content: str, value: Any) -> None:
    [told] = echo(content).faults(value).values()
    assert "can't be told; give them in #items" in told
