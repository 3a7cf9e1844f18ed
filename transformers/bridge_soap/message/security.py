"""WS-Security UsernameToken (OASIS WSS UsernameToken Profile 1.1), made by zeep's implementation of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lxml import etree

from bridge.api import read_env
from bridge_soap.message.envelope import ENVELOPES
from bridge_soap.options import UsernameToken
from bridge_soap.wsdl.model import Version

_PATH = ("transform", "soap", "security", "password_env")


def token_writer(options: UsernameToken, version: Version) -> Callable[[], str]:
    """A function that gives the ``wsse:Security`` block of a call as XML.

    :raises bridge.api.BindError: the environment variable that should hold the password isn't set.
    """
    password = read_env(options.password_env, _PATH)
    # Imported here since zeep brings much along, and few routes need it.
    from zeep.wsse.username import UsernameToken as ZeepToken

    namespace = ENVELOPES[version]
    token: Any = ZeepToken(  # type: ignore[no-untyped-call]  # zeep has no types
        options.username, password, use_digest=options.digest
    )

    def write() -> str:
        envelope = etree.Element(f"{{{namespace}}}Envelope", nsmap={"s": namespace})
        header = etree.SubElement(envelope, f"{{{namespace}}}Header")
        etree.SubElement(envelope, f"{{{namespace}}}Body")
        token.apply(envelope, {})
        return "".join(etree.tostring(block, encoding="unicode") for block in header)

    if options.digest:  # a nonce and the time, new for each call
        return write
    text = write()
    return lambda: text


def security_secrets(options: UsernameToken | None) -> frozenset[str]:
    """What of a token no one may be shown; its digest and nonce are another matter, they change with every call."""
    return frozenset({read_env(options.password_env, _PATH)}) - {""} if options is not None else frozenset()
