"""WS-Security UsernameToken (OASIS WSS UsernameToken Profile 1.1, section 3)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from bridge.api import BindError, Call, Fault, read_env
from bridge_soap.datatypes.lexical import NOT_XML
from bridge_soap.datatypes.simple_out import escape
from bridge_soap.options import UsernameToken

_PATH = ("transform", "soap", "security")
_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_START = f'<wsse:Security xmlns:wsse="{_OASIS}wssecurity-secext-1.0.xsd"><wsse:UsernameToken><wsse:Username>'
_END = "</wsse:UsernameToken></wsse:Security>"
_PASSWORD = f'</wsse:Username><wsse:Password Type="{_OASIS}username-token-profile-1.0#Password'
_NONCE = f'<wsse:Nonce EncodingType="{_OASIS}soap-message-security-1.0#Base64Binary">'
_CREATED = f'<wsu:Created xmlns:wsu="{_OASIS}wssecurity-utility-1.0.xsd">'


def token_writer(options: UsernameToken) -> Callable[[Call], str]:
    """A function that returns a call's ``wsse:Security`` block as XML.

    :raises bridge.api.BindError: the environment variable with the password is not set, or name or password contain
        characters that XML forbids.
    """
    password = read_env(options.password_env, (*_PATH, "password_env"))
    for text, key in ((options.username, "username"), (password, "password_env")):
        if NOT_XML.search(text):
            raise BindError(Fault("it holds a character that XML forbids", (*_PATH, key)))
    start = f"{_START}{escape(options.username)}{_PASSWORD}"
    text = f'{start}Text">{escape(password)}</wsse:Password>{_END}'

    def digest(call: Call) -> str:
        nonce, created = call.random(16), datetime.fromtimestamp(int(call.clock()), UTC).isoformat()
        # The profile fixes SHA-1: Base64(SHA-1(nonce + created + password)).
        hashed = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False).digest()
        return (
            f'{start}Digest">{b64encode(hashed).decode()}</wsse:Password>'
            f"{_NONCE}{b64encode(nonce).decode()}</wsse:Nonce>{_CREATED}{created}</wsu:Created>{_END}"
        )

    return digest if options.digest else lambda call: text


def security_secrets(options: UsernameToken | None) -> frozenset[str]:
    """Texts of a token that must not be shown. Digest and nonce may be: they differ for each call."""
    return (
        frozenset({read_env(options.password_env, (*_PATH, "password_env"))}) - {""}
        if options is not None
        else frozenset()
    )
