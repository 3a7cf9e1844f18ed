"""The built-in simple types of XML Schema 1.0, part 2, section 3: lexical spaces, white space, order, and JSON form.

The table `BUILTINS` names the clause of each type; all code that handles values uses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from bridge_soap.datatypes.timeline import DATES, dated, duration_order, instant
from bridge_soap.names import NAME, NAMESPACE, NCNAME, NMTOKEN

#: The JSON form of a type's values.
Json = Literal["string", "boolean", "integer", "digits", "decimal", "float", "lexical", "base64", "hex", "qname"]
#: The forms of numbers, and of whole ones.
NUMBERS = frozenset({"integer", "digits", "decimal", "float"})
INTEGERS = frozenset({"integer", "digits"})
WhiteSpace = Literal["preserve", "replace", "collapse"]

#: Characters that XML 1.0 forbids, even as references (section 2.2).
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[Ee][+-]?[0-9]+)?|-?INF|NaN")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=?=|[A-Za-z0-9+/][AQgw]==)?")
_QUADS = re.compile(r"[A-Za-z0-9+/]*+")
#: Characters that one match looks at: it holds the interpreter.
_SLICE = 1024 * 1024
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
#: A QName in Clark notation.
_CLARK = re.compile(r"(?:\{" + NAMESPACE.pattern + r"\})?" + NCNAME.pattern)
_SPACES = re.compile(r"[ \t\r\n]+")


def _any(_: str) -> bool:
    return True


def _full(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    fullmatch = pattern.fullmatch
    return lambda text: fullmatch(text) is not None


def _is_base64(text: str) -> bool:
    text = text.replace(" ", "")
    last = len(text) - 4
    if len(text) % 4:
        return False
    pieces = (_QUADS.fullmatch(text, at, min(at + _SLICE, last)) for at in range(0, last, _SLICE))
    return all(pieces) and _BASE64.fullmatch(text, max(last, 0)) is not None


def collapse(text: str) -> str:
    return _SPACES.sub(" ", text).strip(" ")


def list_items(text: str) -> list[str]:
    """The items of a list. Only XML white space separates them; other Unicode white space does not."""
    if text.isascii():
        return text.split()
    return [part for part in _SPACES.split(text) if part]


def replace_spaces(text: str) -> str:
    return text.translate(_TO_SPACE)


_TO_SPACE = str.maketrans("\t\r\n", "   ")

#: The function of each value of the whiteSpace facet (section 4.3.6).
NORMALIZE: dict[WhiteSpace, Callable[[str], str]] = {
    "preserve": str,
    "replace": replace_spaces,
    "collapse": collapse,
}


def number(text: str) -> float:
    """The value of a float or double; Python spells infinity differently."""
    return float(text.replace("INF", "inf"))


@dataclass(frozen=True, slots=True)
class Builtin:
    """One built-in type.

    :ivar same: maps a text to its value; the results are equal if the values are equal.
    :ivar order: maps a text to a tuple; a value is less if each part is less (durations are partially ordered).
    """

    name: str
    base: str
    json: Json
    words: str
    white_space: WhiteSpace = "collapse"
    valid: Callable[[str], bool] = _any
    low: int | None = None
    high: int | None = None
    same: Callable[[str], Any] = str
    order: Callable[[str], tuple[Any, ...]] | None = None

    @property
    def free(self) -> bool:
        """Whether any text is valid."""
        return self.valid is _any


def _exact(text: str) -> tuple[Decimal]:
    return (Decimal(text),)


def _float_order(text: str) -> tuple[float]:
    return (number(text),)


def _bool(text: str) -> bool:
    return text in ("true", "1")


def _text(
    name: str, base: str, words: str, valid: Callable[[str], bool] = _any, ws: WhiteSpace = "collapse"
) -> Builtin:
    return Builtin(name, base, "string", words, ws, valid)


def _integer(name: str, base: str, low: int | None, high: int | None) -> Builtin:
    narrow = low is not None and high is not None and high - low < 2**32
    if low is None or high is None:
        words = {"integer": "a whole number"}.get(name, f"a whole number ({name})")
    else:
        words = f"a whole number from {low} to {high}"

    def valid(text: str) -> bool:
        if _INTEGER.fullmatch(text) is None:
            return False
        value = Decimal(text)  # int() rejects very long texts
        return (low is None or value >= low) and (high is None or value <= high)

    json: Json = "integer" if narrow else "digits"
    return Builtin(name, base, json, words, "collapse", valid, low, high, Decimal, _exact)


def _date(name: str) -> Builtin:
    pattern, sample = DATES[name]
    return Builtin(
        name,
        "anySimpleType",
        "lexical",
        f"a {name} such as {sample}",
        "collapse",
        lambda text: dated(pattern, text),
        same=lambda text: instant(pattern, text),
        order=duration_order if name == "duration" else (lambda text: instant(pattern, text)[1:]),
    )


def _real(name: str) -> Builtin:
    words = 'a number, "INF", "-INF" or "NaN"'
    return Builtin(name, "anySimpleType", "float", words, "collapse", _full(_FLOAT), same=number, order=_float_order)


def _hex_value(text: str) -> str:
    return text.upper()


_TABLE = (
    _text("anySimpleType", "", "text", ws="preserve"),
    _text("string", "anySimpleType", "text", ws="preserve"),  # 3.2.1
    Builtin(  # 3.2.2
        "boolean",
        "anySimpleType",
        "boolean",
        "true or false",
        valid=lambda text: text in ("true", "false", "1", "0"),
        same=_bool,
    ),
    Builtin(  # 3.2.3
        "decimal", "anySimpleType", "decimal", "a decimal number", valid=_full(_DECIMAL), same=Decimal, order=_exact
    ),
    _real("float"),  # 3.2.4
    _real("double"),  # 3.2.5
    *map(_date, DATES),  # 3.2.6 to 3.2.14
    Builtin("hexBinary", "anySimpleType", "hex", "hexadecimal digits in pairs", valid=_full(_HEX), same=_hex_value),
    Builtin(  # 3.2.16
        "base64Binary",
        "anySimpleType",
        "base64",
        "base64",
        valid=_is_base64,
        same=lambda text: text.replace(" ", ""),
    ),
    Builtin("anyURI", "anySimpleType", "lexical", "a URI"),  # 3.2.17
    Builtin("QName", "anySimpleType", "qname", 'a name such as "{namespace}local"', valid=_full(_CLARK)),
    Builtin("NOTATION", "anySimpleType", "qname", 'a name such as "{namespace}local"', valid=_full(_CLARK)),
    _text("normalizedString", "string", "text", ws="replace"),  # 3.3.1
    _text("token", "normalizedString", "text"),  # 3.3.2
    _text("language", "token", "a language tag such as en-GB", _full(_LANGUAGE)),  # 3.3.3
    _text("NMTOKEN", "token", "a name token", _full(NMTOKEN)),  # 3.3.4
    _text("Name", "token", "an XML name", _full(NAME)),  # 3.3.6
    _text("NCName", "Name", "an XML name without colon", _full(NCNAME)),  # 3.3.7
    _text("ID", "NCName", "an XML name without colon", _full(NCNAME)),
    _text("IDREF", "NCName", "an XML name without colon", _full(NCNAME)),
    _text("ENTITY", "NCName", "an XML name without colon", _full(NCNAME)),
    _integer("integer", "decimal", None, None),  # 3.3.13
    _integer("nonPositiveInteger", "integer", None, 0),
    _integer("negativeInteger", "nonPositiveInteger", None, -1),
    _integer("long", "integer", -(2**63), 2**63 - 1),
    _integer("int", "long", -(2**31), 2**31 - 1),
    _integer("short", "int", -(2**15), 2**15 - 1),
    _integer("byte", "short", -128, 127),
    _integer("nonNegativeInteger", "integer", 0, None),
    _integer("unsignedLong", "nonNegativeInteger", 0, 2**64 - 1),
    _integer("unsignedInt", "unsignedLong", 0, 2**32 - 1),
    _integer("unsignedShort", "unsignedInt", 0, 2**16 - 1),
    _integer("unsignedByte", "unsignedShort", 0, 255),
    _integer("positiveInteger", "nonNegativeInteger", 1, None),
)

BUILTINS: dict[str, Builtin] = {entry.name: entry for entry in _TABLE}
#: Built-in list types and their item types (3.3.5, 3.3.10, 3.3.12); each requires at least one item.
BUILTIN_LISTS = {"NMTOKENS": "NMTOKEN", "IDREFS": "IDREF", "ENTITIES": "ENTITY"}
