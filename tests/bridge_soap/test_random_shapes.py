"""Random schemas in random shapes: what a client gives comes back as it was, and the document tells the truth of it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree

from bridge.api import BindError, InvalidBody
from bridge_soap.components import ComplexType
from bridge_soap.contract import Contract
from bridge_soap.xsd.properties import Property
from tests.bridge_soap.test_random import services
from tests.bridge_soap.test_shape import FLAT, ORDER
from tests.soap_kit import Echo, make_echo


def paths_of(folder: Path) -> list[tuple[str, Property]]:
    """Every path of the echo's body."""
    contract = Contract("echo.wsdl", folder)
    root = contract.schemas.element("{urn:t}r")
    found: list[tuple[str, Property]] = []

    def walk(place: Property, path: str) -> None:
        for key, each in contract.properties.below(place).items():
            found.append((f"{path}{key}", each))
            walk(each, f"{path}{key}/")

    walk(Property("r", "element", root), "")
    return found


def drawn_shape(draw: st.DrawFn, paths: list[tuple[str, Property]]) -> dict[str, Any]:
    """A shape that binds, if names don't collide."""
    flatten = []
    for path, place in paths:
        parent = path.rpartition("/")[0]
        in_items = parent.rpartition("/")[2] in ("#items", "#content")
        type_ = place.element.type if place.element is not None and not (place.many or in_items) else None
        if isinstance(type_, ComplexType) and draw(st.booleans()):
            flatten.append(path)
    free = [path for path, _ in paths if path not in flatten]
    rename = {path: f"c{number}" for number, path in enumerate(free) if draw(st.booleans())}
    return {"flatten": flatten, "rename": rename}


def judge_of(service: Echo, where: str = "request") -> tuple[Draft202012Validator, dict[str, Any]]:
    doc = service.operation.describe()
    part = doc.operation["requestBody"] if where == "request" else doc.operation["responses"]["200"]
    media = part["content"]["application/json"]
    Draft202012Validator.check_schema({**media["schema"], "components": {"schemas": doc.schemas}})
    return Draft202012Validator({**media["schema"], "components": {"schemas": doc.schemas}}), media


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(services(whole=False), st.data())
def test_there_and_back(service: tuple[str, list[str]], data: st.DataObject) -> None:
    schema, instances = service
    with tempfile.TemporaryDirectory() as folder:
        try:
            plain = make_echo(Path(folder), schema)
        except etree.XMLSchemaParseError:
            assume(False)
        shape = data.draw(st.composite(drawn_shape)(paths_of(Path(folder))))
        try:
            shaped = make_echo(Path(folder), schema, request=shape, reply=shape)
        except BindError as error:
            assert "would both be" in str(error)  # noqa: PT017  # two names that meet: nothing to shape
            return
        tree = shaped.operation.codec._plan.shape  # type: ignore[union-attr]  # SoapCodec's
        judge, media = judge_of(shaped)
        judge_reply, _ = judge_of(shaped, "reply")
        for xml in instances:
            assume(plain.schema.validate(etree.fromstring(xml.replace("<r", '<r xmlns="urn:t"', 1))))
            canonical, value = plain.receive(xml), shaped.receive(xml)
            assert tree.outward(canonical) == value
            judge_reply.validate(value)
            faults: list[tuple[str, str]] = []
            again = tree.inward(value, None, faults)
            assert faults == []
            assert tree.outward(again) == value
            try:
                shaped.send(value)
            except InvalidBody as error:
                # Only where nil was flattened away does the schema ask for more than the reply gave.
                assert '"true"' in xml, error  # noqa: PT017
            else:
                judge.validate(value)
            if again == canonical:
                shaped.send(value)
        if "example" in media:
            try:
                shaped.send(media["example"])
            except InvalidBody:
                # An example with nil in it, flattened.
                plain_example = judge_of(plain)[1]["example"]
                assert "None" in str(plain_example)
            else:
                judge.validate(media["example"])


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "1"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(
            ["Version", "id", "Line", "Sku", "Code", "Street", "weight", "weightUnit", "Order", "Head", "#nil", "Qty",
             "#items", "#headers", "@xsi:type", "Note", "Mail", "Number", "B", "A", "Tag", "Thing"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=5, max_size=5))
def test_any_body_is_sent_or_told(values: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        more = {"constants": {"Order/Line/Qty": 7}, "defaults": {"Head/Channel": "c", "Order/Ship/Zip": "z"}}
        service = make_echo(Path(folder), ORDER, request={**FLAT, **more})
    for value in values:
        with contextlib.suppress(InvalidBody):
            service.send(value)  # what is sent is valid, whatever was given
