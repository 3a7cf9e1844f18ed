"""Whether a gateway's answer is the right one, by value, and whether the service got the right request."""

from __future__ import annotations

import http.client
import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
from lxml import etree

from benchmarks.side_by_side import sample
from benchmarks.side_by_side.case import Case

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


class WrongAnswer(Exception):
    """The answer is not the expected one; a figure of such a gateway doesn't count."""


def ask(port: int, case: Case, headers: dict[str, str]) -> bytes:
    """The body of a 200.

    :raises WrongAnswer: another status.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        request = case.request
        connection.request(request.method, request.path, request.body or None, {**request.headers, **headers})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise WrongAnswer(f"{case.name}: {response.status} {body[:500].decode('utf-8', 'replace')}")
    return body


def check(port: int, case: Case, headers: dict[str, str], service: int) -> int:
    """Ask once and compare; what a SOAP service got is compared as well. The size of the answer in bytes.

    :param service: the port of the HTTP service behind, which tells the last body that it got.
    :raises WrongAnswer: says what differs first.
    """
    body = ask(port, case, headers)
    if difference := differs(plain(case.expected()), plain(values(body))):
        raise WrongAnswer(f"{case.name}: {difference}")
    if case.lines:
        sent = order_of(last(service))
        if difference := differs(plain(sample.soap_order(case.lines)), plain(sent)):
            raise WrongAnswer(f"{case.name}: the service got something else: {difference}")
    return len(body)


def last(service: int) -> bytes:
    """The body that the HTTP service got last."""
    connection = http.client.HTTPConnection("127.0.0.1", service, timeout=30)
    try:
        connection.request("GET", "/last")
        return connection.getresponse().read()
    finally:
        connection.close()


def values(body: bytes) -> Any:
    """The JSON of an answer, or the list of its lines where it is NDJSON.

    :raises WrongAnswer: it is neither.
    """
    try:
        lines = body.strip().split(b"\n")
        return [orjson.loads(line) for line in lines] if len(lines) > 1 else orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WrongAnswer(f"not JSON: {body[:200].decode('utf-8', 'replace')}") from None


def plain(value: Any) -> Any:
    """`value` without what gateways may rightly do differently.

    Numbers and texts that are numbers are one (``"19.95"``, ``19.95``, int64 as text); times are instants (``Z``,
    ``+00:00``, ``.000Z``); names are compared in lower case (Java's beans); a message of a stream may stand alone or
    as ``result`` (grpc-gateway), and a SOAP answer with or without the element around it.
    """
    if isinstance(value, dict):
        if len(value) == 1 and (name := next(iter(value))) in ("result", "PlaceOrderResult"):
            return plain(value[name])
        return {str(name).lower(): plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    text = str(value)
    if _TIME.match(text):
        return datetime.fromisoformat(text)
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def differs(expected: Any, got: Any, at: str = "") -> str:
    """Where the two differ first, in words; empty where they don't."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in expected.keys() | got.keys():
            if name not in expected or name not in got:
                return f"{at}.{name} is {'missing' if name in expected else 'too much'}"
            if difference := differs(expected[name], got[name], f"{at}.{name}"):
                return difference
        return ""
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{at} has {len(got)} items, not {len(expected)}"
        found = (differs(one, other, f"{at}[{n}]") for n, (one, other) in enumerate(zip(expected, got, strict=True)))
        return next(filter(None, found), "")
    return "" if type(expected) is type(got) and expected == got else f"{at} is {got!r:.200}, not {expected!r:.200}"


def order_of(envelope: bytes) -> Any:
    """The order in a request to the SOAP service, its elements' names and texts in the namespace of the WSDL.

    :raises WrongAnswer: there is none.
    """
    try:
        root = etree.fromstring(envelope, etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError as error:
        raise WrongAnswer(f"the service got no XML: {error}") from None
    found = root.find(f".//{{{sample.NAMESPACE}}}PlaceOrder/{{{sample.NAMESPACE}}}order")
    if found is None:
        raise WrongAnswer("the service got no order")
    return _value(found)


def _value(node: etree._Element) -> Any:
    name = etree.QName(node)
    if name.namespace != sample.NAMESPACE:
        raise WrongAnswer(f"{node.tag} is in the wrong namespace")
    if name.localname == "Gift":
        return {"true": True, "1": True, "false": False, "0": False}[node.text or ""]
    if name.localname == "Lines":
        return {"OrderLine": [_value(each) for each in node]}
    return {etree.QName(each).localname: _value(each) for each in node} if len(node) else node.text
