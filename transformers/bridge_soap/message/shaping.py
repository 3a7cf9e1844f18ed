"""Compiles a spec's ``request`` and ``reply`` to a `Shape`, checked against the schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.api import ABSENT, BindError, Derived, Fault, KeyPath, Secret, is_origin, parse_pointer, read_origin
from bridge_soap.components import ComplexType, Element, SimpleType
from bridge_soap.contract import Body, Contract
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import settled
from bridge_soap.encode.writing import Faults
from bridge_soap.message.shape import Fill, HiddenConstant, PropertyView, Shape
from bridge_soap.options import ReplyShape, RequestShape
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.properties import Properties, Property, steps_of

#: Clients' names can't start with these, which have a meaning in the JSON of a schema (CONTRACT, section 6).
_MEANING = ("#", "@", "{", "$")


@dataclass(eq=False, slots=True)
class _Mark:
    """A property in the spec, or one on the path to it."""

    place: Property
    path: str
    inner: dict[str, _Mark] = field(default_factory=dict[str, "_Mark"])
    name: str = ""
    flat: KeyPath = ()
    constant: Any = ABSENT
    default: Any = ABSENT

    @property
    def whole(self) -> bool:
        """The route sets its whole value."""
        return self.constant is not ABSENT or self.default is not ABSENT


def properties_of(contract: Contract, body: Body) -> Properties:
    """The properties of a body's types, in the body's encoding."""
    return contract.properties if body.encoding is None else Properties(contract.graph, encoded=True)


class Shaper:
    """Compiles the shape of one direction of an operation.

    :param root: the body's element, or a substitute with its content.
    :ivar properties: those of the body's types.
    :ivar secrets: the constants that are secrets.
    """

    def __init__(self, contract: Contract, body: Body, root: Element, home: Path, *, reply: bool) -> None:
        self._contract, self._home, self._reply = contract, home, reply
        self._encoders = contract.encoders if body.encoding is None else contract.encoded(body.encoding)
        self._nils = body.encoding is not None  # in the SOAP encoding anything may be nil
        self.properties = properties_of(contract, body)
        self._path = ("transform", "soap", "reply" if reply else "request")
        self._root = _Mark(Property(root.name, "element", root), "")
        self._faults: list[Fault] = []
        self.secrets: list[HiddenConstant] = []

    def shape(self, options: RequestShape | ReplyShape) -> Shape:
        """:raises bridge.api.BindError: paths lead nowhere, names collide, or values violate the schema; with all
        faults."""
        for number, path in enumerate(options.flatten):
            self._mark(path, ("flatten", str(number)), self._flatten)
        for path, name in options.rename.items():
            self._mark(path, ("rename", path), lambda mark, key, name=name: self._rename(mark, key, name))
        if isinstance(options, RequestShape):
            for path, value in options.constants.items():
                self._mark(path, ("constants", path), lambda mark, key, v=value: self._constant(mark, key, v))
            for path, value in options.defaults.items():
                self._mark(path, ("defaults", path), lambda mark, key, v=value: self._default(mark, key, v))
        self._stop()
        self._consistent(self._root)
        self._stop()
        shape = self._build(self._root)
        self._stop()
        return shape

    def _stop(self) -> None:
        if self._faults:
            raise BindError(self._faults)

    def _fault(self, key: KeyPath, why: str) -> None:
        self._faults.append(Fault(why, self._path + key))

    # --- the spec's entries ---

    def _mark(self, path: str, key: KeyPath, note: Any) -> None:
        steps = steps_of(path)
        if not steps:
            self._fault(key, "a path is wanted: names of properties with slashes between them")
            return
        mark, walked = self._root, ""
        for step in steps:
            below = self.properties.below(mark.place)
            if step not in below:
                where = f"{walked} has" if walked else "the body has"
                hint = f"; #items/{step} is one" if "#items" in below and step in below["#items"].inner else ""
                self._fault(key, f"{where} no property {step!r}{hint or '; it has ' + (', '.join(below) or 'none')}")
                return
            walked = f"{walked}/{step}" if walked else step
            mark = mark.inner.setdefault(step, _Mark(below[step], walked))
        note(mark, key)

    def _flatten(self, mark: _Mark, key: KeyPath) -> None:
        place, element = mark.place, mark.place.element
        type_ = element.type if element is not None else None
        if place.many:
            self._fault(key, "it is an array, which can't be flattened")
        elif element is None or not isinstance(type_, ComplexType) or type_ is ANY_TYPE:
            self._fault(key, "it is no object, so there is nothing to flatten")
        elif type_.abstract or element.abstract or self.properties.others(element):
            self._fault(key, "its value may be of several types, and flattened it could not say of which")
        elif type_.any_attribute:
            self._fault(key, "it takes any attribute, so its properties have no names that are known")
        mark.flat = key

    def _rename(self, mark: _Mark, key: KeyPath, name: str) -> None:
        if not name or name.startswith(_MEANING) or not name.isprintable():
            self._fault(key, f"{name!r} can't be a name for clients: it is empty or starts like what has a meaning")
        mark.name = name

    def _constant(self, mark: _Mark, key: KeyPath, value: Any) -> None:
        mark.constant = self._value(mark, key, value)

    def _default(self, mark: _Mark, key: KeyPath, value: Any) -> None:
        if is_origin(value):
            self._fault(key, "a default is a plain value")
            value = ""
        mark.default = self._value(mark, key, value)

    def _value(self, mark: _Mark, key: KeyPath, value: Any) -> Any:
        place = mark.place
        if place.kind == "any" or place.element is None:
            self._fault(key, "a value can't be given for it as a whole")
        elif not place.settled:
            self._fault(key, "it is one of a choice or part of an optional group, which is the client's to fill")
        elif is_origin(value):
            value = self._secret(place, key, value)
        elif place.many and not isinstance(value, list):
            self._fault(key, "an array is wanted")
        else:
            bad: Faults = []
            for number, each in enumerate(value) if place.many else [(None, value)]:
                faults: Faults = []
                self._judge(place, each, faults)
                bad += [(f"/{number}{at}" if number is not None else at, why) for at, why in faults]
            for at, why in bad:
                self._fault(key + parse_pointer(at), why)
        return value

    def _judge(self, place: Property, value: Any, bad: Faults) -> None:
        element = place.element
        assert element is not None
        if place.kind == "element":
            self._encoders.element(element)(value, lambda text: None, None, bad)
            return
        assert isinstance(element.type, SimpleType)
        try:
            self._encoders.simple[element.type].text(value)
        except DatatypeError as error:
            bad.append(("", str(error)))

    def _secret(self, place: Property, key: KeyPath, value: dict[str, Any]) -> Any:
        """A constant from the environment or a file. The reason for a fault may quote it, so it is not shown."""
        origin = read_origin(value, self._path + key)
        simple = place.simple
        if not origin.secret:
            self._fault(key, "a constant may come from $env or $file; what differs by call has its place in headers")
        elif simple is None or place.many:
            self._fault(key, "a single value can't stand here")
        else:
            secret, reader, encoder = (
                Secret(origin, self._home),
                self._contract.inputs[simple],
                self._encoders.simple[simple],
            )

            def convert(text: str) -> tuple[Any, frozenset[str]]:
                value = settled(reader.value(text))
                return value, frozenset((text, encoder.text(value)))

            try:
                constant = HiddenConstant(Derived(secret, convert))
            except DatatypeError:
                self._fault(key, f"what {origin.words} holds is not of the schema's type")
            else:
                self.secrets.append(constant)
                return constant
        return ""

    # --- conflicts ---

    def _consistent(self, mark: _Mark) -> None:
        for each in mark.inner.values():
            if each.flat and (each.name or each.whole):
                self._fault(each.flat, "it is named elsewhere too, and flattened there is nothing left of it")
            if each.constant is not ABSENT and (each.name or each.default is not ABSENT):
                self._fault(("constants", each.path), "clients never see a constant, so nothing else can be said of it")
            if each.whole and each.inner:
                kind = "constants" if each.constant is not ABSENT else "defaults"
                self._fault((kind, each.path), "other paths lead into it")
            if mark.place.kind == "items" and each.flat:
                self._fault(each.flat, "an item is one property, and flattened it could not say which")
            self._consistent(each)

    # --- building ---

    def _build(self, mark: _Mark) -> Shape:
        shape = Shape()
        below = self.properties.below(mark.place)
        for key, each in mark.inner.items():
            shape.views[key] = self._view(each)
        paths: dict[str, str] = {}
        for name, steps, key, view, path in self._visible(mark, below, shape):
            other = paths.setdefault(name, path)
            if other != path:
                self._fault(self._culprit(mark, path, other), f"{other} and {path} would both be {name!r}")
            elif steps or view is not None or mark.flat:
                shape.names[name] = (steps, key, view)
        for name, steps, key, view in self._constants(mark, shape):
            if name not in paths:
                shape.names.setdefault(name, (steps, key, view))
        shape.hidden = self._hidden(mark, below) - frozenset(shape.names)
        if mark is self._root or mark.place.many:
            shape.fills += self._fills(mark)
        return shape

    def _view(self, mark: _Mark) -> PropertyView:
        node = self._build(mark) if mark.inner or mark.flat else None
        always = _sure(mark) if mark.flat or node is not None else False
        if self._reply and (self._nils or (mark.place.element is not None and mark.place.element.nillable)):
            always = False  # a reply may be nil here
        return PropertyView(
            mark.name or mark.place.key,
            node,
            bool(mark.flat),
            mark.constant is not ABSENT,
            mark.default,
            always,
        )

    def _visible(
        self, mark: _Mark, below: dict[str, Property], shape: Shape
    ) -> Iterator[tuple[str, tuple[str, ...], str, PropertyView | None, str]]:
        """Each property of a client's object: its name, the flattened objects on the path, its canonical name, its
        `PropertyView`, and its path."""
        for key in below:
            view = shape.views.get(key)
            path = f"{mark.path}/{key}" if mark.path else key
            if view is not None and view.flat:
                inner = mark.inner[key]
                assert view.node is not None
                properties = self.properties.below(inner.place)
                for name, steps, canonical, each, where in self._visible(inner, properties, view.node):
                    yield name, (key, *steps), canonical, each, where
            elif view is None or not view.constant:
                yield view.name if view is not None else key, (), key, view, path

    def _constants(self, mark: _Mark, shape: Shape) -> Iterator[tuple[str, tuple[str, ...], str, PropertyView]]:
        for key, view in shape.views.items():
            if view.constant:
                yield key, (), key, view
            elif view.flat and view.node is not None:
                for name, steps, canonical, each in self._constants(mark.inner[key], view.node):
                    yield name, (key, *steps), canonical, each

    def _culprit(self, mark: _Mark, *paths: str) -> KeyPath:
        """The spec's key that causes a collision of names: a renaming, otherwise a flattening."""
        steps = [steps_of(path[len(mark.path) + 1 :] if mark.path else path) for path in paths]
        marks = [each for way in steps for each in _along(mark, way)]
        renamings = [("rename", each.path) for each in marks if each.name]
        return next(iter([*renamings, *(each.flat for each in marks if each.flat)]), ("rename",))

    def _hidden(self, mark: _Mark, below: dict[str, Property]) -> frozenset[str]:
        hidden = {key for key, each in mark.inner.items() if each.name or each.flat or each.constant is not ABSENT}
        if "#items" in mark.inner:
            hidden |= set(below["#items"].inner)  # keyed arrays would bypass the shape
        return frozenset(hidden)

    def _fills(self, mark: _Mark) -> list[Fill]:
        """The values that the route adds to the body or an array item: required flattened objects, constants and
        defaults, at any depth outside arrays."""
        fills = [Fill(steps, key, ABSENT) for steps, key in self._needed(mark, ())]
        leaves = list(_leaves(mark, ()))
        fills += [
            Fill(tuple((each.place.key, each.place.settled) for each in way), leaf.place.key, leaf.constant, over=True)
            for way, leaf in leaves
            if leaf.constant is not ABSENT
        ]
        fills += [
            Fill(tuple((each.place.key, each.place.required) for each in way), leaf.place.key, leaf.default)
            for way, leaf in leaves
            if leaf.default is not ABSENT
        ]
        return fills

    def _needed(
        self, mark: _Mark, way: tuple[tuple[str, bool], ...]
    ) -> Iterator[tuple[tuple[tuple[str, bool], ...], str]]:
        for key, each in mark.inner.items():
            if each.flat and each.place.required:
                yield way, key
            if not each.place.many:
                yield from self._needed(each, (*way, (key, False)))


def _along(mark: _Mark, steps: tuple[str, ...]) -> Iterator[_Mark]:
    """The marks on the path `steps`."""
    for step in steps:
        inner = mark.inner.get(step)
        if inner is None:
            return
        yield inner
        mark = inner


def _leaves(mark: _Mark, way: tuple[_Mark, ...]) -> Iterator[tuple[tuple[_Mark, ...], _Mark]]:
    """The constants and defaults in one object, at any depth outside arrays."""
    for each in mark.inner.values():
        if each.whole:
            yield way, each
        elif not each.place.many:
            yield from _leaves(each, (*way, each))


def _sure(mark: _Mark) -> bool:
    """Whether an object always exists: the schema requires it, or it contains a constant. An object that is not
    flattened must come from the client, unless the route adds a value to it."""
    by_constant = mark.place.settled and any(
        leaf.constant is not ABSENT and all(each.place.settled for each in way) for way, leaf in _leaves(mark, ())
    )
    if mark.flat:
        return by_constant or mark.place.required
    by_default = mark.place.required and any(
        leaf.default is not ABSENT and all(each.place.required for each in way) for way, leaf in _leaves(mark, ())
    )
    return not mark.place.many and (by_constant or by_default)
