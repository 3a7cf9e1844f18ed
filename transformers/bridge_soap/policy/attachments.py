"""Policies that are attached from outside of what they apply to: ``wsp:PolicyAttachment`` (WS-PolicyAttachment, section
3.4), whose ``wsp:AppliesTo`` names an element of a WSDL by its identifier."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from bridge_soap.names import local_name, tag_of
from bridge_soap.policy.demand import POLICIES, is_policy

#: The names of elements in identifiers (WSDL 1.1 Element Identifiers, section 2), by their own and their parent's.
_KINDS = {
    ("service", "definitions"): "service",
    ("port", "service"): "port",
    ("binding", "definitions"): "binding",
    ("operation", "binding"): "bindingOperation",
    ("portType", "definitions"): "portType",
    ("operation", "portType"): "portTypeOperation",
    ("message", "definitions"): "message",
}


class PolicyAttachments:
    """The attached policies in some documents, by the identifier of what they apply to."""

    def __init__(self, roots: Iterable[etree._Element]) -> None:
        self._policies: dict[str, list[etree._Element]] = {}
        for root in roots:
            for attachment in root.iter(*(f"{{{namespace}}}PolicyAttachment" for namespace in POLICIES)):
                policies = [child for child in attachment if is_policy(child, "Policy", "PolicyReference")]
                for scope in (child for child in attachment if is_policy(child, "AppliesTo")):
                    for node in (child for child in scope if is_policy(child, "URI")):
                        self._policies.setdefault("".join((node.text or "").split()), []).extend(policies)

    def of(self, subject: etree._Element) -> list[etree._Element]:
        """The policies and references that are attached to an element of a WSDL."""
        return self._policies.get(_identifier(subject), []) if self._policies else []


def _identifier(subject: etree._Element) -> str:
    """``urn:bank#wsdl11.binding(Soap)``; ``""`` for an element that has no identifier."""
    parent = subject.getparent()
    if parent is None:
        return ""
    own, part = local_name(tag_of(subject)), ""
    if own in ("input", "output"):
        subject, parent, part = parent, parent.getparent(), f".{own}"
        own = local_name(tag_of(subject))
    kind = _KINDS.get((own, local_name(tag_of(parent)))) if parent is not None else None
    if kind is None or parent is None:
        return ""
    outer = local_name(tag_of(parent)) != "definitions"
    path = f"{parent.get('name', '')}/{subject.get('name', '')}" if outer else subject.get("name", "")
    namespace = subject.getroottree().getroot().get("targetNamespace", "").strip()
    return f"{namespace}#wsdl11.{kind}{part}({path})"
