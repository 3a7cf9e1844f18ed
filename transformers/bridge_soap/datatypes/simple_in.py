"""The text of simple types as JSON values. Readers raise `DatatypeError`; the caller may tolerate it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bridge.api import parse_json
from bridge_soap.components import SimpleType
from bridge_soap.datatypes.facets import DatatypeError, Rulebook, Rules
from bridge_soap.datatypes.json_form import json_number_text
from bridge_soap.datatypes.lexical import BUILTINS, Builtin, list_items
from bridge_soap.datatypes.timeline import USUAL_DATE, USUAL_DATE_TIME, usual_date, usual_date_time
from bridge_soap.names import clark

Read = Callable[[str], Any]
NsMap = Mapping[str | None, str]
Fast = tuple[tuple[str, str], ...]

#: Tests for generated code: the text ``x`` is a number in a common form, and in the lexical space.
USUAL_INTEGER = "x.isascii() and x.isdigit() and x[0] != '0' and len(x) < 18"
USUAL_DECIMAL = "x.isascii() and x.replace('.', '', 1).isdigit()"

_ODD_SPACE = re.compile(r"[\t\r\n]|^ | $|  ").search


@dataclass(frozen=True, slots=True)
class SimpleReader:
    """The reader of one simple type.

    :ivar value: text to JSON value; raises `DatatypeError` if the text is not in the lexical space.
    :ivar identity: `value` returns the text unchanged.
    :ivar names: the text may contain QNames; use `named` instead of `value`.
    :ivar named: as `value`; the second argument is lxml's ``nsmap``, the prefixes in scope.
    :ivar fast: for generated code: pairs of a test on the text ``x`` and the expression of the value.
    :ivar shape: for generated code: a pattern of texts without markup, and the expression of the value of ``{}``.
    """

    value: Read
    identity: bool = False
    names: bool = False
    fast: Fast = ()
    named: Callable[[str, NsMap], Any] = lambda text, nsmap: text
    shape: tuple[str, str] | None = None


class SimpleReaders(dict[SimpleType, SimpleReader]):
    """`SimpleReader` by type, created on first use.

    :param native: read large numbers as JSON numbers.
    :param strict: check facets.
    :param judge: check the lexical space of types that JSON has as strings, too, and the range of integers. Input of
        clients need not be judged here: it is when it is written.
    """

    def __init__(self, rulebook: Rulebook, *, native: bool, strict: bool, judge: bool = True) -> None:
        self._rulebook, self._native, self._strict, self._judge = rulebook, native, strict, judge

    def __missing__(self, simple: SimpleType) -> SimpleReader:
        reader = self[simple] = self._make(simple)
        return reader

    def _make(self, simple: SimpleType) -> SimpleReader:
        rules = self._rulebook[simple]
        names = False
        if simple.variety == "list":
            item = self[self._rulebook.item(simple)]
            value, names = _list(item.value), item.names
            named = _named_list(item.named)
        elif simple.variety == "union":
            members = [(self._rulebook[member], self[member]) for member in self._rulebook.members(simple)]
            value, names = _union(members), any(reader.names for _, reader in members)
            named = _named_union(members)
        else:
            builtin = BUILTINS[simple.builtin]
            value, names = self._atomic(simple, builtin, rules), builtin.json == "qname"
            named = _named(value)
        if names:
            # A union has already checked its members, with prefixes resolved.
            checks = rules if self._strict and simple.variety != "union" else None
            return SimpleReader(value, False, True, (), named if checks is None else _checked(named, checks))
        if not self._strict:
            fast, shape = ((), None) if self._is_text(simple) else (self._fast(simple), self._shape(simple))
            return SimpleReader(value, value is str, False, fast, shape=shape)
        normalize, check, many = rules.normalize, rules.check, simple.variety == "list"

        def checked(text: str) -> Any:
            if many and len(text) > _LONG:
                raise DatatypeError("the list is too long to be checked")
            check(normalize(text))
            return value(text)

        return SimpleReader(checked)

    def _is_text(self, simple: SimpleType) -> bool:
        """Whether it is a number that is a string because of a pattern."""
        if simple.variety != "atomic" or (BUILTINS[simple.builtin].json in ("digits", "decimal") and not self._native):
            return False
        return self._rulebook.is_text(simple)

    def _fast(self, simple: SimpleType) -> Fast:
        if simple.variety != "atomic":
            return ()
        builtin = BUILTINS[simple.builtin]
        json = builtin.json
        if json == "integer":
            most = str(builtin.high)
            return (
                (
                    f"x.isascii() and x.isdigit() and (len(x) < {len(most)} or len(x) == {len(most)} and x < '{most}')",
                    "int(x)",
                ),
            )
        if simple.builtin in ("date", "dateTime"):
            return (("usual_date(x)" if simple.builtin == "date" else "usual_date_time(x)", "x"),)
        if json == "boolean":
            return (("x == 'true'", "True"), ("x == 'false'", "False"))
        if json == "decimal" and not self._native:
            return ((USUAL_DECIMAL, "x"),)
        if json == "digits" and not self._native and BUILTINS[simple.builtin].valid("1"):
            return ((USUAL_INTEGER, "x"),)
        return ()

    def _shape(self, simple: SimpleType) -> tuple[str, str] | None:
        if simple.variety != "atomic":
            return None
        builtin = BUILTINS[simple.builtin]
        if builtin.json == "integer":
            return _in_range(builtin), "int({})"
        if builtin.json == "boolean":
            return "true|false", "{} == 'true'"
        if builtin.json == "decimal" and not self._native:
            return r"-?[0-9]++(?:\.[0-9]++)?", "{}"
        if builtin.json == "digits" and not self._native and builtin.valid("1"):
            digits = "[0-9]{1,18}" if builtin.valid("0") else _IS_POSITIVE.pattern
            return f"{'-?' if builtin.valid('-1') else ''}{digits}", "{}"
        form = _SOLID if builtin.name == "anyURI" else _FORMS.get(builtin.name)
        return (form, "{}") if form is not None else None

    def _atomic(self, simple: SimpleType, builtin: Builtin, rules: Rules) -> Read:
        if builtin.json == "boolean":
            return _boolean
        if self._is_text(simple):
            return _judged(rules)
        if builtin.json == "integer":
            return _integer_of(builtin) if self._judge else _integer
        if builtin.json in ("digits", "decimal"):
            return _native_number(rules) if self._native else _number(rules)
        if builtin.json == "float":
            return _float(rules)
        if builtin.json == "base64":
            return _base64(rules) if self._judge else _joined
        if self._judge and not builtin.free:
            return _judged(rules, _USUAL.get(builtin.name))
        if builtin.white_space == "preserve" and rules.normalize is str:
            return str
        normalize = rules.normalize
        return lambda text: normalize(text) if _ODD_SPACE(text) else text


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.strip(" \t\r\n"))
        if value is None:
            meant = _BOOLEANS.get(text.strip(" \t\r\n").lower())
            raise DatatypeError("it is neither true nor false", meant)
    return value


_INTEGER = re.compile(r"[ \t\r\n]*([+-]?[0-9]{1,20})[ \t\r\n]*").fullmatch


def _integer(text: str) -> int:
    match = _INTEGER(text)
    if match is None:
        raise DatatypeError("it is not a whole number")
    return int(match[1])


def _integer_of(builtin: Builtin) -> Read:
    low, high = builtin.low, builtin.high
    assert low is not None
    assert high is not None

    def read(text: str) -> int:
        value = _integer(text)
        if not low <= value <= high:
            raise DatatypeError(f"it is not {builtin.words}")
        return value

    return read


def _in_range(builtin: Builtin) -> str:
    """A pattern of most integers in a type's range, and of no other."""
    most, sign = str(builtin.high), "-?" if builtin.low else ""
    return f"{sign}(?:[0-9]{{1,{len(most) - 1}}}|[0-{int(most[0]) - 1}][0-9]{{{len(most) - 1}}})"


def _joined(text: str) -> str:
    return "".join(list_items(text))


def _base64(rules: Rules) -> Read:
    def read(text: str) -> str:
        joined = _joined(text)
        if not rules.lexical(joined):
            raise DatatypeError(f"it is not {rules.words}")
        return joined

    return read


def _judged(rules: Rules, usual: Callable[[str], object] | None = None) -> Read:
    """Text in its lexical form. What passes `usual` is valid and has no white space."""
    normalize, lexical, words = rules.normalize, rules.lexical, rules.words

    def read(text: str) -> str:
        if usual is None or not usual(text):
            text = normalize(text) if _ODD_SPACE(text) else text
            if not lexical(text):
                raise DatatypeError(f"it is not {words}")
        return text

    return read


_USUAL: dict[str, Callable[[str], object]] = {"date": usual_date, "dateTime": usual_date_time}
#: Patterns of valid texts without white space, for generated code.
_FORMS = {
    "date": USUAL_DATE,
    "dateTime": USUAL_DATE_TIME,
    "base64Binary": (
        "(?:[A-Za-z0-9+/]{4})++(?:[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?"
        "|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]=="
    ),
    "hexBinary": "(?:[0-9A-Fa-f]{2})++",
}

_IS_DECIMAL = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_IS_POSITIVE = re.compile(r"[1-9][0-9]{0,17}")
#: A text without white space needs no collapsing.
_SOLID = r"[^<>&\x00-\x20]++"


def _never(text: str) -> None:
    """The types without positive numbers have no common form."""


def _number(rules: Rules) -> Read:
    normalize, lexical, words = rules.normalize, rules.lexical, rules.words
    usual = _IS_DECIMAL if lexical("-1") and lexical("0.5") else _IS_POSITIVE if lexical("1") else None
    fast = usual.fullmatch if usual is not None else _never

    def read(text: str) -> str:
        if fast(text) is None:
            text = normalize(text)
            if not lexical(text):
                raise DatatypeError(f"it is not {words}")
        return text

    return read


def json_number(text: str) -> msgspec.Raw:
    """A decimal as a JSON number with the same digits."""
    return msgspec.Raw(json_number_text(text).encode("ascii"))


def _native_number(rules: Rules) -> Read:
    normalize, lexical, words = rules.normalize, rules.lexical, rules.words

    def read(text: str) -> Any:
        text = normalize(text)
        if not lexical(text):
            raise DatatypeError(f"it is not {words}")
        if len(text) < 18 and text.isdecimal() and text[0] != "0":
            return int(text)
        return json_number(text)

    return read


#: The JSON form of -0; without an exponent, parsers read it as the integer 0.
NEGATIVE_ZERO = "-0e0"
#: The form that Python and all JSON writers produce.
_USUAL_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")


def _float(rules: Rules) -> Read:
    normalize, lexical, usual = rules.normalize, rules.lexical, _USUAL_FLOAT.fullmatch

    def read(text: str) -> Any:
        text = normalize(text)
        if not lexical(text):
            raise DatatypeError("it is not a number")
        if usual(text) is not None:
            value = float(text)
            # Digits that a float cannot reproduce are passed on unchanged.
            return value if repr(value) == text else json_number(text)
        if text in ("INF", "-INF", "NaN"):
            return text
        return json_number(NEGATIVE_ZERO if text == "-0" else text)

    return read


#: Longer lists are read in pieces of this many characters, each of which is converted to JSON at once. As Python
#: values they would take twenty times the memory.
_LONG = 256 * 1024
_SPACES = re.compile(r"[ \t\r\n]")
_to_json = msgspec.json.Encoder().encode


def _items(text: str, read: Read) -> list[Any]:
    """The items of a list. For a long list, each result is a `msgspec.Raw` of many items."""
    if len(text) <= _LONG:
        return [read(part) for part in list_items(text)]
    items: list[Any] = []
    start = 0
    while start < len(text):
        end = _SPACES.search(text, start + _LONG)
        stop = end.start() if end is not None else len(text)
        values = [read(part) for part in list_items(text[start:stop])]
        if values:
            items.append(msgspec.Raw(_to_json(values)[1:-1]))
        start = stop
    return items


def _list(item: Read) -> Read:
    return lambda text: _items(text, item)


def _union(members: list[tuple[Rules, SimpleReader]]) -> Read:
    named = _named_union(members)
    return lambda text: named(text, {})


# --- with prefixes ---


def _named(value: Read) -> Callable[[str, NsMap], Any]:
    return lambda text, nsmap: value(resolve_names(text, nsmap))


def _named_list(item: Callable[[str, NsMap], Any]) -> Callable[[str, NsMap], Any]:
    return lambda text, nsmap: _items(text, lambda part: item(part, nsmap))


_TOLD = ("true", "false")


def _named_union(members: list[tuple[Rules, SimpleReader]]) -> Callable[[str, NsMap], Any]:
    """Read the first member type that is valid and whose JSON form keeps the text.

    In a union of boolean and string, 0 is a string: as a boolean it would be written back as false. QNames are resolved
    only for member types that contain them."""

    def read(text: str, nsmap: NsMap) -> Any:
        fitting: list[Any] = []
        for rules, member in members:
            normal = rules.normalize(text)
            try:
                rules.check(resolve_names(normal, nsmap) if member.names else normal)
                value = member.named(text, nsmap) if member.names else member.value(text)
            except DatatypeError:
                continue
            if not isinstance(value, int) or str(value) == text or (isinstance(value, bool) and text in _TOLD):
                return value
            fitting.append(value)
        if fitting:
            return fitting[0]
        raise DatatypeError("it is not valid for any of its types")

    return read


def _checked(named: Callable[[str, NsMap], Any], rules: Rules) -> Callable[[str, NsMap], Any]:
    def read(text: str, nsmap: NsMap) -> Any:
        rules.check(resolve_names(rules.normalize(text), nsmap))
        return named(text, nsmap)

    return read


def settled(value: Any) -> Any:
    """A reader's value as a JSON parser returns it: raw digits become numbers."""
    if isinstance(value, msgspec.Raw):
        return parse_json(bytes(value))
    return [settled(item) for item in value] if isinstance(value, list) else value


def resolve_names(text: str, nsmap: Mapping[str | None, str]) -> str:
    """Resolve prefixed QNames to Clark names. Clark names and undeclared prefixes stay unchanged."""
    out = []
    for part in list_items(text):
        if part[0] == "{":
            out.append(part)
            continue
        prefix, colon, local = part.rpartition(":")
        namespace = nsmap.get(prefix or None, "")
        if colon and not namespace:
            out.append(part)
        else:
            out.append(clark(namespace, local))
    return " ".join(out)
