"""rpc/encoded: SOAP's own encoding, both ways (SOAP 1.1, section 5; SOAP 1.2 part 2, section 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lxml import etree

from bridge.api import BadReply, Call, HttpCodec, HttpReply, InvalidBody, UpstreamFault
from tests.soap_kit import SOAP11, WSDL_DIR, Bind, codec_of, infoset

XSI = "http://www.w3.org/2001/XMLSchema-instance"
ENC = "http://schemas.xmlsoap.org/soap/encoding/"
ENC12 = "http://www.w3.org/2003/05/soap-encoding"
NAMESPACES = (
    f'xmlns:xsi="{XSI}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:soapenc="{ENC}" xmlns:enc="{ENC12}" '
    'xmlns:b="urn:tally:beans" xmlns:t="urn:tally" xmlns:apache="http://xml.apache.org/xml-soap"'
)
ADA = {"name": "Ada", "party": "RED", "votes": "12"}
ADA_XML = """<name xsi:type="soapenc:string">Ada</name><party xsi:type="b:Party">RED</party
><votes xsi:type="xsd:long">12</votes>"""
RPC = f'xmlns:s="{SOAP11}" s:encodingStyle="{ENC}"'


@pytest.fixture
async def old(bind: Bind) -> dict[str, HttpCodec]:
    """The operations of the SOAP 1.1 port by name."""
    operations = await bind("encoded.wsdl", options={"port": "Old"})
    return {each.name: codec_of(each) for each in operations if each.method == "POST"}


@pytest.fixture
async def new(bind: Bind) -> dict[str, HttpCodec]:
    operations = await bind("encoded.wsdl", options={"port": "New"})
    return {each.name: codec_of(each) for each in operations if each.method == "POST"}


def sent(codec: HttpCodec, value: Any) -> etree._Element:
    """The body's element for a JSON value."""
    envelope = etree.fromstring(codec.request(Call("POST", body=json.dumps(value).encode())).body)
    return envelope[-1][0]


def faults(codec: HttpCodec, value: Any) -> dict[str, str]:
    with pytest.raises(InvalidBody) as caught:
        codec.request(Call("POST", body=json.dumps(value).encode()))
    return dict(caught.value.errors)


def received(codec: HttpCodec, body: str, *, warnings: list[str] | None = None) -> Any:
    """The JSON of an answer; a SOAP 1.1 envelope around `body`."""
    call = Call()
    message = f'<s:Envelope xmlns:s="{SOAP11}" {NAMESPACES}><s:Body>{body}</s:Body></s:Envelope>'
    reply = codec.reply(call, HttpReply(200, [("content-type", "text/xml")], message.encode()))
    assert warnings is not None or not call.warnings, call.warnings
    if warnings is not None:
        warnings += call.warnings
    return json.loads(reply.content)


def parsed(xml: str) -> etree._Element:
    return etree.fromstring(f"<x {NAMESPACES}>{xml}</x>")[0]


TRIPS = {
    "a struct with an array, a nil and a derived type": (
        "count",
        '<count xsi:type="b:Count"><precinct xsi:type="xsd:string">7</precinct>'
        '<candidates xsi:type="soapenc:Array" soapenc:arrayType="b:Candidate[3]">'
        f'<item xsi:type="b:Candidate">{ADA_XML}</item>'
        f'<item xsi:type="b:Incumbent">{ADA_XML}<since xsi:type="xsd:int">1990</since></item>'
        '<item xsi:nil="true"/></candidates><winner xsi:nil="true"/>'
        '<closed xsi:type="xsd:boolean">true</closed></count>',
        {
            "count": {
                "precinct": "7",
                "candidates": [ADA, {"@xsi:type": "Incumbent", **ADA, "since": 1990}, None],
                "winner": None,
                "closed": True,
            }
        },
    ),
    "an array of two dimensions, and an array of arrays": (
        "grid",
        '<grid xsi:type="soapenc:Array" soapenc:arrayType="xsd:int[2,3]">'
        + "".join(f'<item xsi:type="xsd:int">{number}</item>' for number in range(6))
        + '</grid><rows xsi:type="soapenc:Array" soapenc:arrayType="xsd:int[][2]">'
        '<item xsi:type="soapenc:Array" soapenc:arrayType="xsd:int[1]"><item xsi:type="xsd:int">1</item></item>'
        '<item xsi:type="soapenc:Array" soapenc:arrayType="xsd:int[0]"/></rows>',
        {"grid": [[0, 1, 2], [3, 4, 5]], "rows": [[1], []]},
    ),
    "a tree": (
        "tree",
        '<tree xsi:type="b:Node"><label xsi:type="xsd:string">a</label>'
        '<children xsi:type="soapenc:Array" soapenc:arrayType="b:Node[1]"><item xsi:type="b:Node">'
        '<label xsi:type="xsd:string">b</label><children xsi:nil="true"/></item></children></tree>',
        {"tree": {"label": "a", "children": [{"label": "b", "children": None}]}},
    ),
    "values of types that only the message tells": (
        "any",
        f'<value xsi:type="b:Candidate">{ADA_XML}</value>'
        '<list xsi:type="soapenc:Array" soapenc:arrayType="xsd:string[2]"><item xsi:type="xsd:string">a</item>'
        '<item xsi:type="xsd:string">b</item></list>'
        '<map xsi:type="apache:Map"><item xsi:type="apache:mapItem"><key xsi:type="xsd:string">k</key>'
        '<value xsi:type="soapenc:Array" soapenc:arrayType="xsd:int[1]"><item xsi:type="xsd:int">5</item></value>'
        "</item></map>",
        {
            "value": {"@xsi:type": "Candidate", **ADA},
            "list": [{"@xsi:type": "string", "#text": "a"}, {"@xsi:type": "string", "#text": "b"}],
            "map": {
                "item": [
                    {
                        "key": {"@xsi:type": "string", "#text": "k"},
                        "value": {"@xsi:type": "Array", "#items": [{"@xsi:type": "int", "#text": 5}]},
                    }
                ]
            },
        },
    ),
}


@pytest.mark.parametrize("name", TRIPS)
def test_exact_both_ways(old: dict[str, HttpCodec], name: str) -> None:
    operation, xml, value = TRIPS[name]
    got = received(old[operation], f"<t:{operation}Response {RPC}>{xml}</t:{operation}Response>")
    assert got == value
    wrapper = sent(old[operation], got)
    assert wrapper.get(f"{{{SOAP11}}}encodingStyle") == ENC
    names = ("arrayType",)  # QNames in attributes other than xsi:type are compared resolved, too

    def plain(node: etree._Element) -> Any:
        for each in node.iter():
            for local in names:
                text = each.get(f"{{{ENC}}}{local}")
                if text is not None:
                    prefix, _, rest = text.partition(":")
                    each.set(f"{{{ENC}}}{local}", f"{each.nsmap[prefix]} {rest}")
        return infoset(node)

    assert [plain(child) for child in wrapper] == [plain(child) for child in parsed(f"<x>{xml}</x>")]


def test_what_axis_sends(old: dict[str, HttpCodec]) -> None:
    """Shared values beside the answer, each with ``root="0"``, namespaces declared where they stand."""
    body = (
        f'<t:countResponse {RPC} xmlns:n="urn:tally"><countReturn href="#id0"/></t:countResponse>'
        f'<multiRef id="id0" soapenc:root="0" {RPC} xsi:type="n1:Count" xmlns:n1="urn:tally:beans">'
        '<precinct xsi:type="xsd:string">7</precinct><candidates xsi:type="soapenc:Array" '
        'soapenc:arrayType="n1:Candidate[2]"><candidates href="#id1"/><candidates href="#id1"/></candidates>'
        '<winner href="#id1"/><closed xsi:type="xsd:boolean">false</closed></multiRef>'
        f'<multiRef id="id1" soapenc:root="0" {RPC} xsi:type="n2:Incumbent" xmlns:n2="urn:tally:beans">'
        '<since href="#id2"/><votes xsi:type="xsd:long">12</votes><name xsi:type="soapenc:string">Ada</name>'
        '<party xsi:type="n2:Party">RED</party></multiRef>'
        f'<multiRef id="id2" soapenc:root="0" {RPC} xsi:type="xsd:int">1990</multiRef>'
    )
    ada = {"@xsi:type": "Incumbent", **ADA, "since": 1990}
    count = {"precinct": "7", "candidates": [ada, ada], "winner": ada, "closed": False}
    assert received(old["count"], body) == {"count": count}


def test_what_stands_beside_an_encoded_answer_is_told(old: dict[str, HttpCodec]) -> None:
    """Not shared values, which may stand there without a reference to them."""
    root = f"<t:countResponse {RPC}><count xsi:nil='true'/></t:countResponse>"
    shared = f'<multiRef id="a" soapenc:root="0" {RPC}>1</multiRef><b:shared id="b">2</b:shared>'
    assert received(old["count"], f"{shared}{root}{shared}") == {"count": None}
    for body in (f"{root}<b:more/>", f"{shared}{root}<b:more/>"):
        warnings: list[str] = []
        assert received(old["count"], body, warnings=warnings) == {"count": None}
        assert warnings == ["more: it stands beside the body's element, and is left out"]


def test_shared_values_where_they_are_used_first(old: dict[str, HttpCodec]) -> None:
    body = (
        f'<t:countResponse {RPC}><count xsi:type="b:Count"><precinct>7</precinct>'
        '<candidates soapenc:arrayType="b:Candidate[1]"><x href="#w"/></candidates>'
        f'<winner id="w" xsi:type="b:Candidate">{ADA_XML}</winner><closed>1</closed></count></t:countResponse>'
    )
    count = {"precinct": "7", "candidates": [ADA], "winner": ADA, "closed": True}
    assert received(old["count"], body) == {"count": count}


def test_the_names_of_an_answers_parts_do_not_count(old: dict[str, HttpCodec]) -> None:
    assert received(old["add"], "<gensym><s-gensym3>5</s-gensym3></gensym>") == {"addReturn": 5}
    body = '<x><total xsi:type="xsd:integer">9</total><result soapenc:arrayType="xsd:string[1]"><i>a</i></result></x>'
    assert received(old["names"], body) == {"return": ["a"], "total": "9"}


@pytest.mark.parametrize(
    ("attributes", "items", "value"),
    [
        ("", "<i>a</i><i>b</i>", ["a", "b"]),
        ('soapenc:arrayType="xsd:string[]"', "<i>a</i>", ["a"]),
        ('soapenc:arrayType="xsd:string[4]" soapenc:offset="[1]"', "<i>a</i><i>b</i>", [None, "a", "b", None]),
        ('soapenc:arrayType="xsd:string[3]"', "<i>a</i>", ["a", None, None]),
        (
            'soapenc:arrayType="xsd:string[4]"',
            '<i soapenc:position="[3]">d</i><i soapenc:position="[1]">b</i>',
            [None, "b", None, "d"],
        ),
        ('soapenc:arrayType="xsd:string[]"', '<i soapenc:position="[2]">c</i>', [None, None, "c"]),
        ('enc:itemType="xsd:string" enc:arraySize="2"', "<i>a</i><i>b</i>", ["a", "b"]),
        ('enc:itemType="xsd:string" enc:arraySize="*"', "<i>a</i>", ["a"]),
    ],
)
def test_partial_and_sparse_arrays(old: dict[str, HttpCodec], attributes: str, items: str, value: Any) -> None:
    body = f"<x><return {attributes}>{items}</return><total>1</total></x>"
    assert received(old["names"], body) == {"return": value, "total": "1"}


def test_a_sparse_array_of_two_dimensions(old: dict[str, HttpCodec]) -> None:
    grid = '<grid soapenc:arrayType="xsd:int[2,2]"><i soapenc:position="[1,0]">3</i></grid>'
    body = f'<x>{grid}<rows soapenc:arrayType="xsd:int[][0]"/></x>'
    assert received(old["grid"], body) == {"grid": [[None, None], [3, None]], "rows": []}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('<r id="a"><tree href="#b"/></r>', "refers to a value that is not in it"),
        (
            '<r><tree href="#a"/></r><m id="a"><label>x</label><children soapenc:arrayType="b:Node[1]">'
            '<i href="#a"/></children></m>',
            "in a circle",
        ),
        (
            '<r><tree id="a"><label>x</label><children soapenc:arrayType="b:Node[1]">'
            '<i href="#a"/></children></tree></r>',
            "in a circle",
        ),
        (
            '<r><tree href="#m0"/></r>'
            + "".join(
                f'<m id="m{n}"><label>x</label><children>' + f'<i href="#m{n + 1}"/>' * 10 + "</children></m>"
                for n in range(12)
            )
            + '<m id="m12"><label>x</label></m>',
            "the same values too often",
        ),
        (
            '<r><tree href="#m0"/></r>'
            + "".join(f'<m id="m{n}"><children><i href="#m{n + 1}"/></children></m>' for n in range(400))
            + '<m id="m400"/>',
            "too deeply",
        ),
    ],
    ids=["nowhere", "circle", "circle in place", "too many", "too deep"],
)
def test_references_that_can_not_be_followed(old: dict[str, HttpCodec], body: str, told: str) -> None:
    with pytest.raises(BadReply, match=told):
        received(old["tree"], body)


@pytest.mark.parametrize(
    "attributes",
    [
        'soapenc:arrayType="xsd:string[99999999]"',
        'soapenc:arrayType="xsd:string[]" soapenc:offset="[99999999]"',
        'enc:itemType="xsd:string" enc:arraySize="99999 99999"',
    ],
)
def test_arrays_that_claim_more_than_they_hold(old: dict[str, HttpCodec], attributes: str) -> None:
    with pytest.raises(BadReply, match="claim far more"):
        received(old["names"], f"<x><return {attributes}><i>a</i></return><total>1</total></x>")


def test_a_place_outside_of_the_array(old: dict[str, HttpCodec]) -> None:
    grid = '<grid soapenc:arrayType="xsd:int[2,2]"><i soapenc:position="[5,0]">3</i></grid>'
    with pytest.raises(BadReply, match="outside of itself"):
        received(old["grid"], f"<x>{grid}</x>")


def test_absurd_sizes_are_no_sizes(old: dict[str, HttpCodec]) -> None:
    body = '<x><return soapenc:arrayType="xsd:string[99999999999999999999]"><i>a</i></return><total>1</total></x>'
    assert received(old["names"], body) == {"return": ["a"], "total": "1"}


def test_soap_12(new: dict[str, HttpCodec]) -> None:
    wrapper = sent(new["grid"], {"grid": [[1, 2]], "rows": [[1]]})
    assert wrapper.get("{http://www.w3.org/2003/05/soap-envelope}encodingStyle") == ENC12
    assert wrapper[0].get(f"{{{ENC12}}}arraySize") == "1 2"
    assert wrapper[0].get(f"{{{ENC12}}}itemType", "").endswith(":int")
    assert wrapper[1].get(f"{{{ENC12}}}itemType", "").endswith(":Array")
    body = '<x><tree enc:ref="a"/></x><m enc:id="a"><label>x</label><children xsi:nil="1"/></m>'
    assert received(new["tree"], body) == {"tree": {"label": "x", "children": None}}


def test_every_fault_is_told(old: dict[str, HttpCodec]) -> None:
    assert faults(old["count"], {"count": {"candidates": [{**ADA, "party": "X"}, 5], "winner": {}, "a": 1}}) == {
        "/count/precinct": "it is required",
        "/count/candidates/0/party": "'X' is not one of RED, BLUE",
        "/count/candidates/1": "an object is wanted, not a number",
        "/count/winner/name": "it is required",
        "/count/winner/party": "it is required",
        "/count/winner/votes": "it is required",
        "/count/closed": "it is required",
        "/count/a": "the schema has no such property here",
    }
    assert faults(old["grid"], {"grid": [[1], [2, 3], 4], "rows": [1]}) == {
        "/grid/0": "it must hold 2 items as its neighbours do, not 1",
        "/grid/2": "an array is wanted, not a number",
        "/rows/0": "an array is wanted, not a number",
    }
    assert faults(old["names"], {"names": {"a": 1}}) == {
        "/names": "an array is wanted, not an object",
        "/limit": "it is required",
    }
    assert faults(old["any"], {"value": {"@xsi:type": "Nothing"}, "list": [], "map": {"item": []}}) == {
        "/value/@xsi:type": "no type 'Nothing' can stand here"
    }


def test_json_values_of_no_declared_type_say_what_they_are(old: dict[str, HttpCodec]) -> None:
    value = sent(old["any"], {"value": ["a", 1, 2**40, 2**70, 1.5, True, None], "list": [], "map": {"item": []}})[0]
    types = [each.get(f"{{{XSI}}}type", "").partition(":")[2] for each in value]
    assert types == ["string", "int", "long", "integer", "double", "boolean", ""]


def test_a_fault_with_a_typed_detail(old: dict[str, HttpCodec]) -> None:
    fault = (
        f'<s:Fault><faultcode xsi:type="xsd:QName">s:Client</faultcode><faultstring>no</faultstring><detail>'
        f'<fault href="#f"/></detail></s:Fault><multiRef id="f" soapenc:root="0" {RPC} xsi:type="b:Failure">'
        '<reason xsi:type="xsd:string">closed</reason></multiRef>'
    )
    with pytest.raises(UpstreamFault) as caught:
        received(old["count"], fault)
    assert caught.value.status == 400
    told = {"code": "Client", "reason": "no", "detail": {"fault": {"reason": "closed"}}}
    assert caught.value.members["fault"] == told


def test_types_of_drafts_and_of_the_encoding(old: dict[str, HttpCodec]) -> None:
    body = '<x><addReturn xsi:type="soapenc:int">5</addReturn></x>'
    assert received(old["add"], body) == {"addReturn": 5}


async def test_what_is_described_is_what_is_meant(bind: Bind) -> None:
    operations = {each.name: each for each in await bind("encoded.wsdl", options={"port": "Old"})}
    for operation, _, value in TRIPS.values():
        doc = operations[operation].describe()
        schema = doc.operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": {"schemas": doc.schemas}}).validate(value)


async def test_a_shape_sees_an_array_as_its_items(bind: Bind) -> None:
    shape = {"flatten": ["count"], "rename": {"count/candidates": "list", "count/candidates/name": "who"}}
    request = {**shape, "constants": {"count/precinct": "7", "count/candidates/party": "RED"}}
    options = {"port": "Old", "operation": "count", "request": request, "reply": shape}
    operation = (await bind("encoded.wsdl", options=options))[0]
    codec = codec_of(operation)
    value = {"list": [{"who": "Ada", "votes": "12"}, None], "winner": None, "closed": True}
    xml = TRIPS["a struct with an array, a nil and a derived type"][1]
    body = sent(codec, value)[0]
    assert [child.tag for child in body] == ["precinct", "candidates", "winner", "closed"]
    assert infoset(body[1][0]) == infoset(parsed(f'<item xsi:type="b:Candidate">{ADA_XML}</item>'))
    assert faults(codec, {**value, "list": [{"who": 5, "name": "x", "party": "RED"}]}) == {
        "/list/0/name": "the schema has no such property here",
        "/list/0/party": "it is set by the route",
        "/list/0/who": "a string is wanted, not a number",
        "/list/0/votes": "it is required",
    }
    answer = received(codec, f'<t:countResponse {RPC} xmlns:t="urn:tally">{xml}</t:countResponse>')
    who = {"who": "Ada", "party": "RED", "votes": "12"}
    assert answer == {
        "precinct": "7",
        "list": [who, {"@xsi:type": "Incumbent", **who, "since": 1990}, None],
        "winner": None,
        "closed": True,
    }
    doc = operation.describe()
    components = {"schemas": doc.schemas}
    for part, good in ((doc.operation["requestBody"], value), (doc.operation["responses"]["200"], answer)):
        media = part["content"]["application/json"]
        judge = Draft202012Validator({**media["schema"], "components": components})
        judge.validate(good)
        judge.validate(media["example"])
    sent(codec, doc.operation["requestBody"]["content"]["application/json"]["example"])


@pytest.mark.parametrize(
    ("shape", "grid"), [("[3,0]", [[], [], []]), ("[0,3]", []), ("[0]", []), ("[2,2]", [[None, None], [None, None]])]
)
def test_arrays_without_items(old: dict[str, HttpCodec], shape: str, grid: Any) -> None:
    """A length of zero is a length: three rows that hold nothing are three rows."""
    xml = f'<x><grid soapenc:arrayType="xsd:int{shape}"/><rows/></x>'
    assert received(old["grid"], xml) == {"grid": grid, "rows": []}


def test_rows_without_items_are_bounded(old: dict[str, HttpCodec]) -> None:
    with pytest.raises(BadReply, match="claim far more items"):
        received(old["grid"], '<x><grid soapenc:arrayType="xsd:int[99999999,0]"/><rows/></x>')


def test_several_items_of_one_place(old: dict[str, HttpCodec]) -> None:
    warnings: list[str] = []
    items = '<i soapenc:position="[0]">a</i><i soapenc:position="[0]">b</i>'
    body = f'<x><return soapenc:arrayType="xsd:string[1]">{items}</return><total>1</total></x>'
    assert received(old["names"], body, warnings=warnings) == {"return": ["b"], "total": "1"}
    assert len(warnings) == 1
    assert "several of its items have one place" in warnings[0]


def test_a_reference_to_a_reference(old: dict[str, HttpCodec]) -> None:
    body = '<x><addReturn href="#a"/></x><m id="a" href="#b"/><m id="b" xsi:type="xsd:int">7</m>'
    assert received(old["add"], body) == {"addReturn": 7}
    with pytest.raises(BadReply, match="in a circle"):
        received(old["add"], '<x><addReturn href="#a"/></x><m id="a" href="#b"/><m id="b" href="#a"/>')


def test_the_whole_answer_by_reference(old: dict[str, HttpCodec]) -> None:
    """And a shared value before the answer is not taken for it."""
    assert received(old["add"], '<x href="#a"/><m id="a"><addReturn>7</addReturn></m>') == {"addReturn": 7}
    body = '<m id="a" xsi:type="xsd:int">7</m><x><addReturn href="#a"/></x>'
    assert received(old["add"], body) == {"addReturn": 7}


def test_what_a_soap_12_answer_says_is_its_result(new: dict[str, HttpCodec]) -> None:
    """SOAP 1.2 part 2, section 4.2.1: ``rpc:result`` names the part that is the result; it is none itself."""
    result = '<r:result xmlns:r="http://www.w3.org/2003/05/soap-rpc">addReturn</r:result>'
    assert received(new["add"], f"<x>{result}<addReturn>7</addReturn></x>") == {"addReturn": 7}


def test_null_as_drafts_wrote_it(old: dict[str, HttpCodec]) -> None:
    """SOAP 1.1 itself was written for the 1999 draft of XML Schema."""
    null = '<tree xmlns:old="http://www.w3.org/1999/XMLSchema-instance"><label>x</label><children old:null="1"/></tree>'
    assert received(old["tree"], f"<x>{null}</x>") == {"tree": {"label": "x", "children": None}}


@pytest.mark.parametrize(
    "value",
    [
        {"@xsi:type": "Names", "#items": ["a", "b"]},
        {"@xsi:type": "ArrayOfCandidate", "#items": [ADA]},
        {"@xsi:type": "Grid", "#items": [[1, 2], [3, 4]]},
    ],
)
def test_named_arrays_where_anything_is_allowed(old: dict[str, HttpCodec], value: Any) -> None:
    """What JSON says comes back as it was."""
    whole = {"value": value, "list": [], "map": {"item": []}}
    element = sent(old["any"], whole)
    own = etree.tostring(element).decode()
    assert received(old["any"], own)["value"] == value


async def test_an_abstract_type_that_names_no_other(bind: Bind, tmp_path: Path) -> None:
    contract = (WSDL_DIR / "encoded.wsdl").read_text()
    (tmp_path / "a.wsdl").write_text(contract.replace('name="Node"', 'name="Node" abstract="true"'))
    operations = await bind("a.wsdl", folder=tmp_path, options={"port": "Old"})
    codec = next(codec_of(each) for each in operations if each.name == "tree")
    warnings: list[str] = []
    for attribute in ("", ' id="a"'):
        body = f'<x><tree{attribute}><label>x</label><children xsi:nil="1"/></tree></x>'
        assert received(codec, body, warnings=warnings) == {"tree": {"label": "x", "children": None}}
    assert ["its type is abstract" in warning for warning in warnings] == [True, True]
