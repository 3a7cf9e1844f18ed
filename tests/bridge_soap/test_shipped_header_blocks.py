"""Header blocks of elements that no contract refers to and the gateway ships: WS-Addressing, WS-Security."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree

from bridge.api import BindError, Call
from bridge_soap import Soap
from tests.soap_kit import SOAP11, Bind, codec_of

WSA10 = "http://www.w3.org/2005/08/addressing"
WSA04 = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE, WSU = f"{OASIS}wssecurity-secext-1.0.xsd", f"{OASIS}wssecurity-utility-1.0.xsd"


async def header_of(bind: Bind, headers: dict[str, Any], **keys: Any) -> list[etree._Element]:
    operation = (await bind("vat.wsdl", options={"operation": "checkVat", "headers": headers}, **keys))[0]
    body = b'{"countryCode": "IE", "vatNumber": "1"}'
    header = etree.fromstring(codec_of(operation).request(Call("POST", body=body)).body).find(f"{{{SOAP11}}}Header")
    assert header is not None
    return list(header)


async def test_addressing_of_a_contract_that_does_not_know_it(bind: Bind) -> None:
    blocks = await header_of(
        bind,
        {
            "Action": {"@soap:mustUnderstand": True, "#text": "urn:check"},
            "To": "http://vat.example/",
            "MessageID": "urn:uuid:1",
            "ReplyTo": {"Address": f"{WSA10}/anonymous"},
        },
    )
    assert [block.tag for block in blocks] == [
        f"{{{WSA10}}}{name}" for name in ("Action", "To", "MessageID", "ReplyTo")
    ]
    assert blocks[0].text == "urn:check"
    assert blocks[0].get(f"{{{SOAP11}}}mustUnderstand") == "1"
    assert blocks[3].findtext(f"{{{WSA10}}}Address") == f"{WSA10}/anonymous"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{{{WSA10}}}Action", "urn:a"),
        (f"{{{WSA04}}}Action", "urn:a"),
        (f"{{{WSA04}}}To", "urn:a"),
        (f"{{{WSU}}}Timestamp", {"Created": "2026-01-01T00:00:00Z"}),
        (f"{{{WSSE}}}Security", {"#any": [{f"{{{WSSE}}}UsernameToken": {"Username": "ada"}}]}),
    ],
)
async def test_any_element_in_full(bind: Bind, name: str, value: Any) -> None:
    assert [block.tag for block in await header_of(bind, {name: value})] == [name]


async def test_the_version_that_the_contract_declares(bind: Bind, tmp_path: Any) -> None:
    from tests.soap_kit import WSDL_DIR

    text = (
        (WSDL_DIR / "vat.wsdl")
        .read_text("utf-8")
        .replace("<wsdl:definitions ", f'<wsdl:definitions xmlns:w="{WSA04}" ')
    )
    (tmp_path / "vat.wsdl").write_text(text, "utf-8")
    assert [block.tag for block in await header_of(bind, {"Action": "a"}, folder=tmp_path)] == [f"{{{WSA04}}}Action"]


async def test_security_by_its_local_name(bind: Bind) -> None:
    blocks = await header_of(
        bind, {"Security": {"#any": [{f"{{{WSU}}}Timestamp": {"Created": "2026-01-01T00:00:00Z"}}]}}
    )
    assert [block.tag for block in blocks] == [f"{{{WSSE}}}Security"]
    assert blocks[0][0].tag == f"{{{WSU}}}Timestamp"


async def test_wrong_content_is_told_at_bind(bind: Bind) -> None:
    with pytest.raises(BindError, match=r"transform\.soap\.headers\.ReplyTo\.Address: it is required"):
        await header_of(bind, {"ReplyTo": {}})
    with pytest.raises(BindError, match="no element of that name is in the contract, or shipped with the gateway"):
        await header_of(bind, {"Acton": "x"})


async def test_routes_with_other_blocks_do_not_share_a_contract(bind: Bind) -> None:
    soap = Soap()
    plain = await bind("vat.wsdl", soap=soap)
    await header_of(bind, {"Action": "a"}, soap=soap)
    assert await bind("vat.wsdl", soap=soap)
    assert plain
