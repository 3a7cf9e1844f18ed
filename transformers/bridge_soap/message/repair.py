"""Messages that are not well-formed in a way that loses little: repaired, and parsed again."""

from __future__ import annotations

import re
from collections.abc import Callable

from lxml import etree

from bridge.api import PrefixError, XmlError, repair_xml
from bridge_soap.datatypes.simple_out import escape_attribute
from bridge_soap.names import SOAP11, SOAP12, XSD, XSI

#: Parses bytes to the root element; raises `bridge.api.XmlError`.
Parse = Callable[[bytes], etree._Element]

#: The namespaces of prefixes that every toolkit writes alike.
_USUAL = {"xsi": XSI, "xsd": XSD, "xs": XSD, "SOAP-ENV": SOAP11, "soapenv": SOAP11, "soap": SOAP11, "soap12": SOAP12}
#: The namespace of any other prefix that is not declared; its end is the prefix.
UNDECLARED = "urn:bridge:undeclared-prefix:"
_MAX_PREFIXES = 50
_ROOT = re.compile(r"<([A-Za-z_][^\s/>]*)")
_PREFIX = re.compile(r"""<([A-Za-z_][\w.-]{0,100}):|\s([A-Za-z_][\w.-]{0,100}):[\w.-]{1,100}\s{0,9}=\s{0,9}["']""")
_DECLARED = re.compile(r"""\sxmlns:([\w.-]{1,100})\s{0,9}=\s{0,9}(?:"([^"<]{0,500})"|'([^'<]{0,500})')""")
#: Characters searched at a time, and what of the next ones is searched with them.
_SLICE, _MARGIN = 256 * 1024, 1024


def repaired(
    body: bytes, charset: str, parse: Parse, error: XmlError, tolerate: Callable[[str], None]
) -> etree._Element:
    """The root element of a document that `parse` refused with `error`; each repair is told.

    :raises bridge.api.XmlError: `error`, if it can't be repaired.
    """
    result = repair_xml(body, charset)
    if result is None:
        raise error
    body, notes = result
    undeclared = isinstance(error, PrefixError)
    root = None
    if notes:
        try:
            root = parse(body)
        except PrefixError:
            undeclared = True
        except XmlError:
            raise error from None
    elif not undeclared:
        raise error
    if root is None:
        body, note = _with_prefixes(body.decode())
        try:
            root = parse(body)
        except XmlError:
            raise error from None
        notes.append(note)
    for note in notes:
        tolerate(note)
    return root


def _with_prefixes(text: str) -> tuple[bytes, str]:
    """The document with a declaration at its root for each prefix that has none there, and what to say of it. Prefixes
    declared elsewhere have that namespace, where it is not in scope too."""
    root = _ROOT.search(text)
    if root is None:
        return text.encode(), ""
    declared: dict[str, str] = {}
    used: dict[str, None] = {}
    for at in range(0, len(text), _SLICE):
        for match in _DECLARED.finditer(text, at, at + _SLICE + _MARGIN):
            declared.setdefault(match[1], match[2] or match[3] or "")
        for match in _PREFIX.finditer(text, at, at + _SLICE + _MARGIN):
            used.setdefault(match[1] or match[2])
        if len(used) > _MAX_PREFIXES:
            break
    own = {match[1] for match in _DECLARED.finditer(text, root.end(), text.find(">", root.end()))}
    wanted = {
        prefix: declared.get(prefix) or _USUAL.get(prefix) or UNDECLARED + prefix
        for prefix in used
        if prefix not in own and prefix not in ("xml", "xmlns")
    }
    told = [prefix for prefix in wanted if prefix not in declared] or list(wanted)
    text = "".join(
        (
            text[: root.end()],
            *(f' xmlns:{prefix}="{escape_attribute(namespace)}"' for prefix, namespace in wanted.items()),
            text[root.end() :],
        )
    )
    return text.encode(), f"no namespace is declared for the prefixes {', '.join(told[:10])}"
