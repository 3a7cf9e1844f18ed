"""Fast path for records of simple values: one string instead of one per value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bridge.api import FAST_PATHS
from bridge_soap.components import ComplexType, Element, SimpleType
from bridge_soap.datatypes.simple_out import FAST_TEXT
from bridge_soap.source import Source, tag_literal
from bridge_soap.xsd.model import straight

if TYPE_CHECKING:
    from bridge_soap.encode.encoders import Encoders

#: Longer records usually have optional elements that are absent.
_MAX_ROW = 32
_X = re.compile(r"\bx\b")


def row_of(encoders: Encoders, out: Source, type_: ComplexType) -> str:
    """The markup of the record ``x`` for an f-string; empty if the type has more than a few simple values.

    The code added to `out` sets ``ok``: whether the record is complete, has no other properties, and all its values are
    in the forms that `SimpleWriter.fast` tests for.
    """
    content = encoders.graph.model(type_)
    parts = straight(content)
    if not FAST_PATHS or not parts or len(parts) > _MAX_ROW or any(slot.many for slot in content.slots.values()):
        return ""
    markup, tests, texts = "", list[str](), list[str]()
    for number, part in enumerate(parts):
        element, name = part.element, f"y{number}"
        assert element is not None
        fast = _fast(encoders, element)
        if not fast:
            return ""
        if fast is FAST_TEXT:
            texts.append(name)
        else:
            tests.append("(" + " or ".join(_of(name, test) for test, _ in fast) + ")")
        tag = tag_literal(encoders.prefixes.tag(element.name))
        markup += f"<{tag}>{_text(name, fast)}</{tag}>"
    if len(texts) > 1:
        # One test of the joined texts is cheaper than a test of each.
        tests += [f"{name}.__class__ is str" for name in texts]
        tests.append(f"(y := {' + '.join(texts)}).isprintable() and '&' not in y and '<' not in y and '>' not in y")
    elif texts:
        tests.append(_of(texts[0], FAST_TEXT[0][0]))
    out.add("ok = False")
    out.add("try:")
    out.add(f"    if x.__class__ is dict and len(x) == {len(parts)}:")
    out.add("        " + "; ".join(f"y{number} = x[{part.key!r}]" for number, part in enumerate(parts)))
    out.add(f"        ok = {' and '.join(tests)}")
    out.add("except KeyError: pass")
    return markup


def _fast(encoders: Encoders, element: Element) -> tuple[tuple[str, str], ...]:
    """`SimpleWriter.fast`; empty for elements that need another writer."""
    type_ = element.type
    if not isinstance(type_, SimpleType) or encoders.values.has_members(element):
        return ()
    if element.default is not None or element.fixed is not None or type_.builtin == "anySimpleType":
        return ()
    writer = encoders.simple[type_]
    return () if writer.names else writer.fast


def _text(name: str, fast: tuple[tuple[str, str], ...]) -> str:
    """The text between the tags, inside an f-string: one of two constants, or the value."""
    (test, first), *others = fast
    if not others:
        return _of(name, first)
    ((_, second),) = others
    return f'{{"{first}" if {_of(name, test)} else "{second}"}}'


def _of(name: str, source: str) -> str:
    """The expression `source` with `name` in place of ``x``."""
    return _X.sub(name, source)
