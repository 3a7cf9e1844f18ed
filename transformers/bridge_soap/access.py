"""Credentials for WSDLs behind authentication (``wsdl_auth``), and where they may be sent."""

from __future__ import annotations

import base64
import re

from bridge.api import BindError, Fault, read_env
from bridge_soap.locations import is_url, origin_of
from bridge_soap.options import WsdlAuth

_PATH = ("transform", "soap", "wsdl_auth")
_B64TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


class Access:
    """Credentials for the origin (RFC 6454: scheme, host and port) of one WSDL. They are sent to no other origin,
    whatever a document imports or a server redirects to.

    :raises bridge.api.BindError: the WSDL is not a URL, or a secret is missing; the message never contains the secret.
    """

    def __init__(self, auth: WsdlAuth, wsdl: str) -> None:
        if not is_url(wsdl):
            raise BindError(Fault("the WSDL is a file, so there is nobody to show credentials to", _PATH))
        self._origin = origin_of(wsdl)
        self._header = _basic(auth, wsdl) if auth.username is not None else _bearer(auth, wsdl)

    def headers(self, url: str) -> dict[str, str]:
        """The header fields for a request to `url`."""
        return {"authorization": self._header} if origin_of(url) == self._origin else {}


def access_of(auth: WsdlAuth | None, wsdl: str) -> Access | None:
    """The access from a spec's options; None without credentials."""
    return Access(auth, wsdl) if auth is not None else None


def _basic(auth: WsdlAuth, wsdl: str) -> str:
    """RFC 7617."""
    assert auth.username is not None
    assert auth.password_env is not None
    if ":" in auth.username or not auth.username.isprintable():
        raise BindError(Fault("a user name can't hold a colon or control characters", (*_PATH, "username")))
    password = read_env(auth.password_env, (*_PATH, "password_env"), url=wsdl)
    return "Basic " + base64.b64encode(f"{auth.username}:{password}".encode()).decode()


def _bearer(auth: WsdlAuth, wsdl: str) -> str:
    assert auth.bearer_env is not None
    token = read_env(auth.bearer_env, (*_PATH, "bearer_env"), url=wsdl).strip()
    if not _B64TOKEN.fullmatch(token):
        raise BindError(Fault(f"what {auth.bearer_env} holds is no bearer token", (*_PATH, "bearer_env")))
    return f"Bearer {token}"
