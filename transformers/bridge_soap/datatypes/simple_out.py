"""JSON values as the text of simple types (lexical forms: XML Schema 1.0, part 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bridge_soap.components import SimpleType, Type
from bridge_soap.datatypes.facets import DatatypeError, Rulebook, Rules
from bridge_soap.datatypes.lexical import BUILTINS, NOT_XML, Builtin, list_items
from bridge_soap.datatypes.simple_in import NEGATIVE_ZERO, USUAL_DECIMAL, USUAL_INTEGER

Write = Callable[[Any], str]

#: Marks each QName in a writer's text until its prefix is known. XML text cannot contain it.
NAME_MARK = "\0"

#: The limit on digits (a double has up to 309 before its point): 1E+999999999 must not fill the memory, nor an
#: array of 1E+9999 grow a thousandfold.
_MAX_DIGITS = 400


@dataclass(frozen=True, slots=True)
class SimpleWriter:
    """The writers of one simple type; each raises `DatatypeError` for an invalid value.

    :ivar text: the lexical form, unescaped.
    :ivar markup: escaped for element content.
    :ivar attribute: escaped for a quoted attribute value.
    :ivar fast: for generated code: pairs of a test on ``x`` and the markup, as part of an f-string.
    :ivar names: the text may contain QNames in Clark notation after a `NAME_MARK`; they get prefixes later.
    """

    text: Write
    markup: Write
    attribute: Write
    fast: tuple[tuple[str, str], ...] = ()
    names: bool = False


def kind_of(value: object) -> str:
    """The kind of a JSON value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float | Decimal):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def escape(text: str) -> str:
    """Escape element content. A carriage return becomes a reference; a parser would normalize it (XML 1.0, 2.11)."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;") if "\r" in text else text


def escape_attribute(text: str) -> str:
    """Escape an attribute value in double quotes; parsers normalize line ends and tabs too (XML 1.0, 3.3.3)."""
    return escape(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")


def constant_markup(type_: Type, text: str, escaped: Callable[[str], str] = escape) -> str:
    """A default or fixed value of the schema, escaped; a QName gets a `NAME_MARK`."""
    is_name = isinstance(type_, SimpleType) and type_.builtin in ("QName", "NOTATION")
    return (NAME_MARK if is_name else "") + escaped(text)


def plain_text(value: Any) -> str:
    """A JSON string, unchanged.

    :raises DatatypeError: the value is no string, or contains a character that XML forbids.
    """
    if value.__class__ is not str:
        raise DatatypeError(f"a string is wanted, not {kind_of(value)}")
    if not value.isprintable():
        match = NOT_XML.search(value)
        if match:
            raise DatatypeError(f"the character U+{ord(match[0]):04X} can't be carried by XML")
    return str(value)


class SimpleWriters(dict[SimpleType, SimpleWriter]):
    """`SimpleWriter` by type, created on first use."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    def __missing__(self, simple: SimpleType) -> SimpleWriter:
        writer = self[simple] = self._make(simple)
        return writer

    def _make(self, simple: SimpleType) -> SimpleWriter:
        rules = self._rulebook[simple]
        if simple.variety == "list":
            item = self[self._rulebook.item(simple)]
            return _escaped(_list(item.text, rules), item.names)
        if simple.variety == "union":
            members = [self[member] for member in self._rulebook.members(simple)]
            return _escaped(_union([member.text for member in members], rules), any(m.names for m in members))
        builtin = BUILTINS[simple.builtin]
        text = _WRITERS[builtin.json](builtin, rules)
        if builtin.json in ("integer", "float") and self._rulebook.is_text(simple):
            text = _number_as_text(text, rules)
        if builtin.json not in ("string", "qname") and simple.builtin != "anyURI":
            # The lexical spaces of these types need no escaping.
            return SimpleWriter(text, text, text, _fast(builtin, rules))
        writer = _escaped(text, builtin.json == "qname")
        if builtin.json == "string" and rules.facets is None and builtin.words == "text":
            return SimpleWriter(text, writer.markup, writer.attribute, FAST_TEXT)
        return writer


#: XML allows all printable characters; three of them need escaping.
FAST_TEXT = (
    (
        "x.__class__ is str and (x.isalnum() or (x.isprintable() and '&' not in x and '<' not in x and '>' not in x))",
        "{x}",
    ),
)


def _fast(builtin: Builtin, rules: Rules) -> tuple[tuple[str, str], ...]:
    if rules.facets is not None:
        return ()
    if builtin.json == "integer":
        return ((f"x.__class__ is int and {builtin.low} <= x <= {builtin.high}", "{x}"),)
    if builtin.json == "boolean":
        return (("x is True", "true"), ("x is False", "false"))
    if builtin.json == "decimal":
        return ((f"x.__class__ is str and {USUAL_DECIMAL}", "{x}"),)
    if builtin.name in ("date", "dateTime"):
        test = "usual_date" if builtin.name == "date" else "usual_date_time"
        return ((f"x.__class__ is str and {test}(x)", "{x}"),)
    if builtin.json == "digits" and builtin.valid("1"):
        return ((f"x.__class__ is str and {USUAL_INTEGER}", "{x}"),)
    return ()


def _escaped(text: Write, names: bool) -> SimpleWriter:
    return SimpleWriter(
        text, lambda value: escape(text(value)), lambda value: escape_attribute(text(value)), names=names
    )


def _string(builtin: Builtin, rules: Rules) -> Write:
    if rules.facets is None and builtin.words == "text":
        return any_simple if builtin.name == "anySimpleType" else plain_text
    normalize, check = rules.normalize, rules.check

    def write(value: Any) -> str:
        text = plain_text(value)
        check(normalize(text))
        return text

    return write


def any_simple(value: Any) -> str:
    """A value of unknown type: text unchanged, numbers and booleans in their lexical form."""
    if value.__class__ is bool:
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return _digits_of(value)
    return plain_text(value)


def _boolean(builtin: Builtin, rules: Rules) -> Write:
    check = rules.facets

    def write(value: Any) -> str:
        if value is True or value is False:
            text = "true" if value else "false"
            if check is not None:
                try:
                    check(text)
                except DatatypeError:
                    text = "1" if value else "0"  # a pattern may want digits
                    check(text)
            return text
        raise DatatypeError(f"true or false is wanted, not {kind_of(value)}")

    return write


def _digits_of(value: Any) -> str:
    """All digits of a number, without an exponent."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    try:
        if isinstance(value, Decimal):
            if not value.is_finite() or abs(value.adjusted()) > _MAX_DIGITS:
                raise DatatypeError("the number has too many digits")
            return format(value, "f")
        return str(value)
    except ValueError:  # Python limits the length of integers as text
        raise DatatypeError("the number has too many digits") from None


def _integer(builtin: Builtin, rules: Rules) -> Write:
    low, high, check, words = builtin.low, builtin.high, rules.facets, builtin.words

    def write(value: Any) -> str:
        if isinstance(value, Decimal) and abs(value.adjusted()) < 30 and value == value.to_integral_value():
            value = int(value)  # 5.0 is an integer in JSON Schema
        if value.__class__ is not int:
            raise DatatypeError(f"{words} is wanted, not {kind_of(value)}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise DatatypeError(f"{_brief(value)} is not {words}")
        text = str(value)
        if check is not None:
            check(text)
        return text

    return write


def _brief(value: object) -> str:
    try:
        text = str(value)
    except ValueError:
        return "the number"
    return text if len(text) < 40 else text[:37] + "…"


def _number(builtin: Builtin, rules: Rules) -> Write:
    """Unbounded and 64-bit integers, decimals: a string with every digit, or a JSON number."""
    normalize, check, words, lexical, facets = rules.normalize, rules.check, builtin.words, rules.lexical, rules.facets
    integral = builtin.json == "digits"

    def write(value: Any) -> str:
        if value.__class__ is str:
            text = normalize(value)
            if not lexical(text):
                raise DatatypeError(f"{_brief(value)!r} is not {words}")
            if facets is not None:
                facets(text)
            return text
        if value.__class__ is bool or not isinstance(value, int | Decimal | float):
            raise DatatypeError(f"{words} is wanted (a string or a number), not {kind_of(value)}")
        text = _digits_of(value)
        if integral and "." in text:
            whole, _, part = text.partition(".")
            text = whole if not part.strip("0") else text
        check(text)
        return text

    return write


def _float(builtin: Builtin, rules: Rules) -> Write:
    words, facets = builtin.words, rules.facets

    def write(value: Any) -> str:
        if value.__class__ is str:
            if value not in ("INF", "-INF", "NaN"):
                raise DatatypeError(f"{words} is wanted, not {_brief(value)!r}")
            text = value
        elif value.__class__ is bool or not isinstance(value, int | Decimal | float):
            raise DatatypeError(f"{words} is wanted, not {kind_of(value)}")
        else:
            text = _digits_of(value) if isinstance(value, int) else str(value)
            text = "-0" if text == NEGATIVE_ZERO else text
        if facets is not None:
            facets(text)
        return text

    return write


def _number_as_text(number: Write, rules: Rules) -> Write:
    """A number that is a JSON string, since its pattern wants zeros or a sign; a JSON number is read too."""
    normalize, check = rules.normalize, rules.check

    def write(value: Any) -> str:
        if value.__class__ is str:
            text = normalize(value)
            check(text)
            return text
        try:
            return number(value)
        except DatatypeError as error:
            raise DatatypeError(f"{error}; write it as a string") from None

    return write


def _lexical(builtin: Builtin, rules: Rules) -> Write:
    """Dates, URIs and binary: a string in the type's lexical form, sent unchanged."""
    normalize, check, words, lexical, facets = rules.normalize, rules.check, builtin.words, rules.lexical, rules.facets
    free = builtin.json == "qname" or builtin.name == "anyURI"  # these may contain any character

    def write(value: Any) -> str:
        if value.__class__ is not str:
            raise DatatypeError(f"{words} is wanted as a string, not {kind_of(value)}")
        if facets is not None or not lexical(value):
            check(normalize(value))
        return plain_text(value) if free else str(value)

    return write


def _name(builtin: Builtin, rules: Rules) -> Write:
    write = _lexical(builtin, rules)
    return lambda value: NAME_MARK + write(value)


def _list(item: Write, rules: Rules) -> Write:
    facets = rules.facets

    def write(value: Any) -> str:
        if value.__class__ is not list:
            raise DatatypeError(f"an array is wanted, not {kind_of(value)}")
        parts = []
        for at, each in enumerate(value):
            try:
                part = item(each)
            except DatatypeError as error:
                raise DatatypeError(f"item {at}: {error}") from None
            if list_items(part) != [part]:
                raise DatatypeError(f"item {at}: an item can't be empty or hold white space")
            parts.append(part)
        text = " ".join(parts)
        if facets is not None:
            facets(text.replace(NAME_MARK, ""))
        return text

    return write


def _union(members: list[Write], rules: Rules) -> Write:
    facets, words = rules.facets, rules.words

    def write(value: Any) -> str:
        reasons = []
        for member in members:
            try:
                text = member(value)
            except DatatypeError as error:
                reasons.append(str(error))
                continue
            if facets is not None:
                facets(text.replace(NAME_MARK, ""))
            return text
        raise DatatypeError(f"it is not valid for any of its types ({words}): " + "; ".join(dict.fromkeys(reasons)))

    return write


_WRITERS: dict[str, Callable[[Builtin, Rules], Write]] = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "digits": _number,
    "decimal": _number,
    "float": _float,
    "lexical": _lexical,
    "base64": _lexical,
    "hex": _lexical,
    "qname": _name,
}
