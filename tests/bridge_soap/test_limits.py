"""Messages made to cost far more than they are long: each is answered, or refused, at once."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge import BadReply, Call, HttpCodec, HttpReply, InvalidBody, UpstreamFault
from bridge_soap.datatypes.simple_in import list_items
from tests.soap_cases import typed
from tests.soap_kit import SOAP11, Bind, MakeEcho, codec_of, envelope

ENC = "http://schemas.xmlsoap.org/soap/encoding/"


@contextmanager
def cheaply(*, seconds: float = 2.0, mebibytes: int = 64) -> Iterator[None]:
    """The block takes little processor time and little memory: a hundredth of what each case took, or less."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        assert time.process_time() - started < seconds
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 1024**2
    finally:
        tracemalloc.stop()


def reply(codec: HttpCodec, body: bytes) -> Any:
    return json.loads(codec.reply(Call(), HttpReply(200, [("content-type", "text/xml")], body)).body)


_C = '<xs:element name="c" type="t:T" minOccurs="0"/>'
_B = '<xs:element name="b" type="xs:int" minOccurs="{}"/>'
_ANY = '<xs:any processContents="lax" minOccurs="0" maxOccurs="9"/>'


@pytest.mark.parametrize(
    ("schema", "start", "end"),
    [(_B.format(0) + _C, "", "<b>1</b>"), (_C + _B.format(1) + _ANY, "<c><b>1</b></c><b>1</b>", "")],
    ids=["out of order", "once more, by a wildcard"],
)
def test_what_does_not_fit_is_read_once_at_each_level(echo: MakeEcho, schema: str, start: str, end: str) -> None:
    type_ = f'<xs:complexType name="T"><xs:sequence>{schema}</xs:sequence></xs:complexType>'
    service = echo(type_ + '<xs:element name="c" type="t:T"/><xs:element name="r" type="t:T"/>')
    deep = f"{start}<c>" * 60 + f"</c>{end}" * 60
    with cheaply():
        reply(codec_of(service.operation), envelope(f'<r xmlns="urn:t">{deep}</r>'))


@pytest.mark.parametrize(
    "array",
    [
        '<return><i e:position="[50000000]">1</i></return>',
        '<return e:offset="[50000000]"><i>1</i></return>',
        f'<return e:arrayType="x:string[{",".join("9" * 20)}]"><i>1</i></return>',
    ],
)
async def test_an_array_that_does_not_say_that_it_is_one(bind: Bind, array: str) -> None:
    operations = await bind("encoded.wsdl", options={"port": "Old", "operation": "names"})
    body = f'<s:Envelope xmlns:s="{SOAP11}" xmlns:e="{ENC}" xmlns:x="http://www.w3.org/2001/XMLSchema"><s:Body><x>'
    body += f"{array}<total>1</total></x></s:Body></s:Envelope>"
    with cheaply():
        try:
            assert reply(codec_of(operations[0]), body.encode())["return"] == ["1"]
        except BadReply as error:
            assert "claim far more" in error.detail  # noqa: PT017  # both outcomes are right


async def test_long_attributes_that_are_referred_to_again_and_again(bind: Bind) -> None:
    operations = await bind("encoded.wsdl", options={"port": "Old", "operation": "tree"})
    references = '<x href="#a"/>' * 5000
    body = f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><r><tree>{references}</tree></r>'
    body += f'<m id="a" long="{"x" * 200_000}"/></s:Body></s:Envelope>'
    with cheaply(), pytest.raises(BadReply, match="too often"):
        reply(codec_of(operations[0]), body.encode())


def test_numbers_are_not_written_out_for_ever(echo: MakeEcho) -> None:
    service = echo(typed('<xs:sequence><xs:element name="d" type="xs:decimal" maxOccurs="unbounded"/></xs:sequence>'))
    body = b'{"d": [' + b",".join([b"1e9999"] * 20_000) + b"]}"
    with cheaply(), pytest.raises(InvalidBody):
        codec_of(service.operation).request(Call("POST", body=body))


def test_items_in_order_are_checked_in_a_line(echo: MakeEcho) -> None:
    service = echo(
        typed(
            '<xs:sequence minOccurs="0" maxOccurs="99999"><xs:element name="a" type="xs:int" minOccurs="0"/>'
            '<xs:element name="b" type="xs:int" minOccurs="0"/></xs:sequence>'
        )
    )
    body = json.dumps({"#items": [{"a": 1}, {"b": 2}] * 3000}).encode()
    with cheaply():
        assert codec_of(service.operation).request(Call("POST", body=body)).body


@pytest.mark.parametrize("text", ["\n" * 50_000, "\n at " * 50_000, " " * 50_000 + "x"])
async def test_the_words_of_a_fault(bind: Bind, text: str) -> None:
    operations = await bind("vat.wsdl", options={"operation": "checkVat"})
    for fault in (
        f"<faultcode>s:Client</faultcode><faultstring>{text}</faultstring>",
        f"<faultcode>s:Client</faultcode><faultstring>no</faultstring><detail>{text}</detail>",
    ):
        with cheaply(), pytest.raises(UpstreamFault):
            reply(codec_of(operations[0]), envelope(f"<s:Fault>{fault}</s:Fault>"))


def test_only_xml_parts_lists() -> None:
    assert list_items("a\u00a0b c") == ["a\u00a0b", "c"]
