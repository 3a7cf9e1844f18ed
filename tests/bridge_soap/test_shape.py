"""Bodies in the shape that a route shows: renamed, flattened, completed; and all that names them to clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lxml import etree
from openapi_spec_validator import validate

from bridge.api import BindError, Call, ClientError, InvalidBody, InvalidParameter, Operation
from tests.soap_kit import Bind, Echo, MakeEcho, codec_of

ORDER = """
<xs:complexType name="Line"><xs:sequence>
  <xs:element name="Sku" type="xs:string"/><xs:element name="Qty" type="xs:int" minOccurs="0"/>
  <xs:element name="Unit" minOccurs="0"><xs:complexType><xs:sequence><xs:element name="Code" type="xs:string"/>
    <xs:element name="Base" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>
</xs:sequence><xs:attribute name="pos" type="xs:int"/></xs:complexType>
<xs:complexType name="Weight"><xs:simpleContent><xs:extension base="xs:decimal">
  <xs:attribute name="unit" type="xs:string" use="required"/></xs:extension></xs:simpleContent></xs:complexType>
<xs:complexType name="Thing"><xs:sequence><xs:element name="T" type="xs:string"/></xs:sequence></xs:complexType>
<xs:complexType name="More"><xs:complexContent><xs:extension base="t:Thing"><xs:sequence>
  <xs:element name="M" type="xs:string"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
<xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="Head"><xs:complexType><xs:sequence>
    <xs:element name="Version" type="xs:string"/><xs:element name="Channel" type="xs:string" minOccurs="0"/>
    <xs:element name="Key" type="xs:string" minOccurs="0"/>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="Order" minOccurs="0"><xs:complexType><xs:sequence>
    <xs:element name="Id" type="xs:long"/><xs:element name="Line" type="t:Line" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="Weight" type="t:Weight" minOccurs="0"/>
    <xs:element name="Ship" minOccurs="0" nillable="true"><xs:complexType><xs:sequence>
      <xs:element name="Street" type="xs:string"/><xs:element name="Zip" type="xs:string" minOccurs="0"/>
    </xs:sequence></xs:complexType></xs:element>
    <xs:choice minOccurs="0"><xs:element name="Mail" type="xs:string"/><xs:element name="Phone"><xs:complexType>
      <xs:sequence><xs:element name="Number" type="xs:string"/></xs:sequence></xs:complexType></xs:element></xs:choice>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="Note" type="xs:string" minOccurs="0"/>
  <xs:element name="Thing" type="t:Thing" minOccurs="0"/>
  <xs:element name="Any" type="xs:anyType" minOccurs="0"/>
  <xs:element name="Tag" type="xs:string" minOccurs="0" maxOccurs="3"/>
  <xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="A" type="xs:string"/>
    <xs:element name="B" type="t:Line"/></xs:choice>
</xs:sequence></xs:complexType></xs:element>
"""


def xml_of(node: etree._Element) -> str:
    """The element without namespaces, for reading."""
    for each in node.iter("*"):
        each.tag = etree.QName(each).localname
    etree.cleanup_namespaces(node)
    return etree.tostring(node, encoding="unicode")


def judge_of(service: Echo, where: str = "request") -> tuple[Draft202012Validator, Any]:
    doc = service.operation.describe()
    components = {"schemas": doc.schemas}
    validate(
        {
            "openapi": "3.1.0",
            "info": {"title": "t", "version": "1"},
            "paths": {"/x": {"post": doc.operation}},
            "components": components,
        }
    )
    part = doc.operation["requestBody"] if where == "request" else doc.operation["responses"]["200"]
    media = part["content"]["application/json"]
    return Draft202012Validator({**media["schema"], "components": components}), media["example"]


def test_renames(echo: MakeEcho) -> None:
    names = {
        "Order": "order",
        "Order/Line": "lines",
        "Order/Line/Sku": "code",
        "Order/Line/@pos": "position",
        "Order/Weight/#text": "value",
        "Order/Weight/@unit": "unit",
        "#items": "rows",
        "#items/B": "line",
        "#items/B/Sku": "code",
    }
    service = echo(ORDER, request={"rename": names}, reply={"rename": names})
    value = {
        "Head": {"Version": "1"},
        "order": {
            "Id": "5",
            "lines": [{"position": 1, "code": "a"}, {"code": "b", "Qty": 2}],
            "Weight": {"value": "1.5", "unit": "kg"},
        },
        "Tag": [],
        "rows": [{"A": "x"}, {"line": {"code": "c"}}],
    }
    sent = service.send(value)
    assert service.receive(etree.tostring(sent, encoding="unicode").replace(' xmlns="urn:t"', "")) == value
    assert xml_of(sent).partition("<Tag>")[0] == (
        '<r><Head><Version>1</Version></Head><Order><Id>5</Id><Line pos="1"><Sku>a</Sku></Line><Line><Sku>b</Sku>'
        '<Qty>2</Qty></Line><Weight unit="kg">1.5</Weight></Order><A>x</A><B><Sku>c</Sku></B></r>'
    )
    for where in ("request", "response"):
        judge, example = judge_of(service, where)
        judge.validate(value)
        judge.validate(example)
        assert set(example["order"]["lines"][0]) >= {"code"}
        assert not judge.is_valid({**value, "Order": {"Id": "5"}})
    service.send(judge_of(service)[1])


def test_old_names_are_strangers(echo: MakeEcho) -> None:
    names = {"Order": "order", "Order/Line": "lines", "Order/Line/Sku": "code", "#items/B": "line"}
    service = echo(ORDER, request={"rename": names})
    value = {
        "Head": {"Version": "1"},
        "Order": {},
        "order": {"Id": "1", "lines": [{"code": 1, "Sku": "a"}], "Lin/e~": 1},
        "#items": [{"B": {"Sku": "x"}}],
        "B": {"Sku": "x"},
    }
    assert service.faults(value) == {
        "/Order": "the schema has no such property here",
        "/order/lines/0/Sku": "the schema has no such property here",
        "/order/lines/0/code": "a string is wanted, not a number",
        "/order/Lin~1e~0": "the schema has no such property here",
        "/#items/0/B": "the schema has no such property here",
        "/B": "the schema has no such property here",
        "/#items/0": "an object with exactly one element is wanted",
    }


def test_names_may_change_places(echo: MakeEcho) -> None:
    swap = {"Head/Version": "Channel", "Head/Channel": "Version"}
    service = echo(ORDER, request={"rename": swap}, reply={"rename": swap})
    assert service.trip("<r><Head><Version>1</Version><Channel>c</Channel></Head></r>")["Head"] == {
        "Channel": "1",
        "Version": "c",
    }


FLAT = {
    "flatten": ["Head", "Order", "Order/Ship", "Order/Weight", "Order/Line/Unit", "Order/Phone"],
    "rename": {"Order/Weight/#text": "weight", "Order/Weight/@unit": "weightUnit", "Order/Id": "id"},
}


@pytest.mark.parametrize(
    ("value", "xml"),
    [
        ({"Version": "1"}, "<r><Head><Version>1</Version></Head></r>"),
        (
            {"Version": "1", "id": "5", "weight": "1.50", "weightUnit": "kg", "Street": "s", "Zip": "z", "Number": "n"},
            '<r><Head><Version>1</Version></Head><Order><Id>5</Id><Weight unit="kg">1.50</Weight><Ship><Street>s'
            "</Street><Zip>z</Zip></Ship><Phone><Number>n</Number></Phone></Order></r>",
        ),
        (
            {"Version": "1", "id": "5", "Line": [{"Sku": "a", "Code": "c"}, {"Sku": "b"}], "Mail": "m"},
            "<r><Head><Version>1</Version></Head><Order><Id>5</Id><Line><Sku>a</Sku><Unit><Code>c</Code></Unit></Line>"
            "<Line><Sku>b</Sku></Line><Mail>m</Mail></Order></r>",
        ),
    ],
)
def test_flattening(echo: MakeEcho, value: dict[str, Any], xml: str) -> None:
    service = echo(ORDER, request=FLAT, reply=FLAT)
    sent = service.send(value)
    back = service.receive(etree.tostring(sent, encoding="unicode").replace(' xmlns="urn:t"', ""))
    assert {key: item for key, item in back.items() if item != []} == value
    assert xml_of(sent) == xml
    for where in ("request", "response"):
        judge, example = judge_of(service, where)
        judge.validate(value)
        judge.validate(back)
        judge.validate(example)
    service.send(judge_of(service)[1])


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        ({}, {"/Version": "it is required"}),
        ({"Version": "1", "Zip": "z"}, {"/id": "it is required", "/Street": "it is required"}),
        (
            {"Version": "1", "weight": "x", "id": 1},
            {"/weight": "'x' is not a decimal number", "/weightUnit": "it is required"},
        ),
        (
            {"Version": "1", "id": 1, "Line": [{"Base": 5}]},
            {
                "/Line/0/Sku": "it is required",
                "/Line/0/Code": "it is required",
                "/Line/0/Base": "a string is wanted, not a number",
            },
        ),
        ({"Version": "1", "Order": {"Id": 1}}, {"/Order": "the schema has no such property here"}),
        (
            {"Version": "1", "id": 1, "Mail": "m", "Number": "n"},
            {"": "only one of Mail, Number may be given, not Mail, Number together"},
        ),
    ],
)
def test_faults_of_flattened_bodies(echo: MakeEcho, value: dict[str, Any], faults: dict[str, str]) -> None:
    service = echo(ORDER, request=FLAT)
    assert service.faults(value) == faults
    assert not judge_of(service)[0].is_valid(value)


def test_nil_and_absent_look_alike_once_flattened(echo: MakeEcho) -> None:
    service = echo(ORDER, request=FLAT, reply=FLAT)
    nil = '<Ship i:nil="true" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"/>'
    xml = f"<r><Head><Version>1</Version></Head><Order><Id>5</Id>{nil}</Order></r>"
    value = service.receive(xml)
    assert value == {"Version": "1", "id": "5", "Line": [], "Tag": [], "#items": []}
    judge_of(service, "response")[0].validate(value)
    assert "Ship" not in xml_of(service.send(value))


def test_constants(echo: MakeEcho, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_ORDER_KEY", "k<1>")
    request = {
        "constants": {
            "Head/Version": "2",
            "Head/Key": {"$env": "BRIDGE_SECRET_ORDER_KEY"},
            "Order/Ship/Street": "s",
            "Order/Line/Qty": 7,
            "Tag": ["a", "b"],
        }
    }
    service = echo(ORDER, request=request)
    assert codec_of(service.operation).secrets == {"k<1>"}  # type: ignore[attr-defined]  # SoapCodec's
    value = {"Order": {"Id": "1", "Line": [{"Sku": "a"}, {"Sku": "b"}]}}
    assert xml_of(service.send(value)) == (
        "<r><Head><Version>2</Version><Key>k&lt;1&gt;</Key></Head><Order><Id>1</Id><Line><Sku>a</Sku><Qty>7</Qty></Line>"
        "<Line><Sku>b</Sku><Qty>7</Qty></Line><Ship><Street>s</Street></Ship></Order><Tag>a</Tag><Tag>b</Tag></r>"
    )
    # The constant in it makes the order, and then its own needs are the client's.
    assert service.faults({}) == {"/Order/Id": "it is required"}
    judge, example = judge_of(service)
    judge.validate(value)
    judge.validate(example)
    service.send(example)
    assert not judge.is_valid({})
    given = {"Head": {"Version": "2"}, "Order": {"Id": 1, "Line": [{"Sku": "a", "Qty": 7}]}, "Tag": []}
    assert service.faults(given) == {
        "/Head/Version": "it is set by the route",
        "/Order/Line/0/Qty": "it is set by the route",
        "/Tag": "it is set by the route",
    }
    assert not judge.is_valid(given)


def test_defaults(echo: MakeEcho) -> None:
    request = {"defaults": {"Head/Version": "1", "Note": "n", "Order/Ship/Zip": "0", "Order/Line/Sku": "x"}}
    service = echo(ORDER, request=request)
    assert xml_of(service.send({})) == "<r><Head><Version>1</Version></Head><Note>n</Note></r>"
    value = {"Head": {}, "Note": "", "Order": {"Id": "1", "Line": [{}, {"Sku": "y"}], "Ship": {"Street": "s"}}}
    assert xml_of(service.send(value)) == (
        "<r><Head><Version>1</Version></Head><Order><Id>1</Id><Line><Sku>x</Sku></Line><Line><Sku>y</Sku></Line>"
        "<Ship><Street>s</Street><Zip>0</Zip></Ship></Order><Note></Note></r>"
    ).replace("<Note></Note>", "<Note/>")
    # Nil is a value; what is in it is not asked for.
    service.send({"Order": {"Id": "1", "Ship": None}})
    judge, example = judge_of(service)
    for each in ({}, value, example):
        judge.validate(each)
    schema = service.operation.describe().operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["Note"]["default"] == "n"
    assert "required" not in schema


def test_a_derived_type_keeps_its_own(echo: MakeEcho) -> None:
    names = {"Thing/T": "t", "Thing/M": "m"}
    service = echo(ORDER, request={"rename": names}, reply={"rename": names})
    value = {"Head": {"Version": "1"}, "Thing": {"@xsi:type": "More", "t": "a", "m": "b"}}
    sent = service.send(value)
    judge_of(service)[0].validate(value)
    assert "<T>a</T><M>b</M>" in xml_of(sent)


@pytest.mark.parametrize(
    ("side", "options", "told"),
    [
        ("request", {"rename": {"Ordr": "x"}}, "request.rename.Ordr: the body has no property 'Ordr'; it has"),
        ("request", {"rename": {"Order/X": "x"}}, "request.rename.Order/X: Order has no property 'X'; it has Id, Line"),
        ("reply", {"rename": {"Order/X": "x"}}, "transform.soap.reply.rename.Order/X: Order has no property 'X'"),
        ("request", {"rename": {"A": "x"}}, "request.rename.A: the body has no property 'A'; #items/A is one"),
        ("request", {"rename": {"": "x"}}, "request.rename.: a path is wanted"),
        ("request", {"rename": {"Order//Id": "x"}}, "a path is wanted"),
        ("request", {"rename": {"Note": "@x"}}, "request.rename.Note: '@x' can't be a name for clients"),
        ("request", {"rename": {"Note": ""}}, "request.rename.Note: '' can't be a name for clients"),
        ("request", {"rename": {"Note": "Tag"}}, "request.rename.Note: Note and Tag would both be 'Tag'"),
        ("request", {"rename": {"Thing/T": "M"}}, "request.rename.Thing/T: Thing/T and Thing/M would both be 'M'"),
        ("request", {"flatten": ["Order/Line"]}, "request.flatten.0: it is an array, which can't be flattened"),
        ("request", {"flatten": ["Note"]}, "request.flatten.0: it is no object"),
        ("request", {"flatten": ["Any"]}, "request.flatten.0: it is no object"),
        ("request", {"flatten": ["Thing"]}, "request.flatten.0: its value may be of several types"),
        ("request", {"flatten": ["#items/B"]}, "request.flatten.0: an item is one property"),
        ("request", {"flatten": ["Head", "Order"], "rename": {"Head/Key": "Id"}}, "rename.Head/Key: "),
        ("request", {"flatten": ["Order"], "rename": {"Head": "Id"}}, "request.rename.Head: "),
        ("request", {"flatten": ["Head"], "rename": {"Head": "h"}}, "request.flatten.0: it is named elsewhere too"),
        ("request", {"constants": {"Note": 5}}, "request.constants.Note: a string is wanted, not a number"),
        ("request", {"constants": {"Order/Ship": {"Zip": 1}}}, "request.constants.Order/Ship.Street: it is required"),
        ("request", {"constants": {"Tag": "a"}}, "request.constants.Tag: an array is wanted"),
        ("request", {"constants": {"Tag": ["a", 1]}}, "request.constants.Tag.1: a string is wanted"),
        ("request", {"constants": {"Order/Mail": "m"}}, "constants.Order/Mail: it is one of a choice"),
        ("request", {"defaults": {"Order/Mail": "m"}}, "defaults.Order/Mail: it is one of a choice"),
        ("request", {"defaults": {"#items": []}}, "defaults.#items: a value can't be given for it as a whole"),
        ("request", {"constants": {"Thing/M": "m"}}, "constants.Thing/M: it is one of a choice or part"),
        ("request", {"constants": {"Note": "n"}, "defaults": {"Note": "n"}}, "constants.Note: clients never see"),
        ("request", {"constants": {"Note": "n"}, "rename": {"Note": "x"}}, "constants.Note: clients never see"),
        ("request", {"constants": {"Head": {"Version": "1"}}, "rename": {"Head/Key": "x"}}, "other paths lead into it"),
        ("request", {"constants": {"Note": {"$claim": "x"}}}, "constants.Note: a constant may come from $env or $file"),
        (
            "request",
            {"constants": {"Note": {"$env": "BRIDGE_SECRET_NOPE_"}}},
            "constants.Note.$env: the environment variable BRIDGE_SECRET_NOPE_",
        ),
        (
            "request",
            {"constants": {"Order/Line/Qty": {"$env": "BRIDGE_SECRET_SHAPE_X"}}},
            "what the environment variable BRIDGE_SECRET_SHAPE_X",
        ),
        ("request", {"defaults": {"Note": {"$env": "X"}}}, "defaults.Note: a default is a plain value"),
    ],
)
def test_what_is_wrong_is_told_at_bind(
    echo: MakeEcho, monkeypatch: pytest.MonkeyPatch, side: str, options: dict[str, Any], told: str
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_SHAPE_X", "s3cret")
    with pytest.raises(BindError) as caught:
        echo(ORDER, **{side: options})
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_it_needs_one_operation_and_an_answer(bind: Bind) -> None:
    with pytest.raises(BindError, match=r"transform.soap.request: it shapes one operation, which operation must name"):
        await bind("orders.wsdl", options={"request": {"rename": {"id": "x"}}})
    with pytest.raises(BindError, match=r"transform.soap.reply: notify has no reply"):
        await bind("people/PeopleService.wsdl", options={"operation": "notify", "reply": {"rename": {"id": "x"}}})
    with pytest.raises(BindError, match=r"transform.soap.reply: transform.response is not json"):
        await bind("vat.wsdl", response="xml", options={"operation": "checkVat", "reply": {"rename": {"name": "x"}}})


# --- parameters ---

QUERY = """<xs:element name="r"><xs:complexType><xs:sequence>
<xs:element name="Request" minOccurs="0"><xs:complexType><xs:sequence>
  <xs:element name="AccountId" type="xs:int"/><xs:element name="Tag" type="xs:string" minOccurs="0" maxOccurs="9"/>
  <xs:element name="Page" minOccurs="0"><xs:complexType><xs:sequence><xs:element name="Size" type="xs:int"/>
  </xs:sequence></xs:complexType></xs:element><xs:element name="Secret" type="xs:string" minOccurs="0"/>
</xs:sequence><xs:attribute name="lang" type="xs:language"/></xs:complexType></xs:element>
</xs:sequence></xs:complexType></xs:element>"""
SHAPE = {
    "flatten": ["Request", "Request/Page"],
    "rename": {"Request/AccountId": "account", "Request/Page/Size": "size", "Request/@lang": "lang"},
    "constants": {"Request/Secret": "s"},
    "defaults": {"Request/Tag": ["all"]},
}


async def flat(echo: MakeEcho, bind: Bind, tmp_path: Any, **given: Any) -> dict[str, Operation]:
    """The operation of QUERY by method."""
    import asyncio

    await asyncio.to_thread(echo, QUERY)  # writes the WSDL
    options = {"operation": "echo", "request": SHAPE}
    return {each.method: each for each in await bind("echo.wsdl", folder=tmp_path, options=options, **given)}


async def test_what_is_flat_can_be_a_get(echo: MakeEcho, bind: Bind, tmp_path: Any) -> None:
    operations = await flat(echo, bind, tmp_path)
    assert set(operations) == {"GET", "POST"}
    get = codec_of(operations["GET"])
    body = get.request(Call("GET", query="account=5&size=9&lang=en&Tag=a&Tag=b")).body.decode()
    assert '<n0:Request lang="en"><n0:AccountId>5</n0:AccountId><n0:Tag>a</n0:Tag><n0:Tag>b</n0:Tag><n0:Page>' in body
    assert "<n0:Size>9</n0:Size></n0:Page><n0:Secret>s</n0:Secret></n0:Request>" in body
    body = get.request(Call("GET", query="account=5")).body.decode()
    assert "<n0:Request><n0:AccountId>5</n0:AccountId><n0:Tag>all</n0:Tag><n0:Secret>s</n0:Secret></n0:Request>" in body
    for query, faults in (
        ("", {"account": "it is required"}),
        ("account=x", {"account": "it is not a whole number"}),
        ("AccountId=5&Secret=x", {"AccountId": "there is no such parameter", "Secret": "there is no such parameter"}),
    ):
        with pytest.raises(InvalidParameter) as caught:
            get.request(Call("GET", query=query))
        assert {name: why[: len(faults.get(name, ""))] for name, why in caught.value.errors} == faults
    parameters = {each["name"]: each for each in operations["GET"].describe().operation["parameters"]}
    assert {name: each["required"] for name, each in parameters.items()} == {
        "lang": False,
        "account": True,
        "Tag": False,
        "size": False,
    }
    assert parameters["account"]["schema"]["type"] == "integer"


async def test_paths_hold_the_clients_names(echo: MakeEcho, bind: Bind, tmp_path: Any) -> None:
    operations = await flat(echo, bind, tmp_path, route="/v1/x/{account}", methods=["POST"])
    post = codec_of(operations["POST"])
    assert b"AccountId>5</" in post.request(Call("POST", raw_params={"account": "5"}, body=b'{"size": 1}')).body
    with pytest.raises(InvalidBody) as caught:
        post.request(Call("POST", raw_params={"account": "5"}, body=b'{"account": 6}'))
    assert caught.value.errors == (("/account", "it differs from the path"),)
    doc = operations["POST"].describe()
    media = doc.operation["requestBody"]["content"]["application/json"]
    assert "account" not in media["schema"]["properties"]
    assert "account" not in media["example"]
    assert "required" not in media["schema"]
    with pytest.raises(BindError, match="no simple input 'AccountId'"):
        await flat(echo, bind, tmp_path, route="/v1/x/{AccountId}")


async def test_rpc_bodies_and_header_blocks_beside_a_shape(bind: Bind) -> None:
    options = {"operation": "post", "pass_headers": ["TransactionInfo"], "request": {"rename": {"account": "iban"}}}
    operation = (await bind("ledger.wsdl", options=options))[0]
    value = {"iban": "a", "cents": 1, "#headers": {"TransactionInfo": {"id": "x"}}}
    with pytest.raises(ClientError) as caught:
        codec_of(operation).request(Call("POST", body=json.dumps(value).encode()))
    assert [each["pointer"] for each in caught.value.members["errors"]] == ["/#headers/TransactionInfo/id"]
    value["#headers"] = {"TransactionInfo": {"id": "1"}}
    body = codec_of(operation).request(Call("POST", body=json.dumps(value).encode())).body
    assert b"account>a</" in body
    media = operation.describe().operation["requestBody"]["content"]["application/json"]
    assert set(media["schema"]["properties"]) == {"iban", "cents", "#headers"}
    assert set(media["example"]) == {"iban", "cents", "#headers"}
    options = {"operation": "forecast.short", "request": {"rename": {"station": "id"}}}
    short = codec_of((await bind("weather.wsdl", options=options))[0])
    assert b"<station>EIDW</station>" in short.request(Call("POST", body=b'{"id": "EIDW"}')).body
