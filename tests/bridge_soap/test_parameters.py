"""Path and query parameters of flat inputs, and bodies that the path completes."""

from __future__ import annotations

import pytest

from bridge.api import Call, ClientError, InvalidBody, InvalidParameter, Operation
from tests.soap_kit import Bind, codec_of

VAT = {"operation": "checkVat"}


async def get(bind: Bind, route: str = "/v1/vat", **given: object) -> Operation:
    return (await bind("vat.wsdl", route=route, methods=["GET"], options=VAT, **given))[0]


async def test_query_parameters(bind: Bind) -> None:
    codec = codec_of(await get(bind))
    body = codec.request(Call("GET", query="vatNumber=1%262+3&countryCode=IE")).body
    assert b"countryCode>IE</" in body
    assert b"vatNumber>1&amp;2 3</" in body


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("", {"countryCode": "it is required", "vatNumber": "it is required"}),
        ("countryCode=IE&vatNumber=1&x=2&y=3", {"x": "there is no such parameter", "y": "there is no such parameter"}),
        ("countryCode=IE&countryCode=DE&vatNumber=1", {"countryCode": "it is given twice"}),
        ("countryCode=ie&vatNumber=1", {"countryCode": "'ie' does not match the pattern [A-Z]{2}"}),
        ("countryCode=IE&vatNumber=%00", {"vatNumber": "the character U+0000 can't be carried by XML"}),
    ],
)
async def test_wrong_parameters(bind: Bind, query: str, faults: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        codec_of(await get(bind)).request(Call("GET", query=query))
    assert dict(caught.value.errors) == faults


async def test_path_parameters(bind: Bind) -> None:
    codec = codec_of(await get(bind, "/v1/vat/{countryCode}/{vatNumber*}"))
    body = codec.request(Call("GET", raw_params={"countryCode": "IE", "vatNumber": "12%2F3/4"})).body
    assert b"vatNumber>12/3/4</" in body
    with pytest.raises(InvalidParameter, match="twice"):
        codec.request(Call("GET", raw_params={"countryCode": "IE", "vatNumber": "1"}, query="vatNumber=2"))


async def test_the_path_completes_a_body(bind: Bind) -> None:
    operations = await bind("vat.wsdl", route="/v1/vat/{countryCode}", methods=["POST"], options=VAT)
    codec = codec_of(operations[0])

    def call(body: bytes) -> bytes:
        request_body: bytes = codec.request(Call("POST", raw_params={"countryCode": "IE"}, body=body)).body
        return request_body

    assert b"countryCode>IE</" in call(b'{"vatNumber": "1"}')
    assert b"countryCode>IE</" in call(b'{"vatNumber": "1", "countryCode": "IE"}')
    for body in (b'{"vatNumber": "1", "countryCode": "DE"}', b"[]"):
        with pytest.raises(InvalidBody):
            call(body)
    with pytest.raises(InvalidParameter):
        codec.request(Call("POST", raw_params={"countryCode": "IE"}, query="a=1", body=b"{}"))


async def test_types_of_parameters(bind: Bind) -> None:
    operations = await bind("orders.wsdl", methods=["GET"], options={"operation": "GetStatus"})
    codec = codec_of(operations[0])
    assert b":id>00042</" in codec.request(Call("GET", query="id=00042&level=Brief")).body
    with pytest.raises(ClientError) as caught:
        codec.request(Call("GET", query="id=x&level=Most"))
    assert caught.value.members["errors"] == [
        {"parameter": "id", "reason": "it is not a whole number from -9223372036854775808 to 9223372036854775807"}
    ]


async def test_an_upstream_path_of_ones_own(bind: Bind) -> None:
    operations = await bind(
        "vat.wsdl", route="/v1/{office}/vat", methods=["GET"], upstream="vat:80/offices/{office}/soap", options=VAT
    )
    call = Call("GET", raw_params={"office": "a%20b"}, query="countryCode=IE&vatNumber=1")
    assert codec_of(operations[0]).request(call).path == "/offices/a%20b/soap"


async def test_operations_without_input_need_no_body(bind: Bind) -> None:
    operations = await bind("orders.wsdl", options={"operation": "Ping"})
    assert {each.method for each in operations} == {"GET", "POST"}
    assert {each.name for each in operations} == {"Ping", "Ping_get"}
    for each in operations:
        assert b":Ping></" in codec_of(each).request(Call(each.method)).body
