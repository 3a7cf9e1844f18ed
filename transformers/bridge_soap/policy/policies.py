"""The policies of a contract, and the alternatives that each leaves (WS-Policy 1.5, Framework, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from lxml import etree

from bridge_soap.names import XML
from bridge_soap.policy.attachments import PolicyAttachments
from bridge_soap.policy.demand import (
    POLICIES,
    Demand,
    demands_of,
    holds_keys,
    is_optional,
    is_policy,
    is_required_extension,
    protected,
    without_keys,
)

#: What one alternative asks for. Of several, a client meets one.
Alternative = frozenset[Demand]
MAX_ALTERNATIVES = 64  #: of one policy; those that ask for least are kept
_MAX_DEPTH = 40  #: of references and nested policies
_NOTHING: Alternative = frozenset()
_IDS = (
    "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}Id",
    "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}Id",
    f"{{{XML}}}id",
    "Id",
)


class Policies:
    """The policies in some documents.

    :param roots: of the documents.
    """

    def __init__(self, roots: Iterable[etree._Element]) -> None:
        roots = list(roots)
        self._attachments = PolicyAttachments(roots)
        self._by_reference: dict[str, etree._Element] = {}
        self._kept: dict[etree._Element, list[Alternative]] = {}
        for root in roots:
            for policy in root.iter(*(f"{{{namespace}}}Policy" for namespace in POLICIES)):
                names = [f"#{policy.get(name, '')}" for name in _IDS if policy.get(name)]
                for name in (*names, policy.get("Name", "")):
                    self._by_reference.setdefault(name, policy)

    def alternatives(self, subjects: Sequence[etree._Element]) -> list[Alternative]:
        """What is asked of a message by the policies attached to `subjects`, elements of a WSDL (WS-PolicyAttachment,
        section 4.1): all of them are met together."""
        result = _all_of([self._attached(each) for each in subjects])
        return list(dict.fromkeys(protected(each) for each in result))

    def _attached(self, subject: etree._Element) -> list[Alternative]:
        if subject in self._kept:
            return self._kept[subject]
        parts = [
            self._of(child, 0)
            for child in subject
            if is_policy(child, "Policy", "PolicyReference") or is_required_extension(child)
        ]
        parts += [self._of(policy, 0) for policy in self._attachments.of(subject)]
        for namespace in POLICIES:
            parts += [self._referred(uri, 0) for uri in subject.get(f"{{{namespace}}}PolicyURIs", "").split()]
        self._kept[subject] = result = _all_of(parts)
        return result

    def _of(self, node: etree._Element, depth: int) -> list[Alternative]:
        if depth > _MAX_DEPTH:
            return [_NOTHING]
        children = [child for child in node if isinstance(child.tag, str)]
        if is_policy(node, "PolicyReference"):
            result = self._referred(node.get("URI", "").strip(), depth)
        elif is_policy(node, "ExactlyOne"):
            result = _least(each for child in children for each in self._of(child, depth + 1)) or [_NOTHING]
        elif is_policy(node, "Policy", "All"):
            result = _all_of([self._of(child, depth + 1) for child in children])
        else:
            own = demands_of(node)
            nested = _all_of([self._of(child, depth + 1) for child in children])
            if holds_keys(node):
                nested = _least(map(without_keys, nested))
            result = [own | each for each in nested]
        return [*result, _NOTHING] if is_optional(node) else result

    def _referred(self, uri: str, depth: int) -> list[Alternative]:
        policy = self._by_reference.get(uri, self._by_reference.get(f"#{uri.partition('#')[2]}"))
        if policy is None:
            return [frozenset({Demand("unknown", uri)})]
        return self._of(policy, depth + 1)


def _all_of(parts: Sequence[list[Alternative]]) -> list[Alternative]:
    """The alternatives of policies that are met together."""
    result = [_NOTHING]
    for part in parts:
        result = _least(left | right for left, right in product(result, part))
    return result


def _least(alternatives: Iterable[Alternative]) -> list[Alternative]:
    return sorted(dict.fromkeys(alternatives), key=len)[:MAX_ALTERNATIVES]
