"""The fastest way to decode: regular expressions on a reply's text, without an XML parser.

A service writes all its replies alike: with the same prefixes, in the schema's order, without attributes and comments.
For such text, one expression gives the values of a whole record. The expressions match a small subset of XML, so that a
match is well-formed and means what a parser would find: start tags, text and end tags, character by character. For
anything else (attributes except ``xsi:nil``, CDATA, comments, character references, unknown elements, another order)
there is no match, and the reply is parsed (`bridge_soap.message.reply_templates`).

The expressions do not backtrack: each repetition is possessive or bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bridge.api import ABSENT
from bridge_soap.components import ComplexType, Element, SimpleType
from bridge_soap.datatypes.simple_in import SimpleReader
from bridge_soap.decode.escapes import unescaped
from bridge_soap.decode.packing import pack, packing
from bridge_soap.names import XSI, clark, local_name
from bridge_soap.source import Source, tag_literal
from bridge_soap.xsd.model import Content, Part, straight

if TYPE_CHECKING:
    from bridge_soap.decode.decoders import Decoders

#: ``(text, position after the root's start tag) -> JSON value``. If the text does not match, it returns ABSENT or
#: raises `EscapeError` or `DatatypeError`.
PatternReader = Callable[[str, int], Any]
#: A Clark name as it is written in the body; None if its namespace has no prefix.
NameOf = Callable[[str], str | None]

#: Characters of a text: those of XML (2.2) without markup and the carriage return, which a parser normalizes.
_TEXT = r"[^<>\x00-\x08\x0b-\x1f]"
_MAX_LEAVES, _MAX_DEPTH, _MAX_LOOPS = 200, 30, 8  # a leaf costs 0.1 ms at compile time
_SPACE = r"[ \t\r\n]*+"


class TemplateError(Exception):
    """There is no expression for a type, or for the names in this reply."""


class _Field:
    """A property of the record that is being generated.

    :ivar var: the variable with its value; also None for a nil or empty element that is not handled yet.
    :ivar there: the test whether it is present; empty: always.
    :ivar sure: the test whether it is present and needs no further handling.
    """

    __slots__ = ("key", "sure", "there", "var")

    def __init__(self, key: str, var: str, there: str = "", sure: str = "") -> None:
        self.key, self.var, self.there, self.sure = key, var, there, sure or there


class PatternMaker:
    """Makes the reader of one root element, with the names that one service writes.

    :param name_of: how the service writes a name.
    :param loose: white space may occur between elements.
    :param step: pack arrays after this many characters; 0: never.
    """

    def __init__(self, decoders: Decoders, name_of: NameOf, *, loose: bool, step: int = 0) -> None:
        self._decoders, self._name_of, self._every = decoders, name_of, step
        self._gap = _SPACE if loose else ""
        nil = name_of(clark(XSI, "nil"))
        self._nil = f' {re.escape(nil)}="(?:true|1)" ?/>' if nil is not None and ":" in nil else None
        self._out = Source({"A": ABSENT, "unescaped": unescaped, "pack": pack})
        self._pattern: list[str] = []  # the next expression
        self._groups: list[str] = []  # the variables of its groups
        self._after: list[tuple[int, str]] = []  # the code after its match
        self._inner = 0  # the depth of these lines
        self._escaped: list[str] = []  # the code that replaces references in the record's texts
        self._amp = "amp"  # the variable for whether references may follow
        self._empty: list[str] = []  # the code for absent and empty elements
        self._count = self._leaves = self._loops = 0
        self._within: list[ComplexType] = []
        self._looping: dict[ComplexType, bool] = {}

    def make(self, root: Element, end: str) -> PatternReader:
        """The reader of `root`'s content and all that follows; `end` matches the latter.

        :raises TemplateError: there is none.
        """
        if not isinstance(root.type, ComplexType):
            raise TemplateError
        out = self._out
        if self._every:
            out.add("packed = 0")
        out.add("at = t.find('&', p)")
        out.add("amp = at >= 0")
        self._space()
        self._record(root.type, "value")
        self._pattern.append(end)
        self._flush()
        out.add("return value")
        out.define("read", "t, p", f"pattern of {local_name(root.name)}")
        reader: PatternReader = out.env["read"]
        return reader

    def only_child(self, root: Element) -> tuple[str, Element] | None:
        """The single child that `root` may have, with its key; some services declare namespaces there.

        :raises TemplateError: `root` can't be read this way.
        """
        if not isinstance(root.type, ComplexType):
            raise TemplateError
        content = self._content(root.type)
        part, *others = straight(content)
        assert part.element is not None
        if others or content.slots[part.element.name].many or not isinstance(part.element.type, ComplexType):
            return None
        return part.key, part.element

    # --- the generated code ---

    def _var(self) -> str:
        self._count += 1
        return f"x{self._count}"

    def _group(self) -> str:
        """The variable of the next group in the expression."""
        self._groups.append(self._var())
        return self._groups[-1]

    def _later(self, line: str) -> None:
        self._after.append((self._inner, line))

    def _expression(self) -> re.Pattern[str]:
        pattern = re.compile("".join(self._pattern))
        self._pattern = []
        return pattern

    def _space(self) -> None:
        if self._gap:
            self._pattern.append(self._gap)

    def _flush(self) -> None:
        """Generate the match of the collected expression; without a match, the code returns."""
        out = self._out
        if self._pattern:
            out.add(f"m = {out.const(self._expression().match)}(t, p)")
            out.add("if m is None: return A")
            out.add("p = m.end()")
        self._unpack()

    def _step(self, markup: str) -> None:
        """Continue after a tag that was found."""
        self._out.add(f"p += {len(markup)}")
        self._space()

    def _close(self, markup: str) -> None:
        """Match the collected expression and an end tag; an end tag alone needs no expression."""
        out = self._out
        if self._pattern or self._gap:
            self._pattern.append(re.escape(markup))
            self._space()
            self._flush()
            return
        self._unpack()
        out.add(f"if not t.startswith('{markup}', p): return A")
        out.add(f"p += {len(markup)}")

    def _unpack(self) -> None:
        out = self._out
        if self._groups:
            out.add(f"{', '.join(self._groups)}, = m.groups()")
        for depth, line in self._after:
            out.add("    " * depth + line)
        self._groups, self._after = [], []

    # --- records ---

    def _record(self, type_: ComplexType, target: str) -> None:
        """The children of an element with `type_`, as an object in `target`."""
        content = self._content(type_)
        self._within.append(type_)
        outer = self._escaped, self._empty
        self._escaped, self._empty = [], []
        fields = []
        for part in straight(content):
            assert part.element is not None
            many = content.slots[part.element.name].many
            fields.append(self._many(part, content) if many else self._single(part))
        self._within.pop()
        self._unescape()
        everything = "{" + ", ".join(f"{field.key!r}: {field.var}" for field in fields) + "}"
        tests = [field.sure for field in fields if field.sure]
        if not tests:
            self._later(f"{target} = {everything}")
        else:
            self._later(f"if {' and '.join(tests)}: {target} = {everything}")
            self._later("else:")
            for line in (*self._empty, f"{target} = {{}}"):
                self._later(f"    {line}")
            for field in fields:
                test = f"if {field.there}: " if field.there else ""
                self._later(f"    {test}{target}[{field.key!r}] = {field.var}")
        self._escaped, self._empty = outer

    def _unescape(self) -> None:
        if self._escaped:
            self._later(f"if {self._amp}:")
            for line in self._escaped:
                self._later(f"    {line}")

    def _content(self, type_: ComplexType) -> Content:
        """The content model of a type that is a plain sequence of elements."""
        if type_ in self._within or len(self._within) > _MAX_DEPTH:
            raise TemplateError  # a recursive type has no limit on depth; a parser has
        if type_.abstract or type_.mixed or type_.simple is not None:
            raise TemplateError
        if any(use.required for use in type_.attributes.values()):
            raise TemplateError
        content = self._decoders.graph.model(type_)
        row = straight(content)
        if not row or len({part.key for part in row}) != len(row) or content.choices or content.branch_arrays:
            raise TemplateError
        if not self._decoders.fields.cursor.fits(content):
            raise TemplateError
        return content

    def _single(self, part: Part) -> _Field:
        element = part.element
        assert element is not None
        if isinstance(element.type, SimpleType):
            return self._leaf(part, element, element.type)
        type_, tag, value = self._complex(element), self._tag(element), self._var()
        if self._loops_in(type_):
            self._flush()
            self._out.add(f"{value} = A")
            self._out.add(f"if t.startswith('<{tag}>', p):")
            self._out.depth += 1
            self._step(f"<{tag}>")
            self._record(type_, value)
            self._close(f"</{tag}>")
            self._out.depth -= 1
            if part.low:
                self._out.add("else: return A")
            return _Field(part.key, value, f"{value} is not A" if part.low == 0 else "")
        self._inlined(element, type_, value, optional=part.low == 0)
        return _Field(part.key, value, f"{value} is not A" if part.low == 0 else "")

    def _inlined(self, element: Element, type_: ComplexType, value: str, *, optional: bool) -> None:
        """An element whose whole content is part of the current expression. `value` is ABSENT if it is absent."""
        nil = self._nil if element.nillable else None
        pattern, tag = self._pattern, re.escape(self._tag(element))
        guarded = optional or nil is not None
        pattern.append(f"(?:<{tag}>{self._gap}")
        there = ""
        if guarded:
            pattern.append("()")
            there = self._group()
            self._later(f"if {there} is not None:")
            self._inner += 1
        self._record(type_, value)
        self._inner -= int(guarded)
        pattern.append(f"</{tag}>")
        if nil is not None:
            pattern.append(f"|<{tag}{nil}()")
            self._later(f"elif {self._group()} is not None: {value} = None")
        pattern.append(f"){'?+' if optional else ''}{self._gap}")
        if guarded:
            self._later(f"else: {value} = A")

    def _complex(self, element: Element) -> ComplexType:
        if not isinstance(element.type, ComplexType) or element.fixed is not None or element.default is not None:
            raise TemplateError
        return element.type

    def _loops_in(self, type_: ComplexType) -> bool:
        """Whether anything repeats within a type."""
        loops = self._looping.get(type_)
        if loops is None:
            slots = self._content(type_).slots.values()
            self._within.append(type_)
            inner = [self._loops_in(slot.element.type) for slot in slots if isinstance(slot.element.type, ComplexType)]
            self._within.pop()
            loops = self._looping[type_] = any(inner) or any(slot.many for slot in slots)
        return loops

    def _tag(self, element: Element) -> str:
        name = self._name_of(element.name)
        if name is None:
            raise TemplateError
        return tag_literal(name)

    def _many(self, part: Part, content: Content) -> _Field:
        """Elements that repeat, in a loop."""
        element, out = part.element, self._out
        assert element is not None
        self._loops += 1
        if self._loops > _MAX_LOOPS:
            raise TemplateError  # Python limits nested blocks
        self._flush()
        array, item = self._var(), self._var()
        out.add(f"{array} = []")
        if self._every:
            out.add(f"{array}_mark = p + {self._every}; {array}_more = {array}_done = 0")
        outer, self._amp = self._amp, self._var()
        # Searched only after the last result: many short arrays must not scan the text each time.
        out.add("if 0 <= at < p: at = t.find('&', p)")
        out.add(f"{self._amp} = at >= 0")
        flat = isinstance(element.type, SimpleType) or not self._loops_in(self._complex(element))
        if flat:
            self._flat_items(element, array, item)
        else:
            self._deep_items(element, array, item)
        self._amp = outer
        self._loops -= 1
        for key, low, high in content.counts:
            if key == part.key:
                count = f"len({array}) + {array}_more" if self._every else f"len({array})"
                out.add(f"if not {low} <= {count}{'' if high is None else f' <= {high}'}: return A")
        always = part.key in content.arrays
        if part.low and not always:
            out.add(f"if not {array}: return A")
        return _Field(part.key, array, "" if always else array)

    def _flat_items(self, element: Element, array: str, item: str) -> None:
        out = self._out
        if isinstance(element.type, SimpleType):
            outer = self._escaped, self._empty
            self._escaped, self._empty = [], []
            item = self._leaf(Part("element", 1, 1, element=element), element, element.type).var
            self._unescape()
            for line in self._empty:
                self._later(line)
            self._escaped, self._empty = outer
        else:
            self._inlined(element, self._complex(element), item, optional=False)
        self._later(f"{array}.append({item})")
        for line in self._packed(array, "m.end()"):
            self._later(line)
        out.add("m = None")
        out.add(f"for m in iter({out.const(self._expression().scanner)}(t, p).match, None):")  # type: ignore[attr-defined]  # the stubs leave it out
        out.depth += 1
        self._unpack()
        out.depth -= 1
        out.add("if m is not None: p = m.end()")

    def _deep_items(self, element: Element, array: str, item: str) -> None:
        out, tag = self._out, self._tag(element)
        out.add(f"while t.startswith('<{tag}>', p):")
        out.depth += 1
        self._step(f"<{tag}>")
        self._record(self._complex(element), item)
        self._close(f"</{tag}>")
        out.add(f"{array}.append({item})")
        for line in self._packed(array, "p"):
            out.add(line)
        out.depth -= 1

    def _packed(self, array: str, place: str) -> Sequence[str]:
        """Lines that pack an array, if required."""
        return packing(array, place, self._every) if self._every else ()

    # --- leaves ---

    def _leaf(self, part: Part, element: Element, type_: SimpleType) -> _Field:
        """An element with a simple type."""
        self._leaves += 1
        simple = self._decoders.simple[type_]
        if self._leaves > _MAX_LEAVES or element.fixed is not None or simple.names:
            raise TemplateError
        tag, optional = re.escape(self._tag(element)), part.low == 0
        self._pattern.append(f"(?:<{tag}>({_shape(simple)})</{tag}>")
        var = self._group()
        sure = there = f"{var} is not None"
        if simple.identity:
            self._pattern.append(f"|<{tag} ?/>()")
            self._empty.append(f"if {self._group()} is not None: {var} = ''")
        if element.nillable and self._nil is not None:
            self._pattern.append(f"|<{tag}{self._nil}()")
            there = f"({var} is not None or {self._group()} is not None)"
        self._pattern.append(f"){'?+' if optional else ''}{self._gap}")
        if not optional and there == sure and not simple.identity:
            sure = ""  # a match implies it
        guard = f"if {var} is not None: " if sure else ""
        if simple.identity:
            self._escaped.append(f"if {var} is not None and '&' in {var}: {var} = unescaped({var})")
        elif simple.shape is None:
            self._later(f"{guard}{var} = {self._out.const(simple.value)}({var})")
        elif simple.shape[1] != "{}":
            self._later(f"{guard}{var} = {simple.shape[1].format(var)}")
        return _Field(part.key, var, there if optional else "", sure)


def _shape(simple: SimpleReader) -> str:
    """The expression for a type's text."""
    if simple.identity:
        return f"{_TEXT}*+"
    # A text that is converted must not be empty: the parser's path reports empty ones.
    return simple.shape[0] if simple.shape is not None else f"{_TEXT[:-1]}&]++"
