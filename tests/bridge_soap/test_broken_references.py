"""References as vendors write them: faults without a message, names without a prefix, and what else is dead. Each costs
what needs it, and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.api import BindError, Call, HttpReply, UpstreamFault
from bridge_soap import Soap
from tests.bridge_soap.test_locations import route
from tests.soap_kit import bind_wsdl, codec_of, envelope

WSDL = """<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:claims" targetNamespace="urn:claims">
  <wsdl:types>{schema}</wsdl:types>
  <wsdl:message name="SubmitIn"><wsdl:part name="body" element="t:Submit"/></wsdl:message>
  <wsdl:message name="SubmitOut"><wsdl:part name="body" element="t:SubmitResponse"/></wsdl:message>
  <wsdl:message name="PingIn"><wsdl:part name="body" element="t:Ping"/></wsdl:message>
  {messages}
  <wsdl:portType name="Claims">
    <wsdl:operation name="Submit"><wsdl:input message="t:SubmitIn"/><wsdl:output message="t:SubmitOut"/>{faults}
    </wsdl:operation>
    <wsdl:operation name="Ping"><wsdl:input message="{ping}"/></wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="Soap" type="{type}"><soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Submit"><wsdl:input>{header}<soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output></wsdl:operation>
    <wsdl:operation name="Ping"><wsdl:input><soap:body use="literal"/></wsdl:input></wsdl:operation>{operations}
  </wsdl:binding>
  <wsdl:service name="Claims"><wsdl:port name="Soap" binding="{binding}">
    <soap:address location="http://claims.example/"/></wsdl:port>{ports}</wsdl:service>
</wsdl:definitions>"""
SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:claims"{default}
    targetNamespace="urn:claims" elementFormDefault="qualified">
  <xs:element name="Submit"><xs:complexType><xs:sequence>{content}</xs:sequence></xs:complexType></xs:element>
  <xs:element name="SubmitResponse" type="xs:string"/>
  <xs:element name="Ping" type="xs:string"/>
  <xs:simpleType name="Amount"><xs:restriction base="xs:int"/></xs:simpleType>
  <xs:complexType name="Base"><xs:sequence><xs:element name="n" type="xs:int"/></xs:sequence></xs:complexType>
  <xs:group name="G"><xs:sequence><xs:element name="g" type="xs:int"/></xs:sequence></xs:group>
  <xs:element name="note" type="xs:int"/>{more}
</xs:schema>"""
CONTENT = '<xs:element name="amount" type="t:Amount"/>'
WHOLE = {
    "messages": "", "faults": "", "ping": "t:PingIn", "type": "t:Claims", "header": "", "operations": "",
    "binding": "t:Soap", "ports": "",
}  # fmt: skip


def schema(content: str = CONTENT, default: str = "", more: str = "") -> str:
    return SCHEMA.format(content=content, default=default, more=more)


async def bound(
    folder: Path, parts: dict[str, str], *, strict: bool = False
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Codecs by operation, what is left out, and what is not read by the letter."""
    (folder / "a.wsdl").write_text(WSDL.format(**{"schema": schema(), **WHOLE, **parts}))
    soap, options = Soap(), {"strict": strict}
    operations = await bind_wsdl(folder, "a.wsdl", soap=soap, options=options)
    spec = route("a.wsdl", **options)
    codecs = {each.upstream_name: codec_of(each) for each in operations if each.method == "POST"}
    return codecs, list(soap.notes(spec)), list(soap.advice(spec))


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "messages", "reason"),
    [
        ('<wsdl:fault name="Rejected" message="t:None"/>', "", "the message 't:None' is not defined"),
        ('<wsdl:fault name="Rejected"/>', "", "the message '' is not defined"),
        (
            '<wsdl:fault name="Rejected" message="t:R"/>',
            '<wsdl:message name="R"><wsdl:part name="fault" element="u:R"/></wsdl:message>',
            "the prefix of 'u:R' is not declared",
        ),
    ],
)
async def test_a_fault_without_a_message_does_not_cost_its_operation(
    tmp_path: Path, faults: str, messages: str, reason: str
) -> None:
    codecs, left_out, advice = await bound(tmp_path, {"faults": faults, "messages": messages})
    assert list(codecs) == ["Submit", "Ping"]
    assert left_out == []
    assert [each.partition(": ")[2] for each in advice] == [
        f"the fault 'Rejected' of Submit is read without a type: {reason}"
    ]
    detail = "<s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring><detail><x>1</x></detail></s:Fault>"
    with pytest.raises(UpstreamFault) as caught:
        codecs["Submit"].reply(Call(), HttpReply(500, [], envelope(detail)))
    assert caught.value.status == 400
    codecs, left_out, advice = await bound(tmp_path, {"faults": faults, "messages": messages}, strict=True)
    assert list(codecs) == ["Ping"]
    assert (len(left_out), advice) == (1, [])


async def test_a_fault_whose_element_or_type_is_missing_has_no_type(tmp_path: Path) -> None:
    faults = '<wsdl:fault name="A" message="t:A"/><wsdl:fault name="B" message="t:B"/>'
    messages = '<wsdl:message name="A"><wsdl:part name="f" element="t:None"/></wsdl:message>'
    messages += '<wsdl:message name="B"><wsdl:part name="f" type="t:None"/></wsdl:message>'
    codecs, left_out, _ = await bound(tmp_path, {"faults": faults, "messages": messages})
    assert (list(codecs), left_out) == (["Submit", "Ping"], [])


# --- names without a prefix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", ["", ' xmlns="http://www.w3.org/2001/XMLSchema"'])
@pytest.mark.parametrize(
    ("content", "body", "more"),
    [
        ('<xs:element name="amount" type="Amount"/>', b'{"amount": 5}', ""),
        ('<xs:element ref="note"/>', b'{"note": 5}', ""),
        ('<xs:group ref="G"/>', b'{"g": 5}', ""),
        (
            '<xs:element name="d" type="t:Derived"/>',
            b'{"d": {"n": 5}}',
            '<xs:complexType name="Derived"><xs:complexContent><xs:extension base="Base"/></xs:complexContent>'
            "</xs:complexType>",
        ),
        (
            '<xs:element name="l"><xs:simpleType><xs:list itemType="Amount"/></xs:simpleType></xs:element>',
            b'{"l": [5]}',
            "",
        ),
        (
            '<xs:element name="u"><xs:simpleType><xs:union memberTypes="Amount"/></xs:simpleType></xs:element>',
            b'{"u": 5}',
            "",
        ),
        (
            '<xs:element ref="t:note"/>',
            b'{"note": {"@element": "special", "#text": 5}}',
            '<xs:element name="special" type="xs:int" substitutionGroup="note"/>',
        ),
        (
            '<xs:element name="d" type="t:Base"/>',
            b'{"d": {"@xsi:type": "Sub", "n": 5}}',
            '<xs:complexType name="Sub"><xs:complexContent><xs:extension base="Base"/></xs:complexContent>'
            "</xs:complexType>",
        ),
    ],
)
async def test_a_name_without_a_prefix_means_the_target_namespace(
    tmp_path: Path, default: str, content: str, body: bytes, more: str
) -> None:
    written = schema(content, default, more)
    codecs, left_out, advice = await bound(tmp_path, {"schema": written})
    assert left_out == []
    request = codecs["Submit"].request(Call("POST", body=body))
    assert b">5<" in request.body
    assert any("has no prefix; {urn:claims}" in each and each.startswith("a.wsdl:") for each in advice)
    if "special" not in more and "Sub" not in more:
        codecs, left_out, advice = await bound(tmp_path, {"schema": written}, strict=True)
        assert (list(codecs), advice) == (["Ping"], [])


async def test_a_built_in_type_without_a_prefix(tmp_path: Path) -> None:
    codecs, _, advice = await bound(tmp_path, {"schema": schema('<xs:element name="amount" type="int"/>')})
    assert b"amount>5<" in codecs["Submit"].request(Call("POST", body=b'{"amount": 5}')).body
    assert "the type 'int' has no prefix; {http://www.w3.org/2001/XMLSchema}int is read" in advice[0]


async def test_what_is_right_by_the_letter_is_read_so(tmp_path: Path) -> None:
    """A name of no namespace that is defined there, or in the default namespace, is that."""
    other = '<xs:schema><xs:simpleType name="Amount"><xs:restriction base="xs:string"/></xs:simpleType></xs:schema>'
    codecs, _, advice = await bound(
        tmp_path, {"schema": schema('<xs:import/><xs:element name="amount" type="Amount"/>') + other}
    )
    assert b"amount>many<" in codecs["Submit"].request(Call("POST", body=b'{"amount": "many"}')).body
    assert advice == []


async def test_a_name_of_a_schema_that_is_not_there_is_no_other(tmp_path: Path) -> None:
    _, left_out, advice = await bound(
        tmp_path, {"schema": schema('<xs:element name="amount" type="Amount"/>', ' xmlns="urn:gone"')}
    )
    assert "the type {urn:gone}Amount is not defined" in left_out[0]
    assert advice == []


@pytest.mark.parametrize(
    "parts",
    [
        {"ping": "PingIn"},
        {"type": "Claims"},
        {"binding": "Soap"},
        {"ping": "P", "messages": '<wsdl:message name="P"><wsdl:part name="body" element="Ping"/></wsdl:message>'},
    ],
)
async def test_references_of_the_wsdl_without_a_prefix(tmp_path: Path, parts: dict[str, str]) -> None:
    assert list((await bound(tmp_path, parts))[0]) == ["Submit", "Ping"]


@pytest.mark.parametrize("attribute", ['element="Sent"', 'type="Kind"', 'type="string"'])
async def test_a_part_without_a_prefix_whose_schema_has_another_namespace(tmp_path: Path, attribute: str) -> None:
    more = '<xs:schema targetNamespace="urn:other"><xs:element name="Sent" type="xs:string"/>'
    more += '<xs:simpleType name="Kind"><xs:restriction base="xs:string"/></xs:simpleType></xs:schema>'
    messages = f'<wsdl:message name="P"><wsdl:part name="body" {attribute}/></wsdl:message>'
    parts = {"schema": schema() + more, "messages": messages, "ping": "t:P"}
    codecs, _, advice = await bound(tmp_path, parts)
    assert list(codecs) == ["Submit", "Ping"]
    assert "has no prefix; " in advice[0]
    assert list((await bound(tmp_path, parts, strict=True))[0]) == ["Submit"]


# --- what costs its operation only -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"ping": "t:None"}, "Ping: a.wsdl"),
        ({"ports": '<wsdl:port name="Q" binding="t:Q"><soap:address location="http://q/"/></wsdl:port>'}, "'t:Q'"),
        ({"operations": '<wsdl:operation name="Gone"/>'}, "Gone: the binding Soap has an operation that its port type"),
        (
            {
                "messages": '<wsdl:message name="P"><wsdl:part name="body" element="t:None"/></wsdl:message>',
                "ping": "t:P",
            },
            "the element {urn:claims}None is not defined",
        ),
        (
            {
                "messages": '<wsdl:message name="P"><wsdl:part name="body" type="t:None"/></wsdl:message>',
                "ping": "t:P",
            },
            "the type {urn:claims}None is not defined",
        ),
    ],
)
async def test_what_is_dead_costs_only_what_needs_it(tmp_path: Path, parts: dict[str, str], told: str) -> None:
    codecs, left_out, _ = await bound(tmp_path, parts)
    assert "Submit" in codecs
    assert any(told in each for each in left_out), left_out


@pytest.mark.parametrize("message", ["t:None", "t:H"])
async def test_a_header_whose_message_is_broken_costs_nothing(tmp_path: Path, message: str) -> None:
    parts = {
        "messages": '<wsdl:message name="H"><wsdl:part name="h" element="u:H"/></wsdl:message>',
        "header": f'<soap:header message="{message}" part="h" use="literal"/>',
    }
    codecs, _, _ = await bound(tmp_path, parts)
    assert list(codecs) == ["Submit", "Ping"]


async def test_a_broken_element_elsewhere_costs_nothing(tmp_path: Path) -> None:
    """Members of substitution groups and derived types are looked for among all elements and types."""
    more = '<xs:element name="odd" substitutionGroup="u:x"/><xs:complexType name="Odd"><xs:complexContent>'
    more += '<xs:extension base="u:x"/></xs:complexContent></xs:complexType>'
    content = '<xs:element ref="t:note"/><xs:element name="b" type="t:Base"/>'
    codecs, left_out, _ = await bound(tmp_path, {"schema": schema(content, more=more)})
    assert (list(codecs), left_out) == (["Submit", "Ping"], [])


async def test_one_operation_by_name_tells_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "a.wsdl").write_text(WSDL.format(**{"schema": schema(), **WHOLE, "ping": "t:None"}))
    with pytest.raises(BindError, match="the message 't:None' is not defined"):
        await bind_wsdl(tmp_path, "a.wsdl", options={"operation": "Ping"})
