"""One header block that a route sends: constants are checked at bind, other values come with each call.

A constant block is text, made once. A block with a header field or a claim is encoded for each call by its element's
encoder, so that a value can't contain markup. A block with a secret from a file is encoded when the file has changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bridge.api import (
    ABSENT,
    BindError,
    Call,
    Derived,
    Fault,
    KeyPath,
    Origin,
    Secret,
    is_origin,
    parse_pointer,
    pointer_token,
    read_origin,
)
from bridge_soap.components import Element, SimpleType
from bridge_soap.contract import Contract
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.simple_in import settled
from bridge_soap.encode.writing import Faults, Writer
from bridge_soap.message.envelope import attribute
from bridge_soap.message.value_source import REQUIRED, HiddenSource, ValueSource, anything, refusal, same
from bridge_soap.wsdl.model import Version
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import TEXT
from bridge_soap.xsd.properties import Property

_SOAP = "@soap:"
_START = re.compile(r"<[^\s/>]+")


class Block:
    """A header block of a spec.

    :param path: the place of its value in the spec.
    :param home: the folder that ``$file`` is relative to.
    :ivar constant: the block's XML if it is the same for all calls, else None.
    :ivar sources: the values that come with a call; `required` has the places that the schema requires.
    :raises bridge.api.BindError: a secret is missing, or the block violates its schema; with the key of each fault.
    """

    def __init__(
        self, contract: Contract, element: Element, value: Any, path: KeyPath, version: Version, home: Path
    ) -> None:
        self._contract, self._path, self._home = contract, path, home
        self.element = element
        self.sources: list[ValueSource] = []
        self._hidden: list[HiddenSource] = []
        self._made: tuple[list[Any], str] = [], ""
        value, self._attributes = _soap_attributes(value, path, version)
        whole = Property(element.name, "element", element)
        self._template = self._read(value, whole, "", path, item=True)
        self._write: Writer = contract.encoders.element(element)
        self.required = self._judge()
        changes = self.sources or any(source.rotates for source in self._hidden)
        self.constant = None if changes else self._encode(self._filled())

    @property
    def secrets(self) -> set[str]:
        """Texts that must not be shown. They change when a file was rotated."""
        return set[str]().union(*(source.texts for source in self._hidden))

    # --- at bind ---

    def _read(self, value: Any, place: Property | None, at: str, path: KeyPath, *, item: bool = False) -> Any:
        """`value` with a `HiddenSource` for each secret, and a `ValueSource` for each value that comes with a call."""
        if is_origin(value):
            return self._bound(read_origin(value, path), place, at, many=place is not None and place.many and not item)
        if isinstance(value, list):
            return [
                self._read(each, place, f"{at}/{number}", (*path, str(number)), item=True)
                for number, each in enumerate(value)
            ]
        if isinstance(value, dict):
            inner = self._inner(place)
            return {
                name: self._read(each, inner(name), f"{at}/{pointer_token(name)}", (*path, name))
                for name, each in value.items()
            }
        return value

    def _inner(self, place: Property | None) -> Callable[[str], Property | None]:
        if place is None:
            return lambda name: None
        if place.kind == "any" or (place.element is not None and place.element.type is ANY_TYPE):
            return lambda name: Property(name, "any", many=True)  # untyped: text is unchanged
        if place.element is not None and isinstance(place.element.type, SimpleType):
            text = Property(TEXT, "text", place.element)  # a plain value may have this form too
            return lambda name: text if name == TEXT else None
        return self._contract.properties.below(place).get

    def _bound(self, origin: Origin, place: Property | None, at: str, *, many: bool) -> Any:
        path = origin.path[:-1]
        if place is None:
            raise BindError(Fault("the schema has no such property here", path))
        anything = place.kind == "any" or (place.element is not None and place.element.type is ANY_TYPE)
        simple = place.simple
        if simple is None and not anything:
            raise BindError(Fault("a single value can't stand here: the schema has an object", path))
        source = self._source(origin, simple, at, many=many and not anything)
        if not origin.secret:
            self.sources.append(source)
            return source
        hidden = self._secret(origin, source)
        self._hidden.append(hidden)
        return hidden

    def _secret(self, origin: Origin, source: ValueSource) -> HiddenSource:
        secret = Secret(origin, self._home)

        def convert(text: str) -> tuple[Any, frozenset[str]]:
            value, texts = source.text(text), {text}
            if source.simple is not None:
                texts.add(self._contract.encoders.simple[source.simple].text(value))
            return [value] if source.many else value, frozenset(texts)

        try:
            return HiddenSource(origin, source.at, Derived(secret, convert))
        except DatatypeError:
            raise self._unfit(origin) from None

    def _source(self, origin: Origin, simple: SimpleType | None, at: str, *, many: bool) -> ValueSource:
        if simple is None:
            return ValueSource(origin, at, many, same, anything, None)
        reader = self._contract.inputs[simple]
        text = same if reader.names else (lambda value: settled(reader.value(value)))
        return ValueSource(origin, at, many, text, self._contract.encoders.simple[simple].text, simple)

    def _unfit(self, origin: Origin) -> BindError:
        # The reason may quote the value, so it is not shown.
        return BindError(Fault(f"what {origin.words} holds is not of the schema's type", origin.path))

    def _judge(self) -> frozenset[str]:
        """Encode the block with a value in each open place, then without each.

        :returns: the places (pointers) that the schema requires.
        """
        faults: list[Fault] = []
        for at, why in self._try():
            hidden = next((source for source in self._hidden if source.holds(at)), None)
            open_ = next((source for source in self.sources if source.holds(at)), None)
            if hidden is not None:
                faults += self._unfit(hidden.origin).faults
            elif open_ is None:
                faults.append(Fault(why, self._path + parse_pointer(at)))
            elif open_.origin.default is not ABSENT:
                faults.append(Fault(why, (*open_.origin.path[:-1], "default")))
        if faults:
            raise BindError(faults)
        needed = set()
        for source in self.sources:
            if source.at and source.origin.default is ABSENT:
                others = [each for each in self.sources if each is not source]
                places = [at for at, _ in self._try(without=source) if not any(each.holds(at) for each in others)]
                if places:
                    needed.add(source.at)
        return frozenset(needed)

    def _try(self, without: ValueSource | None = None) -> Faults:
        def stand_in(source: ValueSource) -> Any:
            if source is without:
                return ABSENT
            if source.origin.default is not ABSENT:
                return source.origin.default
            return [""] if source.many else ""

        bad: Faults = []
        self._write(_filled(self._template, stand_in), lambda text: None, None, bad)
        return bad

    # --- for each call ---

    def write(self, call: Call) -> str:
        """The block as XML; ``""`` if it consists of one value that the call does not have.

        :raises bridge.api.InvalidParameter: a header field is missing or invalid.
        :raises bridge.api.Forbidden: a claim is missing or invalid.
        """
        if self.constant is not None:
            return self.constant
        if not self.sources:
            return self._current()
        faults: list[tuple[ValueSource, str]] = []
        absent: list[ValueSource] = []

        def bring(source: ValueSource) -> Any:
            try:
                value = source.value(call)
            except DatatypeError as error:
                faults.append((source, str(error)))
                return ABSENT
            if value is ABSENT:
                absent.append(source)
            return value

        value = _filled(self._template, bring)
        if faults:
            raise refusal(faults)
        if value is ABSENT:
            return ""
        bad: Faults = []
        text = self._encode(value, bad)
        if bad:
            raise refusal(list(self._blame(bad, absent)))
        return text

    def _current(self) -> str:
        """The block with the secrets as they are now; made again when one has changed."""
        secrets = [source.value() for source in self._hidden]
        if secrets != self._made[0]:
            self._made = secrets, self._encode(self._filled())
        return self._made[1]

    def _filled(self) -> Any:
        return _filled(self._template, lambda source: ABSENT)

    def _encode(self, value: Any, bad: Faults | None = None) -> str:
        out: list[str] = []
        self._write(value, out.append, None, [] if bad is None else bad)
        text = "".join(out)
        if not self._attributes:
            return text
        start = _START.match(text)
        assert start is not None  # an element starts with a tag
        return f"{start[0]}{self._attributes}{text[start.end() :]}"

    def _blame(self, bad: Faults, absent: list[ValueSource]) -> Iterator[tuple[ValueSource, str]]:
        """The source that caused each fault; constants were checked at bind."""
        for at, why in bad:
            missing = [source for source in absent if source.at == at or source.at.startswith(f"{at}/")]
            if missing:
                yield from ((source, REQUIRED) for source in missing)
            else:
                yield next((source for source in self.sources if source.holds(at)), self.sources[0]), why


def _filled(template: Any, bring: Callable[[ValueSource], Any]) -> Any:
    """The template with the result of `bring` for each source; absent values are left out."""
    if isinstance(template, ValueSource):
        return bring(template)
    if isinstance(template, HiddenSource):
        return template.value()[0]
    if isinstance(template, dict):
        filled = {name: _filled(each, bring) for name, each in template.items()}
        return {name: each for name, each in filled.items() if each is not ABSENT}
    if isinstance(template, list):
        return [each for each in (_filled(each, bring) for each in template) if each is not ABSENT]
    return template


def _soap_attributes(value: Any, path: KeyPath, version: Version) -> tuple[Any, str]:
    """The value without its ``@soap:`` properties, and those as attributes (SOAP 1.1, sections 4.2.2 and 4.2.3; SOAP
    1.2 part 1, sections 5.2.2 and 5.2.3)."""
    if not isinstance(value, dict):
        return value, ""
    attributes = {name: item for name, item in value.items() if isinstance(name, str) and name.startswith(_SOAP)}
    text, actors = "", 0
    for name, item in attributes.items():
        local = name.removeprefix(_SOAP)
        if local == "mustUnderstand":
            if not isinstance(item, bool):
                raise BindError(Fault("true or false is wanted", (*path, name)))
            words = ("0", "1") if version == "1.1" else ("false", "true")
            text += attribute("s:mustUnderstand", words[item])
        elif local in ("actor", "role"):
            if not isinstance(item, str) or not item.strip():
                raise BindError(Fault("a URI is wanted as a string", (*path, name)))
            actors += 1
            text += attribute("s:actor" if version == "1.1" else "s:role", item)
        else:
            names = ", ".join(f"{_SOAP}{each}" for each in ("mustUnderstand", "actor", "role"))
            raise BindError(Fault(f"unknown; there are {names}", (*path, name)))
    if actors > 1:
        raise BindError(Fault("actor and role are one thing, named by SOAP 1.1 and 1.2; give one", path))
    return {name: item for name, item in value.items() if name not in attributes}, text
