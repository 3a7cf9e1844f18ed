"""Values without a schema type to XML: elements that match wildcards, and anyType.

An element in ``#any`` is typed if the contract declares it (lax and strict). Otherwise its JSON is a string, or an
object of ``@attributes`` with ``#text``, ``#any`` (child elements) or ``#content`` (mixed).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bridge.api import BindError
from bridge_soap.components import Element, Wildcard
from bridge_soap.datatypes.facets import DatatypeError
from bridge_soap.datatypes.lexical import BUILTINS
from bridge_soap.datatypes.simple_out import NAME_MARK, any_simple, escape, escape_attribute, kind_of
from bridge_soap.encode.writing import At, Faults, Put, broken, foreign, not_list, pointer, undeclared
from bridge_soap.names import NAMESPACE, NCNAME, XML, XMLNS, XSI, split
from bridge_soap.xsd.builtin import ANY_TYPE
from bridge_soap.xsd.model import ANY, CONTENT, ELEMENT, NIL, TEXT, TYPE, any_name

if TYPE_CHECKING:
    from bridge_soap.encode.encoders import Encoders

_KEYS = frozenset({TEXT, ANY, CONTENT})
_MARKED = re.compile(NAME_MARK + r"(?:\{([^{}]*)\})?")


def declare_names(text: str, letter: str = "q") -> tuple[str, str]:
    """Replace marked Clark names in a text by prefixed names. Returns the declarations and the text."""
    prefixes: dict[str, str] = {}

    def prefixed(match: re.Match[str]) -> str:
        namespace = match[1]
        if not namespace:
            return ""
        return prefixes.setdefault(namespace, f"{letter}{len(prefixes)}") + ":"

    text = _MARKED.sub(prefixed, text)
    return "".join(f' xmlns:{prefix}="{escape_attribute(name)}"' for name, prefix in prefixes.items()), text


#: The content of an element that matches a wildcard with ``processContents="skip"``.
SKIP = Wildcard(frozenset(), excluded=True, process="skip")


def is_attribute(namespace: str, local: str) -> bool:
    """Whether an undeclared attribute may have that name; those with a meaning in XML itself may not."""
    return bool(
        NCNAME.fullmatch(local)
        and NAMESPACE.fullmatch(namespace)
        and namespace not in (XSI, XMLNS)
        and (namespace or local != "xmlns")
    )


class WildWriter:
    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def element(self, name: str, value: Any, wildcard: Wildcard | None, put: Put, at: At, bad: Faults) -> None:
        """One element that matches a wildcard; `name` is its key. Without `wildcard`, it is processed as lax."""
        name = any_name(name)
        namespace, local = split(name)
        if not NCNAME.fullmatch(local) or not NAMESPACE.fullmatch(namespace) or namespace in (XML, XMLNS):
            bad.append((pointer(at), "the key is no element's name; write {namespace}local"))
            return
        if wildcard is None or wildcard.process != "skip":
            declaration = self._declared(name)
            if declaration is not None:
                self._encoders.element(declaration)(value, put, at, bad)
                return
            if wildcard is not None and wildcard.process == "strict" and not self._has_type(value):
                defines = self._encoders.schemas.defines
                if not undeclared("elements", namespace, defines, at, bad):
                    return
        tag, xmlns = foreign(name)
        skip = wildcard is not None and wildcard.process == "skip"
        if value is None or (value.__class__ is dict and value.get(NIL) is True):
            attributes = {key: item for key, item in (value or {}).items() if key != NIL}
            if skip and TYPE in attributes:
                xmlns += "".join(self.undeclared_type(attributes.pop(TYPE), at, bad))
            extra = self._attributes(attributes, at, bad)
            self._leftover(attributes, frozenset(), at, bad)
            put(f'<{tag}{xmlns}{extra} xmlns:xsi="{XSI}" xsi:nil="true"/>')
            return
        if value.__class__ is dict and TYPE in value:
            if not (skip or self._encoders.values.variants.is_foreign(value[TYPE])):
                anything = Element(name, lambda: ANY_TYPE, nillable=True)
                self._typed(anything, tag, xmlns, value, put, at, bad)
                return
            prefix, attribute = self.undeclared_type(value[TYPE], at, bad)
            xmlns += f'{prefix} xmlns:xsi="{XSI}"{attribute}'
            value = {key: item for key, item in value.items() if key != TYPE}
        self.value(value, f"<{tag}{xmlns}", f"</{tag}>", put, at, bad, SKIP if skip else None)

    def _has_type(self, value: Any) -> bool:
        """Whether ``@xsi:type`` names a type of the contract, which is as good as a declaration (part 1, 3.10.1)."""
        return value.__class__ is dict and TYPE in value and not self._encoders.values.variants.is_foreign(value[TYPE])

    def undeclared_type(self, name: Any, at: At, bad: Faults) -> tuple[str, str]:
        """``xsi:type`` with a type that is not resolved, and the declaration of its prefix."""
        if not isinstance(name, str) or not BUILTINS["QName"].valid(name):
            bad.append((pointer((at, TYPE)), 'a name such as "{namespace}local" is wanted'))
            return "", ""
        xmlns, text = declare_names(NAME_MARK + name, "t")
        return xmlns, f' xsi:type="{escape_attribute(text)}"'

    def _typed(
        self, element: Element, tag: str, xmlns: str, value: dict[str, Any], put: Put, at: At, bad: Faults
    ) -> None:
        """An undeclared element with a declared type."""
        try:
            own_type = self._encoders.values.variants.find(value[TYPE], element.type)
            writer = self._encoders.type(own_type)
        except DatatypeError as error:
            bad.append((pointer((at, TYPE)), str(error)))
            return
        except BindError as error:
            bad.append((pointer((at, TYPE)), f"this type can't be sent: {error.faults[0].reason}"))
            return
        rest = {key: item for key, item in value.items() if key != TYPE}
        prefix, text = declare_names(NAME_MARK + own_type.name, "t")
        head = f'<{tag}{xmlns}{prefix} xmlns:xsi="{XSI}" xsi:type="{escape_attribute(text)}"'
        writer(rest, head, f"</{tag}>", put, at, bad)

    def _declared(self, name: str) -> Element | None:
        try:
            declaration = self._encoders.schemas.find_element(name)
            if declaration is not None:
                self._encoders.element(declaration)
        except BindError:
            return None
        return declaration

    # --- anyType ---

    def value(
        self, value: Any, head: str, tail: str, put: Put, at: At, bad: Faults, wildcard: Wildcard | None = None
    ) -> None:
        """A value of anyType, into an element whose start tag is open; `wildcard` applies to its child elements."""
        if value.__class__ is not dict:
            self._text(value, head, tail, put, at, bad)
            return
        head += self._attributes(value, at, bad)
        kinds = [key for key in (TEXT, ANY, CONTENT) if key in value]
        self._leftover(value, _KEYS, at, bad)
        if len(kinds) > 1:
            bad.append((pointer(at), f"only one of {', '.join(kinds)} may be given"))
        elif not kinds:
            put(f"{head}>{tail}")
        elif kinds[0] == TEXT:
            self._text(value[TEXT], head, tail, put, (at, TEXT), bad)
        else:
            put(f"{head}>")
            self.mixed(value[kinds[0]], kinds[0], kinds[0] == CONTENT, put, at, bad, wildcard)
            put(tail)

    def _text(self, value: Any, head: str, tail: str, put: Put, at: At, bad: Faults) -> None:
        try:
            if isinstance(value, list | dict):
                raise DatatypeError(f"text or an object is wanted, not {kind_of(value)}")
            put(f"{head}>{escape(any_simple(value))}{tail}")
        except DatatypeError as error:
            broken(error, value, at, bad)

    def mixed(
        self,
        items: Any,
        key: str,
        text_allowed: bool,
        put: Put,
        at: At,
        bad: Faults,
        wildcard: Wildcard | None,
    ) -> None:
        """The elements of ``#any``, or elements and text of ``#content``, in the order of the body."""
        if items.__class__ is not list:
            not_list(items, at, key, bad)
            return
        here: At = (at, key)
        for number, item in enumerate(items):
            place: At = (here, number)
            if text_allowed and item.__class__ is str:
                self._text_in_mixed(item, put, place, bad)
            elif item.__class__ is not dict or len(item) != 1:
                bad.append((pointer(place), 'an object with one element is wanted: {"{namespace}local": …}'))
            else:
                ((name, value),) = item.items()
                self.element(name, value, wildcard, put, (place, name), bad)

    def _text_in_mixed(self, text: str, put: Put, at: At, bad: Faults) -> None:
        try:
            put(escape(any_simple(text)))
        except DatatypeError as error:
            broken(error, text, at, bad)

    def _attributes(self, value: dict[str, Any], at: At, bad: Faults) -> str:
        from bridge_soap.encode.attributes import named_attribute

        out: list[str] = []
        for key, item in value.items():
            if key[:1] != "@" or key in (TYPE, ELEMENT):
                continue
            name = any_name(key[1:])
            namespace, local = split(name)
            if not is_attribute(namespace, local):
                bad.append((pointer((at, key)), "this can't be an attribute's name"))
                continue
            try:
                out.append(named_attribute(name, escape_attribute(any_simple(item)), len(out)))
            except DatatypeError as error:
                broken(error, item, (at, key), bad)
        return "".join(out)

    def _leftover(self, value: dict[str, Any], own_keys: frozenset[str], at: At, bad: Faults) -> None:
        for key in value:
            if key not in own_keys and (key[:1] != "@" or key in (TYPE, ELEMENT)):
                bad.append((pointer((at, key)), f"what has no type is written with {ANY}, {TEXT} or {CONTENT}"))
