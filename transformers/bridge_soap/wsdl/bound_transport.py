"""The transport of a binding: HTTP, or another that the gateway does not speak."""

from __future__ import annotations

import re

#: As SOAP's specifications write it, and as vendors do: with a slash at the end, for https, in other letters.
_HTTP = re.compile(r"(^|[/:.#])https?/?$", re.IGNORECASE)
_OTHER = re.compile(r"jms|smtp|mail|tcp|pipe|msmq|udp|ftp|mq|amqp|xmpp|jbi|vm$|local$", re.IGNORECASE)
#: Schemes of addresses. Others are placeholders or host names: ``localhost:8080/x`` has none.
_OTHER_SCHEME = re.compile(
    r"\s*(jms|jndi|net\.(tcp|pipe|msmq|p2p|udp)|soap\.(tcp|udp|tcpv)|mailto|smtps?|s?ftps?|tcp|udp|mq|wmq|amqps?|mqtts?|"
    r"xmpp|camel|vm|jbi|sb|file):",
    re.IGNORECASE,
)


def other_transport(transport: str, address: str) -> str:
    """Why the gateway can't speak to a port; ``""`` for HTTP.

    :param transport: of ``soap:binding`` (WSDL 1.1, section 3.3); many leave it out or make it up, and mean HTTP.
    :param address: of ``soap:address``.
    """
    transport = transport.strip()
    if not _HTTP.search(transport) and _OTHER.search(transport):
        return f"its transport is {transport}, and only HTTP is served"
    scheme = _OTHER_SCHEME.match(address)
    return f"its address begins with {scheme[1]}:, and only HTTP is served" if scheme else ""
