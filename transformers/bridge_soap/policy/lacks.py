"""What a service asks for by WS-Policy, and a route's spec lacks."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.api import RouteSpec
from bridge_soap.contract import Contract
from bridge_soap.names import local_name
from bridge_soap.options import SoapOptions
from bridge_soap.policy.demand import Demand, Kind
from bridge_soap.policy.policies import Policies
from bridge_soap.wsdl.selection import OperationChoice

_SHOWN = 5  #: operations that one sentence names

_SENTENCES: dict[Kind, str] = {
    "addressing": "WS-Addressing ({}), and headers sets no Action, To or MessageID",
    "username token": "a WS-Security UsernameToken ({}), and security sets none",
    "password digest": "the digest of the password ({}), and security.digest is not true",
    "signature": "signed messages ({}), and the gateway signs nothing",
    "encryption": "encrypted messages ({}), and the gateway encrypts and decrypts nothing",
    "time stamp": "a time stamp in the header Security ({}), and headers sets none",
    "token": "a security token ({}), and headers sets none",
    "TLS": "TLS ({}), and upstream does not begin with https://",
    "client certificate": "a client certificate ({}), and connection names none",
    "HTTP authentication": "HTTP authentication ({}), and the gateway sends no credentials of its own",
    "MTOM": "MTOM ({}), and requests carry binary values inline",
    "binary encoding": ".NET's binary encoding ({}), and the gateway sends XML",
    "reliable messaging": "WS-ReliableMessaging ({}), and the gateway does not speak it",
    "unknown": "what a policy says that is not in the contract ({})",
}
#: What a spec can have.
_IN_A_SPEC: frozenset[Kind] = frozenset(
    ("addressing", "username token", "password digest", "time stamp", "token", "TLS", "client certificate")
)


def policy_lacks(
    contract: Contract, choices: Sequence[OperationChoice], route: RouteSpec, options: SoapOptions
) -> list[str]:
    """A sentence on each thing that operations ask for and the spec lacks. Where a policy leaves alternatives, that of
    which least is lacking counts; what is optional does not.

    :param choices: the operations that are published.
    """
    policies = Policies(document.root for document in contract.library.documents)
    needing: dict[str, list[str]] = {}
    for choice in choices:
        operation = choice.operation
        lacking = min(
            (_lacking(each, route, options) for each in policies.alternatives(operation.subjects)), key=_weight
        )
        replies = policies.alternatives(operation.reply_subjects)
        encrypted = min(([each for each in one if each.kind == "encryption"] for one in replies), key=len)
        by_kind: dict[Kind, list[str]] = {}
        for demand in sorted((*lacking, *encrypted), key=lambda each: each.assertion):
            by_kind.setdefault(demand.kind, []).append(demand.assertion)
        for kind, assertions in by_kind.items():
            text = _SENTENCES[kind].format(", ".join(dict.fromkeys(assertions)))
            needing.setdefault(text, []).append(choice.name)
    return [f"{_subject(names, len(choices))} for {text}" for text, names in needing.items()]


def _weight(lacking: list[Demand]) -> tuple[int, int]:
    """Of alternatives, one whose demands a spec can meet is better than any other."""
    kinds = {each.kind for each in lacking}
    return len(kinds - _IN_A_SPEC), len(kinds)


def _subject(names: list[str], count: int) -> str:
    if len(names) == count:
        return "the service's WS-Policy asks"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"the WS-Policy of {', '.join(names[:_SHOWN])}{more} asks"


def _lacking(demands: frozenset[Demand], route: RouteSpec, options: SoapOptions) -> list[Demand]:
    return [each for each in demands if not _meets(each.kind, demands, route, options)]


def _meets(kind: Kind, demands: frozenset[Demand], route: RouteSpec, options: SoapOptions) -> bool:
    blocks = {local_name(name) for name in (*options.headers, *options.pass_headers)}
    if kind == "addressing":
        return "Action" in blocks
    if kind == "username token":
        return options.security is not None or "Security" in blocks
    if kind == "password digest":
        # Without a token at all, that is what is told.
        return options.security is None or options.security.digest or "Security" in blocks
    if kind in ("time stamp", "token"):
        return "Security" in blocks
    if kind == "TLS":
        return route.upstream.scheme == "https"
    if kind == "client certificate":
        return route.connection.certificate is not None
    return False
