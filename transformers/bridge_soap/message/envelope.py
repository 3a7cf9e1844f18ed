"""SOAP envelopes (SOAP 1.1, section 4; SOAP 1.2 part 1, section 5)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from lxml import etree

from bridge.api import USER_AGENT, Call, XmlError, is_html, misnamed, parse_xml
from bridge_soap.datatypes.simple_out import escape_attribute
from bridge_soap.message.repair import Parse, repaired
from bridge_soap.names import DRAFTS, SOAP11, SOAP12, XSD, XSI, clark, split, tag_of
from bridge_soap.wsdl.model import Version

ENVELOPES: dict[str, str] = {"1.1": SOAP11, "1.2": SOAP12}
#: The media types of envelopes (SOAP 1.1, section 6; RFC 3902).
SOAP_TYPES: dict[str, str] = {"1.1": "text/xml", "1.2": "application/soap+xml"}


def _parts(namespace: str) -> tuple[str, str, str]:
    return clark(namespace, "Body"), clark(namespace, "Header"), clark(namespace, "Fault")


#: The tags of body, header and fault, by the envelope's tag.
PARTS = {clark(namespace, "Envelope"): _parts(namespace) for namespace in ENVELOPES.values()}

_CHARSET = re.compile(r'charset\s*=\s*"?([A-Za-z0-9._:-]+)', re.IGNORECASE)
_ENCODING = re.compile(rb"""<\?xml[^>]{0,400}?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)""")
_DRAFTS = tuple(draft.encode() for draft in DRAFTS)
#: Charsets that services use. Python has others, which are not for text or very slow.
_KNOWN_CHARSET = re.compile(
    r"utf-?8|utf-?(?:16|32)(?:-?[lb]e)?|(?:us-)?ascii|iso[-_]?8859-\d\d?|latin-?\d|windows-125\d|cp\d{3,4}|ibm\d{3,4}"
    r"|koi8-[ru]|gb2312|gbk|gb18030|big5|shift[-_]jis|euc-(?:jp|kr)|mac-?roman"
)
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


class Envelope:
    """The writer of one operation's envelopes.

    :param declarations: ``xmlns`` attributes of the namespaces in bodies.
    :param header: the constant header blocks as XML.
    :param token: makes a header block that differs for each call.
    """

    def __init__(
        self, version: Version, declarations: str, header: str = "", token: Callable[[Call], str] | None = None
    ) -> None:
        namespace = ENVELOPES[version]
        self._start = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<s:Envelope xmlns:s="{namespace}" xmlns:xsi="{XSI}"'
            f' xmlns:xs="http://www.w3.org/2001/XMLSchema"{declarations}>'
        )
        self._header, self._token = header, token
        block = f"<s:Header>{header}</s:Header>" if header else ""
        self._constant = f"{self._start}{block}<s:Body>"

    def start(self, call: Call, blocks: str = "") -> str:
        """Everything before the body's content.

        :param blocks: more header blocks for this call, as XML.
        """
        if self._token is None and not blocks:
            return self._constant
        token = self._token(call) if self._token is not None else ""
        return f"{self._start}<s:Header>{self._header}{token}{blocks}</s:Header><s:Body>"

    end = "</s:Body></s:Envelope>"


def http_headers(version: Version, action: str) -> list[tuple[str, str]]:
    """Content type and action (SOAP 1.1, section 6.1.1; SOAP 1.2 part 2, sections 6.5 and 7; RFC 3902)."""
    action = " ".join(action.split())  # some WSDLs have line breaks in it
    if len(action) > 1 and action[0] == action[-1] == '"':
        action = action[1:-1]  # others include the quotes
    action = action.replace("\\", "\\\\").replace('"', '\\"') if any(c in action for c in '"\\') else action
    if version == "1.1":
        return [
            ("content-type", "text/xml; charset=utf-8"),
            ("accept", "text/xml"),
            ("user-agent", USER_AGENT),
            ("soapaction", f'"{action}"'),
        ]
    parameter = f'; action="{action}"' if action else ""
    return [
        ("content-type", f"application/soap+xml; charset=utf-8{parameter}"),
        ("accept", "application/soap+xml"),
        ("user-agent", USER_AGENT),
    ]


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of a reply: body, header, and the Fault in the body."""

    body: etree._Element
    fault: etree._Element | None
    header: etree._Element | None


#: Takes a sentence about what was tolerated in a message.
Tolerate = Callable[[str], None]


def read_message(raw: bytes, content_type: str, parse: Parse = parse_xml, tolerate: Tolerate | None = None) -> Message:
    """The SOAP message in a reply, of either version.

    :param tolerate: told of each liberty, such as a repair of a document that is not well-formed; without it, none is
        taken.
    :raises bridge.api.XmlError: there is none; the message has the reason.
    """
    for draft in _DRAFTS:
        if draft in raw:
            raw = raw.replace(draft, XSD.encode())
    try:
        root = _parse(raw, content_type, parse)
    except XmlError as error:
        if is_html(raw):
            raise XmlError(_PAGE) from None
        if tolerate is None:
            raise
        root = repaired(raw, _charset(content_type), parse, error, tolerate)
    parts = PARTS.get(root.tag)
    if parts is None:
        parts = _foreign_parts(root, tolerate)
    body = header = fault = None
    text = root.text or ""
    for child in root:  # cheaper than three calls of lxml's `find`
        text += child.tail or ""
        tag = child.tag
        if tag == parts[0]:
            body = child if body is None else body
        elif tag == parts[1]:
            header = child if header is None else header
    if body is None:
        raise XmlError("its envelope has no body")
    if text and not text.isspace():
        _tell("its envelope holds text where only elements belong; that is left out", tolerate)
    for child in body:
        if child.tag == parts[2]:
            fault = child
            break
    return Message(body, fault, header)


def parts_of(tag: str) -> tuple[str, str, str] | None:
    """The tags of body, header and fault in an envelope of that tag, in whatever namespace; None if it is none."""
    namespace, local = split(tag)
    return PARTS.get(tag) or (_parts(namespace) if local == "Envelope" else None)


def _foreign_parts(root: etree._Element, tolerate: Tolerate | None) -> tuple[str, str, str]:
    """The parts of an envelope whose namespace is none of SOAP's.

    :raises bridge.api.XmlError: it is no envelope, or nothing is tolerated.
    """
    namespace, name = split(tag_of(root))
    if name != "Envelope":
        raise XmlError(_PAGE if name.lower() == "html" else f"its root is {name}, not a SOAP envelope")
    why = (
        f"its envelope is in {f'the namespace {namespace!r}' if namespace else 'no namespace'}, which is none of SOAP's"
    )
    _tell(why, tolerate)
    return _parts(namespace)


def _tell(why: str, tolerate: Tolerate | None) -> None:
    """:raises bridge.api.XmlError: nothing is tolerated."""
    if tolerate is None:
        raise XmlError(why)
    tolerate(why)


_PAGE = "it is an HTML page: its root is html, not a SOAP envelope"


def _charset(content_type: str) -> str:
    """The charset parameter; ``""`` if there is none that is known."""
    parameter = _CHARSET.search(content_type)
    charset = parameter[1].lower() if parameter is not None else ""
    return charset if _KNOWN_CHARSET.fullmatch(charset) else ""


def _parse(body: bytes, content_type: str, parse: Parse) -> etree._Element:
    """The root element. The charset parameter outranks the document's own declaration (RFC 7303, section 3)."""
    charset = _charset(content_type)
    if body[:2] in _WIDE_STARTS and misnamed(body, charset):
        raise XmlError("it names another encoding and is in UTF-16")
    if body.startswith(_MARKS):
        return parse(body)  # a byte order mark outranks both
    match = _ENCODING.match(body[:500])
    declared = match[1].decode().lower() if match is not None else ""
    if misnamed(body, charset or declared):
        raise XmlError(f"it names the encoding {charset or declared} and is in UTF-8")
    if not charset or (charset in _UTF8 and declared in ("", *_UTF8)):
        return parse(body)
    try:
        text = _as_utf8(body, charset)
    except (LookupError, UnicodeError):
        raise XmlError(f"it is not in {charset}, as its content type says") from None
    return parse(text)


_UTF8 = ("utf-8", "utf8")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  #: byte order marks
_WIDE_STARTS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")  #: of a document in UTF-16


#: Characters decoded at a time: some decoders are slow and hold the interpreter lock.
_DECODED = 256 * 1024


def _as_utf8(body: bytes, charset: str) -> bytes:
    """A document as UTF-8, without its declaration.

    :raises LookupError: the charset is unknown.
    :raises UnicodeError: the document is not in this charset.
    """
    with io.TextIOWrapper(io.BytesIO(body), charset, "strict", newline="") as text:
        pieces = iter(lambda: text.read(_DECODED), "")
        start = _DECLARATION.sub("", next(pieces, ""), count=1).encode()
        return start + b"".join(piece.encode() for piece in pieces)


def names_other(body: bytes) -> bool:
    """Whether the document names an encoding other than UTF-8."""
    match = _ENCODING.match(body[:500])
    return match is not None and match[1].decode().lower() not in _UTF8


def is_utf8(content_type: str) -> bool:
    """Whether a message of that type is a single document in UTF-8, unless the document says otherwise."""
    parameter = _CHARSET.search(content_type)
    if parameter is not None and parameter[1].lower() not in ("utf-8", "utf8"):
        return False
    return content_type[:10].lower() != "multipart/"


def payload(message: Message) -> bytes:
    """The body's elements as XML, without the envelope."""
    # As bytes: a rare character would make each character of a Python string four bytes.
    parts = [etree.tostring(child, encoding="utf-8", xml_declaration=False, with_tail=False) for child in message.body]
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + b"".join(parts)


def attribute(name: str, value: str) -> str:
    return f' {name}="{escape_attribute(value)}"'
