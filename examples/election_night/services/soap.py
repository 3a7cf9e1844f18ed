"""A SOAP 1.1 service made from its WSDL: document/literal, one body element for each operation.

The contract comes first. A request that is invalid by the WSDL's schema gets a fault and reaches no operation.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from wsgiref.util import request_uri

from lxml import etree
from lxml.builder import ElementMaker  # pyright: ignore[reportMissingImports]  # has no types
from wire import Environ, StartResponse

Element = etree._Element
#: Takes the body element of a valid request, and returns that of the reply.
Operation = Callable[[Element], Element]

LARGEST = 64 * 1024  # bytes of a request's body

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_NEXT = "http://schemas.xmlsoap.org/soap/actor/next"
_NS = {
    "soap": _SOAP,
    "wsdl": "http://schemas.xmlsoap.org/wsdl/",
    "binding": "http://schemas.xmlsoap.org/wsdl/soap/",
    "xs": "http://www.w3.org/2001/XMLSchema",
}


def maker(namespace: str, prefix: str) -> ElementMaker:
    """Makes elements of `namespace`, with values in the lexical forms of XML Schema: ``E.votes(2357)``."""
    return ElementMaker(
        namespace=namespace,
        nsmap={prefix: namespace},
        typemap={
            bool: lambda _, value: str(value).lower(),
            int: lambda _, value: str(value),
            Decimal: lambda _, value: format(value, "f"),
            datetime: lambda _, value: value.isoformat(),
        },
    )


#: The content of an element that has no value: ``E.ballotsCast(NIL)``.
NIL = {"{http://www.w3.org/2001/XMLSchema-instance}nil": "true"}

_E = maker(_SOAP, "soap")
_UNQUALIFIED = ElementMaker()


class Fault(Exception):
    """A SOAP fault: `code` is ``Client`` for an error of the request, ``Server`` for one of the service."""

    def __init__(self, code: str, sentence: str, detail: Element | None = None) -> None:
        super().__init__(sentence)
        self._code, self._sentence, self._detail = code, sentence, detail

    def element(self) -> Element:
        """The body element that reports it (SOAP 1.1, section 4.4)."""
        parts = [_UNQUALIFIED.faultcode(f"soap:{self._code}"), _UNQUALIFIED.faultstring(self._sentence)]
        if self._detail is not None:
            parts.append(_UNQUALIFIED.detail(self._detail))
        return _E.Fault(*parts)


class SoapService:
    """The WSGI application that serves the contract in `wsdl`.

    :param operations: the implementations, by the operations' names in the contract.
    :raises KeyError: one of the contract's operations is missing.
    """

    def __init__(self, wsdl: Path, operations: Mapping[str, Operation]) -> None:
        self._wsdl = etree.parse(wsdl).getroot()
        (schema,) = self._wsdl.iterfind("wsdl:types/xs:schema", _NS)
        # When serialised alone, the schema includes the prefixes that are declared around it.
        self._schema = etree.XMLSchema(etree.fromstring(etree.tostring(schema)))
        self._lock = threading.Lock()
        self._operations = {
            self._input(operation): operations[operation.get("name", "")]
            for operation in self._wsdl.iterfind("wsdl:portType/wsdl:operation", _NS)
        }
        (address,) = self._wsdl.iterfind("wsdl:service/wsdl:port/binding:address", _NS)
        self._path = re.sub(r"^\w+://[^/]*", "", address.get("location", ""))

    def _input(self, operation: Element) -> str:
        """The tag of `operation`'s request element."""
        (input_element,) = operation.iterfind("wsdl:input", _NS)
        message = input_element.get("message", "").partition(":")[2]
        (part,) = self._wsdl.iterfind(f"wsdl:message[@name='{message}']/wsdl:part", _NS)
        prefix, _, name = part.get("element", "").partition(":")
        return f"{{{part.nsmap[prefix]}}}{name}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], environ["QUERY_STRING"]
        more: list[tuple[str, str]] = []
        if environ["PATH_INFO"] != self._path:
            status, kind, answer = "404 Not Found", "text/plain", b"There is no service here.\n"
        elif method == "POST":
            status, kind, answer = self._call(environ)
        elif method == "GET" and query.lower() == "wsdl":
            status, kind, answer = "200 OK", "text/xml", self._contract(request_uri(environ, include_query=False))
        else:
            status, kind, answer = "405 Method Not Allowed", "text/plain", b"POST a SOAP envelope, or GET ?wsdl.\n"
            more.append(("Allow", "POST"))
        length = str(len(answer))
        start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", length), *more])
        return [answer]

    def _call(self, environ: Environ) -> tuple[str, str, bytes]:
        """Status, media type and body of the answer; a fault is a 500 (SOAP 1.1, section 6.2)."""
        status = "500 Internal Server Error"
        try:
            request = _body_element(_read(environ))
            reply = self._operation(request)(request)
            status = "200 OK"
        except Fault as fault:
            reply = fault.element()
        except Exception:
            logging.exception("a request failed")
            reply = Fault("Server", "The service could not process the request.").element()
        return status, "text/xml", _xml(_E.Envelope(_E.Body(reply)))

    def _operation(self, request: Element) -> Operation:
        """The operation of `request`.

        :raises Fault: there is no such operation, or the request is invalid by the schema.
        """
        operation = self._operations.get(request.tag)
        if operation is None:
            raise Fault("Client", f"No operation takes the element {request.tag}.")
        try:
            with self._lock:  # the schema keeps the errors of its latest check
                self._schema.assertValid(request)
        except etree.DocumentInvalid as error:
            raise Fault("Client", str(error)) from None
        return operation

    def _contract(self, location: str) -> bytes:
        """The WSDL, with the address of this request."""
        wsdl = deepcopy(self._wsdl)
        for address in wsdl.iterfind("wsdl:service/wsdl:port/binding:address", _NS):
            address.set("location", location)
        return _xml(wsdl)


def _read(environ: Environ) -> bytes:
    """The request's body.

    :raises Fault: it is too large or of unknown length.
    """
    declared = environ.get("CONTENT_LENGTH") or ""
    if not re.fullmatch(r"[0-9]{1,15}", declared):
        raise Fault("Client", "The request must declare its length in Content-Length.")
    remaining = int(declared)
    if remaining <= LARGEST:
        return bytes(environ["wsgi.input"].read(remaining))
    # A client that is still sending would not read the answer.
    while remaining and (part := environ["wsgi.input"].read(min(remaining, LARGEST))):
        remaining -= len(part)
    raise Fault("Client", f"The request is larger than {LARGEST} bytes.")


def _body_element(document: bytes) -> Element:
    """The element in the SOAP body of `document`.

    :raises Fault: it is not a SOAP 1.1 message, or not one for a document/literal service.
    """
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
        envelope = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise Fault("Client", f"The request is not well-formed XML: {error.msg}") from None
    if envelope.getroottree().docinfo.internalDTD is not None:
        raise Fault("Client", "A SOAP message must not contain a document type declaration.")  # section 3
    if envelope.tag != f"{{{_SOAP}}}Envelope":
        code = "VersionMismatch" if etree.QName(envelope).localname == "Envelope" else "Client"
        raise Fault(code, f"The request must be a SOAP 1.1 envelope and is {envelope.tag}.")
    for block in envelope.iterfind("soap:Header/*", _NS):
        # Without an actor, a block is for the final recipient; with another one, it is not for this service.
        if block.get(f"{{{_SOAP}}}mustUnderstand") == "1" and block.get(f"{{{_SOAP}}}actor", _NEXT) == _NEXT:
            raise Fault("MustUnderstand", f"This service does not know the header {block.tag}.")
    elements = envelope.findall("soap:Body/*", _NS)
    if len(elements) != 1:
        raise Fault("Client", f"The SOAP body must hold one element and holds {len(elements)}.")
    return elements[0]


def _xml(element: Element) -> bytes:
    return etree.tostring(element, xml_declaration=True, encoding="UTF-8")
