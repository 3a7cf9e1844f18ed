"""Random schemas of the compiler's whole grammar, random instances: XML to JSON and back is the same infoset, and lxml
finds both valid."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree

from tests.soap_kit import make_echo

XSI = 'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns:t="urn:t" xmlns:o="urn:o"'

#: Simple types with texts that keep their form in JSON.
SIMPLE: dict[str, list[str]] = {
    "xs:string": ["", "x", " a &amp; b ", "é&lt;"],
    "xs:int": ["0", "-5", "2147483647"],
    "xs:long": ["9223372036854775807"],
    "xs:decimal": ["1.50", "-0.0"],
    "xs:double": ["1.5", "INF", "1.50", "1.0E10"],
    "xs:boolean": ["true", "false"],
    "xs:date": ["2026-11-03Z"],
    "xs:anyURI": ["urn:x?y#z"],
    "xs:hexBinary": ["0aFF", ""],
    "t:List": ["1 2 3", ""],
    "t:Code": ["AB", "CD"],
    "t:Short": ["abc", "de"],
    "t:Union": ["5", "AB", "1.5"],
}
#: What a value of each type may be by default, or always.
CONSTANTS = {"xs:int": "7", "xs:string": "x y", "t:Code": "AB"}
GLOBALS = """
<xs:simpleType name="List"><xs:list itemType="xs:int"/></xs:simpleType>
<xs:simpleType name="Code"><xs:restriction base="xs:string"><xs:enumeration value="AB"/><xs:enumeration value="CD"/>
</xs:restriction></xs:simpleType>
<xs:simpleType name="Short"><xs:restriction base="xs:token"><xs:pattern value="[a-z]+"/><xs:maxLength value="3"/>
</xs:restriction></xs:simpleType>
<xs:simpleType name="Union"><xs:union memberTypes="xs:int t:Code xs:decimal"/></xs:simpleType>
<xs:attribute name="global" type="xs:int"/><xs:element name="lax" type="xs:int"/>
"""
OCCURS = [(1, 1), (0, 1), (0, None), (1, 3), (2, 2), (0, 2)]


def occurs(low: int, high: int | None) -> str:
    return f' minOccurs="{low}" maxOccurs="{"unbounded" if high is None else high}"'


class Builder:
    """Draws a schema, and then instances of it. Without `whole`, one of anonymous types and of elements in a row."""

    def __init__(self, draw: st.DrawFn, *, whole: bool) -> None:
        self.draw, self.whole = draw, whole
        self.names = 0
        self.made: dict[str, dict[str, Any]] = {}
        self.globals: list[str] = []
        #: named types and the derived ones that may stand in for each; heads of substitution groups and their members
        self.types: dict[str, tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = {}
        self.heads: dict[str, list[tuple[str, Any]]] = {}

    def pick(self, options: list[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def fresh(self, letter: str) -> str:
        self.names += 1
        return f"{letter}{self.names}"

    def element(self, depth: int) -> dict[str, Any]:
        """A new element, or now and then one again that there is already: then order matters. The schema must still
        be deterministic, which lxml judges."""
        if self.made and self.pick([False, False, False, True]):
            again = self.pick(list(self.made.values()))
            if isinstance(again["type"], str):
                return dict(again)
        kinds = ["simple", "simple", "complex", "named", "head"] if self.whole else ["simple", "simple", "complex"]
        kind = self.pick(kinds) if depth < 3 else "simple"
        if kind == "head":
            return {"kind": "element", "ref": self.head(depth), "type": "", "nillable": False}
        type_: Any = self.pick(list(SIMPLE))
        may_be_constant = type_ in CONSTANTS and kind == "simple" and self.whole
        constant = self.pick(["", "", "", "default", "fixed"]) if may_be_constant else ""
        if kind != "simple":
            type_ = self.complex(depth) if kind == "complex" else {"kind": "named", "name": self.named(depth)}
        made = {
            "kind": "element",
            "name": self.fresh("e"),
            "type": type_,
            "nillable": not constant and self.pick([False, False, True]),
            "constant": constant,
            "form": self.pick(["qualified", "qualified", "unqualified"]) if self.whole else "qualified",
        }
        self.made[made["name"]] = made
        return dict(made)

    def complex(self, depth: int) -> dict[str, Any]:
        """An anonymous type."""
        attributes = [
            (self.fresh("a"), self.pick(list(SIMPLE)), self.pick([True, False])) for _ in range(self.pick([0, 0, 1, 2]))
        ]
        kind = self.pick(["children", "children", "children", "text", "mixed", *(["all"] if self.whole else [])])
        made = {"kind": kind, "attributes": attributes, "open": self.whole and self.pick([False, False, True])}
        if kind == "text":
            return made | {"type": self.pick(list(SIMPLE))}
        if kind == "all":
            parts = [{**self.element(3), "occurs": self.pick([(1, 1), (0, 1)])} for _ in range(self.pick([1, 2, 3]))]
            names = [part["name"] for part in parts]
            parts = [part for at, part in enumerate(parts) if part["name"] not in names[:at]]
            return made | {"content": {"kind": "all", "parts": parts, "occurs": self.pick([(1, 1), (0, 1)])}}
        return made | {"content": self.group(depth + 1, self.pick([(1, 1), (1, 1), (0, 1), (0, None)]))}

    def named(self, depth: int) -> str:
        """A global type, perhaps with types that extend it."""
        name, base = self.fresh("T"), self.complex(depth + 1)
        self.types[name] = base, []
        self.globals.append(self.complex_xsd(base, f' name="{name}"'))
        for _ in range(self.pick([0, 1, 2]) if base["kind"] in ("children", "mixed") else 0):
            more: dict[str, Any] = self.complex(3) | {"kind": base["kind"]}
            if "content" not in more or more["content"]["kind"] == "all":
                more["content"] = self.group(3, (1, 1))
            derived = self.fresh("D")
            mixed = ' mixed="true"' if base["kind"] == "mixed" else ""
            self.globals.append(
                f'<xs:complexType name="{derived}"><xs:complexContent{mixed}><xs:extension base="t:{name}">'
                f"{self.particle_xsd(more['content'])}{self.attributes_xsd(more)}</xs:extension></xs:complexContent>"
                "</xs:complexType>"
            )
            self.types[name][1].append((derived, more))
        return name

    def head(self, depth: int) -> str:
        """A substitution group of which the head may be abstract."""
        name, type_ = self.fresh("h"), self.named(depth)
        abstract = self.pick([True, False])
        self.globals.append(f'<xs:element name="{name}" type="t:{type_}" abstract="{str(abstract).lower()}"/>')
        members: list[tuple[str, Any]] = [] if abstract else [(name, {"kind": "named", "name": type_})]
        for _ in range(self.pick([1, 2])):
            member = self.fresh("m")
            self.globals.append(f'<xs:element name="{member}" type="t:{type_}" substitutionGroup="t:{name}"/>')
            members.append((member, {"kind": "named", "name": type_}))
        self.heads[name] = members
        return name

    def group(self, depth: int, count: tuple[int, int | None]) -> dict[str, Any]:
        parts: list[Any] = []
        for _ in range(self.pick([1, 2, 3])):
            kind = self.pick(["element", "element", "element", "group", *(["any"] if self.whole else [])])
            if kind == "any":
                rule = self.pick(
                    [("urn:o", "lax"), ("urn:o", "skip"), ("##other", "lax"), ("##targetNamespace", "lax")]
                )
                parts.append({"kind": "any", "rule": rule, "occurs": self.pick(OCCURS)})
            elif kind == "group" and depth < 3:
                parts.append(self.group(depth + 1, self.pick(OCCURS)))
            else:
                parts.append({**self.element(depth), "occurs": self.pick(OCCURS)})
        return {"kind": self.pick(["sequence", "sequence", "choice"]), "parts": parts, "occurs": count}

    # --- schema ---

    def particle_xsd(self, part: dict[str, Any]) -> str:
        if part["kind"] == "any":
            space, process = part["rule"]
            return f'<xs:any namespace="{space}" processContents="{process}"{occurs(*part["occurs"])}/>'
        if part["kind"] == "element":
            if "ref" in part:
                return f'<xs:element ref="t:{part["ref"]}"{occurs(*part["occurs"])}/>'
            nil = ' nillable="true"' if part["nillable"] else ""
            if part["constant"]:
                nil += f' {part["constant"]}="{CONSTANTS[part["type"]]}"'
            head = f'<xs:element name="{part["name"]}" form="{part["form"]}"{nil}{occurs(*part["occurs"])}'
            if isinstance(part["type"], str):
                return f'{head} type="{part["type"]}"/>'
            if part["type"]["kind"] == "named":
                return f'{head} type="t:{part["type"]["name"]}"/>'
            return f"{head}>{self.complex_xsd(part['type'])}</xs:element>"
        inner = "".join(map(self.particle_xsd, part["parts"]))
        return f"<xs:{part['kind']}{occurs(*part['occurs'])}>{inner}</xs:{part['kind']}>"

    def attributes_xsd(self, type_: dict[str, Any]) -> str:
        found = "".join(
            f'<xs:attribute name="{name}" type="{simple}" use="{"required" if needed else "optional"}"/>'
            for name, simple, needed in type_["attributes"]
        )
        return found + ('<xs:anyAttribute namespace="##other" processContents="lax"/>' if type_["open"] else "")

    def complex_xsd(self, type_: dict[str, Any], name: str = "") -> str:
        attributes = self.attributes_xsd(type_)
        if type_["kind"] == "text":
            return (
                f'<xs:complexType{name}><xs:simpleContent><xs:extension base="{type_["type"]}">{attributes}'
                "</xs:extension></xs:simpleContent></xs:complexType>"
            )
        mixed = ' mixed="true"' if type_["kind"] == "mixed" else ""
        return f"<xs:complexType{name}{mixed}>{self.particle_xsd(type_['content'])}{attributes}</xs:complexType>"

    # --- instances ---

    def times(self, count: tuple[int, int | None]) -> int:
        low, high = count
        return int(self.pick([low, low, min(low + 1, high if high is not None else low + 1), high or low + 2]))

    def element_xml(self, name: str, type_: Any, nillable: bool, form: str = "qualified", constant: str = "") -> str:
        """An element with its namespace declared where it stands."""
        head = f'{name} xmlns="{"urn:t" if form == "qualified" else ""}"'
        nil = nillable and self.pick([False, False, True])
        if isinstance(type_, str):
            texts = {"fixed": [CONSTANTS.get(type_, "")], "default": ["", *SIMPLE[type_]]}.get(constant, SIMPLE[type_])
            return f'<{head} i:nil="true"/>' if nil else f"<{head}>{self.pick(texts)}</{name}>"
        more: dict[str, Any] | None = None
        if type_["kind"] == "named":
            type_, derived = self.types[type_["name"]]
            if derived and self.pick([False, True]):
                chosen, more = self.pick(derived)
                head += f' i:type="t:{chosen}"'
        for each in (type_, more):
            head += self.attributes_xml(each) if each is not None else ""
        if nil:
            return f'<{head} i:nil="true"/>'
        if type_["kind"] == "text":
            return f"<{head}>{self.pick(SIMPLE[type_['type']])}</{name}>"
        parts = self.particle_xml(type_["content"]) + (self.particle_xml(more["content"]) if more is not None else [])
        text = (lambda: self.pick(["", " t ", "\n"])) if type_["kind"] == "mixed" else str
        return f"<{head}>{text()}{''.join(part + text() for part in parts)}</{name}>"

    def attributes_xml(self, type_: dict[str, Any]) -> str:
        found = "".join(
            f' {attribute}="{self.pick(SIMPLE[simple])}"'
            for attribute, simple, needed in type_["attributes"]
            if needed or self.pick([True, False])
        )
        # One wildcard may stand in a type and in one that extends it; an attribute can't be there twice.
        return found + (f' o:{self.fresh("z")}="z"' if type_["open"] and self.pick([True, False]) else "")

    def particle_xml(self, part: dict[str, Any]) -> list[str]:
        found: list[str] = []
        for _ in range(self.times(part["occurs"])):
            if part["kind"] == "any":
                found.append(self.wild_xml(part["rule"][0]))
            elif "ref" in part:
                name, type_ = self.pick(self.heads[part["ref"]])
                found.append(self.element_xml(name, type_, False))
            elif part["kind"] == "element":
                xml = self.element_xml(part["name"], part["type"], part["nillable"], part["form"], part["constant"])
                found.append(xml)
            elif part["kind"] == "choice":
                found += self.particle_xml(self.pick(part["parts"]))
            elif part["kind"] == "all":
                children = [xml for child in part["parts"] for xml in self.particle_xml(child)]
                found += self.draw(st.permutations(children))
            else:
                found += [xml for child in part["parts"] for xml in self.particle_xml(child)]
        return found

    def wild_xml(self, space: str) -> str:
        if space == "##targetNamespace":
            return f'<lax xmlns="urn:t">{self.pick(SIMPLE["xs:int"])}</lax>'
        return str(
            self.pick(
                [
                    "<o:w/>",
                    '<o:w k="v">text</o:w>',
                    '<o:w><o:v> x </o:v><lax xmlns="">5</lax></o:w>',
                    "<o:w>mixed <o:v/> text</o:w>",
                    '<o:w i:nil="true"/>',
                ]
            )
        )


@st.composite
def services(draw: st.DrawFn, *, whole: bool = True) -> tuple[str, list[str]]:
    """The content of a schema whose root is ``r``, and some instances."""
    builder = Builder(draw, whole=whole)
    root = builder.complex(0)
    element = f'<xs:element name="r">{builder.complex_xsd(root)}</xs:element>'
    schema = GLOBALS + "".join(builder.globals) + element
    instances = [builder.element_xml("r", root, False).replace('<r xmlns="urn:t"', f"<r {XSI}", 1) for _ in range(3)]
    return schema, instances


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(services(), st.booleans())
def test_round_trip(service: tuple[str, list[str]], strict: bool) -> None:
    schema, instances = service
    with tempfile.TemporaryDirectory() as folder:
        try:
            echo = make_echo(Path(folder), schema, strict=strict)
        except etree.XMLSchemaParseError:
            assume(False)  # two places for one element: not deterministic
        doc = echo.operation.describe()
        described = doc.operation["requestBody"]["content"]["application/json"]
        judge = Draft202012Validator({**described["schema"], "components": {"schemas": doc.schemas}})
        for xml in instances:
            # Valid as it was made; yet libxml2 miscounts where groups that may be empty repeat within others.
            assume(echo.schema.validate(etree.fromstring(xml.replace("<r", '<r xmlns="urn:t"', 1))))
            judge.validate(echo.trip(xml))
        if "example" in described:
            judge.validate(described["example"])
            echo.send(described["example"])
