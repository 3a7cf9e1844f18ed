"""What single policy assertions ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lxml import etree

from bridge_soap.names import WSDL, local_name, split, tag_of

Kind = Literal[
    "addressing", "username token", "password digest", "signature", "encryption", "time stamp", "token", "TLS",
    "client certificate", "HTTP authentication", "MTOM", "binary encoding", "reliable messaging", "unknown",
]  # fmt: skip

#: WS-Policy 1.2 and 1.5, and drafts.
POLICIES = (
    "http://schemas.xmlsoap.org/ws/2004/09/policy",
    "http://www.w3.org/ns/ws-policy",
    "http://www.w3.org/2006/07/ws-policy",
    "http://schemas.xmlsoap.org/ws/2002/12/policy",
)
#: WS-SecurityPolicy 1.1 to 1.3, and the draft of 1.2.
_SECURITY = (
    "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy",
    "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702",
    "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200512",
    "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200802",
)
#: The usual prefixes, for messages.
_PREFIXES = {
    **dict.fromkeys(_SECURITY, "sp"),
    "http://www.w3.org/2007/05/addressing/metadata": "wsam",
    "http://www.w3.org/2006/05/addressing/wsdl": "wsaw",
    "http://www.w3.org/2006/02/addressing/wsdl": "wsaw",
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/policy": "wsap",
    "http://schemas.xmlsoap.org/ws/2004/09/policy/optimizedmimeserialization": "wsoma",
    "http://www.w3.org/2007/08/soap12-mtom-policy": "mtom",
    "http://schemas.microsoft.com/ws/06/2004/policy/http": "http",
    "http://schemas.microsoft.com/ws/06/2004/mspolicy/netbinary1": "msb",
    "http://schemas.xmlsoap.org/ws/2005/02/rm/policy": "wsrm",
    "http://docs.oasis-open.org/ws-rx/wsrmp/200702": "wsrmp",
}
#: By prefix and local name.
_KINDS: dict[str, Kind] = {
    "wsam:Addressing": "addressing",
    "wsaw:UsingAddressing": "addressing",
    "wsap:UsingAddressing": "addressing",
    "wsoma:OptimizedMimeSerialization": "MTOM",
    "mtom:MTOM": "MTOM",
    "http:BasicAuthentication": "HTTP authentication",
    "http:DigestAuthentication": "HTTP authentication",
    "http:NtlmAuthentication": "HTTP authentication",
    "http:NegotiateAuthentication": "HTTP authentication",
    "msb:BinaryEncoding": "binary encoding",
    "wsrm:RMAssertion": "reliable messaging",
    "wsrmp:RMAssertion": "reliable messaging",
    "sp:TransportBinding": "TLS",
    "sp:HttpsToken": "TLS",
    "sp:RequireClientCertificate": "client certificate",
    "sp:HttpBasicAuthentication": "HTTP authentication",
    "sp:HttpDigestAuthentication": "HTTP authentication",
    "sp:AsymmetricBinding": "signature",
    "sp:SymmetricBinding": "signature",
    "sp:SignedParts": "signature",
    "sp:SignedElements": "signature",
    "sp:EndorsingSupportingTokens": "signature",
    "sp:SignedEndorsingSupportingTokens": "signature",
    "sp:EndorsingEncryptedSupportingTokens": "signature",
    "sp:SignedEndorsingEncryptedSupportingTokens": "signature",
    "sp:EncryptedParts": "encryption",
    "sp:EncryptedElements": "encryption",
    "sp:ContentEncryptedElements": "encryption",
    "sp:IncludeTimestamp": "time stamp",
    "sp:UsernameToken": "username token",
    "sp:HashPassword": "password digest",
    **dict.fromkeys(
        (
            "sp:X509Token", "sp:SamlToken", "sp:IssuedToken", "sp:KerberosToken", "sp:SpnegoContextToken",
            "sp:SecureConversationToken", "sp:SecurityContextToken", "sp:RelToken", "sp:KeyValueToken",
        ),
        "token",
    ),
}  # fmt: skip
#: Assertions whose tokens sign and encrypt, and so are not sent for themselves.
_KEYS = frozenset(name for name, kind in _KINDS.items() if kind == "signature" and name != "sp:SignedParts")
#: Protection of a message's parts. TLS is enough for it where the policy asks for TLS (WS-SecurityPolicy 1.2, 7.3).
_PARTS = frozenset(
    ("sp:SignedParts", "sp:SignedElements", "sp:EncryptedParts", "sp:EncryptedElements", "sp:ContentEncryptedElements")
)


@dataclass(frozen=True, slots=True)
class Demand:
    """Something that a service asks for.

    :ivar assertion: its name with the usual prefix, for messages.
    """

    kind: Kind
    assertion: str


def assertion_name(node: etree._Element) -> str:
    """``sp:UsernameToken``; only the local name in other namespaces than those of known assertions."""
    namespace, local = split(tag_of(node))
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{local}" if prefix else local


def demands_of(node: etree._Element) -> frozenset[Demand]:
    """What one assertion asks for, without those that are nested in it."""
    name = assertion_name(node)
    kind = _KINDS.get(name)
    demands = {Demand(kind, name)} if kind is not None else set[Demand]()
    if name == "sp:HttpsToken" and node.get("RequireClientCertificate", "").strip() in ("true", "1"):
        demands.add(Demand("client certificate", name))
    return frozenset(demands)


def holds_keys(node: etree._Element) -> bool:
    return assertion_name(node) in _KEYS


def without_keys(demands: frozenset[Demand]) -> frozenset[Demand]:
    """The demands of what is nested in an assertion about signatures."""
    return frozenset(each for each in demands if each.kind == "time stamp")


def protected(demands: frozenset[Demand]) -> frozenset[Demand]:
    """The demands of an alternative, without those that TLS meets where it asks for that."""
    if not any(each.kind == "TLS" for each in demands):
        return demands
    return frozenset(each for each in demands if each.assertion not in _PARTS)


def is_policy(node: etree._Element, *names: str) -> bool:
    """Whether an element is one of WS-Policy's own of these local names."""
    namespace, local = split(tag_of(node))
    return namespace in POLICIES and local in names


def is_optional(node: etree._Element) -> bool:
    """Whether an assertion need not be met: ``wsp:Optional``."""
    optional = (node.get(f"{{{namespace}}}Optional", "") for namespace in POLICIES)
    return any(each.strip() in ("true", "1") for each in optional)


def is_required_extension(node: etree._Element) -> bool:
    """Whether an element of a binding or port, without a policy around it, asks for something. Without
    ``wsdl:required`` a client may ignore it (WSDL 1.1, section 2.1.3; WS-Addressing 1.0, WSDL Binding, section 3.1)."""
    if local_name(tag_of(node)) != "UsingAddressing" or node.get(f"{{{WSDL}}}required", "").strip() not in (
        "true",
        "1",
    ):
        return False
    return bool(demands_of(node))
