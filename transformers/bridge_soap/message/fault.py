"""SOAP faults to problem details (SOAP 1.1, section 4.4; SOAP 1.2 part 1, section 5.4; CONTRACT, section 6)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from lxml import etree

from bridge.api import BindError, UpstreamFault
from bridge_soap.components import Element
from bridge_soap.datatypes.simple_in import resolve_names
from bridge_soap.decode.decoders import Decoders, Note
from bridge_soap.names import SOAP12, attributes_of, local_name, split, tag_of
from bridge_soap.xsd.model import ANY

#: HTTP status by fault code; 502 for all others.
_STATUS = {"Client": 400, "Sender": 400, "Server": 502, "Receiver": 502}
#: Details that servers add for debugging; they name code and machines, so they are not passed on.
_INTERNAL = frozenset({"stackTrace", "StackTrace", "hostname", "exceptionName", "ExceptionDetail", "exception"})
_TRACE = re.compile(
    r"\r?\n[^\S\n]*(?:at |File \"|Traceback |--- End of|---> ).*"
    # Perl's die() adds this to a message; confess() also adds a trace.
    r"| at (?:[^\s/\\]*[/\\]\S*|\S+\.(?:p[lm]|cgi)|\(eval \d+\)) line \d+"
    r"(?:, <[^>\n]*> (?:line|chunk) \d+)?\.?\s*(?:\n.*)?\Z",
    re.DOTALL,
)
_MAX_REASON = 2000
#: The parts of a fault of either version, in small letters.
_PARTS = frozenset({"faultcode", "faultstring", "faultactor", "detail", "code", "reason", "node", "role"})


class FaultReader:
    """Reads the faults of one operation.

    :param declared: elements that the WSDL declares for the detail, by tag.
    :param statuses: HTTP statuses by the local or Clark name of a detail element.
    """

    def __init__(self, decoders: Decoders, declared: Mapping[str, Element], statuses: Mapping[str, int]) -> None:
        self._decoders, self._statuses = decoders, statuses
        self._readers = {}
        for tag, element in declared.items():
            try:
                self._readers[tag] = decoders.ready(element)
            except BindError:
                continue  # its detail is read without a type

    def problem(self, fault: etree._Element, headers: Sequence[tuple[str, str]], note: Note) -> UpstreamFault:
        """The exception for the client. A fault is told whatever its form.

        :param headers: they go on the response.
        :param note: told where the fault breaks SOAP's schema, or its detail breaks the contract's; must not raise.
        """
        older = _child(fault, "faultcode") is not None
        newer = not older and (fault.tag == f"{{{SOAP12}}}Fault" or _child(fault, "Code") is not None)
        _check_names(fault, split(tag_of(fault))[0] if newer else "", note)
        if newer:
            code, subcode, reason, detail = _soap12(fault)
        else:
            code, subcode, reason, detail = _soap11(fault)
        reason = _clean(reason)
        fault_json: dict[str, Any] = {"code": code, "reason": reason}
        if subcode:
            fault_json["subcode"] = subcode
        status = _STATUS.get(code.partition(".")[0], 502)
        if detail is not None:
            fault_json["detail"] = self._detail(detail, note)
            for child in detail:
                tag = tag_of(child)
                mapped = self._statuses.get(local_name(tag), self._statuses.get(tag))
                if mapped is not None:
                    status = mapped
                    break
        return UpstreamFault(
            reason or "The service refused the call.",
            members={"fault": fault_json},
            headers=headers,
            status=status,
            cause=f"SOAP fault {code or 'without a code'}: {reason}",
        )

    def _detail(self, detail: etree._Element, note: Note) -> Any:
        """Declared elements by name, typed; others in ``#any``; text alone as a string."""
        if not len(detail):
            return _clean(detail.text or "")
        out: dict[str, Any] = {}
        for child in detail:
            tag = tag_of(child)
            # A part with a type has no namespace; some servers add one.
            reader = self._readers.get(tag) or self._readers.get(local_name(tag))
            if reader is not None:
                _add(out, local_name(tag), plain(reader(child, note)))
            elif local_name(tag) not in _INTERNAL:
                value = plain(self._decoders.unknown.element(child, None, note))
                out.setdefault(ANY, []).append({tag: value})
        return out


def _clean(text: str) -> str:
    """A service's message without stack traces, shortened."""
    return _TRACE.sub("", text.strip()[: 4 * _MAX_REASON]).strip()[:_MAX_REASON]


def _add(out: dict[str, Any], key: str, value: Any) -> None:
    """Add one detail element by name; elements with one name become an array."""
    if key in out:
        out[key] = [*(out[key] if isinstance(out[key], list) else [out[key]]), value]
    else:
        out[key] = value


def plain(value: Any) -> Any:
    """Raw JSON numbers as Python values, since another serializer writes the problem."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def _check_names(fault: etree._Element, namespace: str, note: Note) -> None:
    """Tell of parts of a fault that are not in the namespace that SOAP gives them."""
    names = [split(tag_of(child)) for child in fault]
    wrong = [local for own, local in names if local.lower() in _PARTS and own != namespace]
    if wrong:
        note(fault, f"its parts {', '.join(wrong)} are not in {namespace or 'no namespace'}, as SOAP has it")


def _soap11(fault: etree._Element) -> tuple[str, str, str, etree._Element | None]:
    code = reason = ""
    detail: etree._Element | None = None
    for child in fault:
        local = local_name(tag_of(child))  # some servers qualify these names
        if local == "faultcode":
            code = (child.text or "").strip()
        elif local == "faultstring":
            reason = child.text or ""
        elif local in ("detail", "Detail"):
            detail = child
    return code.rpartition(":")[2], "", reason, detail


def _soap12(fault: etree._Element) -> tuple[str, str, str, etree._Element | None]:
    code = _child(fault, "Code")
    subcodes = []
    step = _child(code, "Subcode")
    while step is not None:
        value = _child(step, "Value")
        if value is not None and value.text:
            subcodes.append(local_name(resolve_names(value.text, value.nsmap)))
        step = _child(step, "Subcode")
    reason = _child(fault, "Reason")
    texts = [each for each in reason if local_name(tag_of(each)) == "Text"] if reason is not None else []
    english = [text for text in texts if dict(attributes_of(text)).get(_LANG, "").lower().startswith("en")]
    words = _text((english or texts)[0]) if texts else _text(reason) or _text(_child(fault, "faultstring"))
    name = _text(_child(code, "Value")) or _text(code)
    return name.strip().rpartition(":")[2], "/".join(subcodes), words, _child(fault, "Detail")


def _child(node: etree._Element | None, local: str) -> etree._Element | None:
    """The first child of that local name, with a small or a capital letter, in whatever namespace: some servers leave
    out the namespace."""
    if node is None:
        return None
    names = (local, local[0].lower() + local[1:])
    return next((child for child in node if local_name(tag_of(child)) in names), None)


def _text(node: etree._Element | None) -> str:
    return node.text or "" if node is not None else ""


_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
