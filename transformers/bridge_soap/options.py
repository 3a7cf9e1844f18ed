"""The options under ``transform.soap``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from bridge.api import Options


def _nameable(wsdl: str) -> str:
    """:raises ValueError: it can't be the name of a file or a URL."""
    if any(letter < " " or letter == "\x7f" for letter in wsdl) or (
        "://" not in wsdl and any(len(part.encode()) > 255 for part in wsdl.split("/"))
    ):
        raise ValueError(f"{wsdl[:80]!r} can't be the name of a file")
    return wsdl


class UsernameToken(Options):
    """WS-Security UsernameToken (OASIS, profile 1.1). The password is in an environment variable ``BRIDGE_SECRET_…``,
    never in a spec. With `digest`, each call has a new nonce and time stamp, and only the digest is sent."""

    model_config = ConfigDict(strict=True)

    username: Annotated[str, Field(min_length=1)]
    password_env: Annotated[str, Field(min_length=1)]
    digest: bool = False


class WsdlAuth(Options):
    """Credentials for a WSDL behind authentication: HTTP Basic (RFC 7617), or a bearer token (RFC 6750). The secret is
    in an environment variable ``BRIDGE_SECRET_…``."""

    username: Annotated[str, Field(min_length=1)] | None = None
    password_env: Annotated[str, Field(min_length=1)] | None = None
    bearer_env: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> WsdlAuth:
        basic = (self.username is not None, self.password_env is not None)
        if basic not in ((True, True), (False, False)) or any(basic) is (self.bearer_env is not None):
            raise ValueError("it needs username and password_env, or bearer_env alone")
        return self


class ReplyShape(Options):
    """How a reply differs from its schema. Paths are property names separated by slashes, from the body's root, with
    the schema's names; a path through an array refers to its items.

    :ivar rename: other names for properties.
    :ivar flatten: objects that are replaced by their properties.
    """

    rename: dict[str, str] = Field(default_factory=dict)
    flatten: Annotated[tuple[str, ...], Field(strict=False)] = ()


class RequestShape(ReplyShape):
    """How a request's body differs from its schema.

    :ivar defaults: values for properties that a client omits.
    :ivar constants: values that the route sets and clients can't.
    """

    defaults: dict[str, Any] = Field(default_factory=dict)
    constants: dict[str, Any] = Field(default_factory=dict)


class SoapOptions(Options):
    """Options of the soap transformer.

    :ivar wsdl: a file below ``wsdl/``, or an http(s) URL.
    :ivar wsdl_auth: credentials for a WSDL behind authentication, shown to its own origin only.
    :ivar service: which service, where the WSDL has several.
    :ivar port: which port, where the service has several.
    :ivar operation: which operation; absent, all are published at ``POST {route}/{operation}``.
    :ivar headers: SOAP header blocks by element name, each with its content as JSON; sent with every call. A value in
        it may be ``{$env: NAME}``, ``{$file: path}``, ``{$header: X-Name}`` or ``{$claim: sub}``.
    :ivar pass_headers: header blocks that clients may give, and get back, under ``#headers``.
    :ivar reply_headers: fields of the HTTP response, each with a path into a header block of the reply.
    :ivar request: the shape of the JSON that clients give, where it isn't the schema's; needs `operation`.
    :ivar reply: the shape of the JSON that clients get; needs `operation`.
    :ivar security: a WS-Security token that is sent with every call.
    :ivar faults: HTTP statuses by the local name of a fault's detail element.
    :ivar numbers: ``exact`` gives 64-bit integers and decimals as strings, ``native`` as JSON numbers.
    :ivar strict: refuse replies that break their schema, instead of reading them with a warning.
    """

    model_config = ConfigDict(strict=True)

    wsdl: Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_nameable)]
    wsdl_auth: WsdlAuth | None = None
    service: str | None = None
    port: str | None = None
    operation: str | None = None
    headers: dict[str, Any] = Field(default_factory=dict)
    pass_headers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    reply_headers: dict[str, str] = Field(default_factory=dict)
    request: RequestShape | None = None
    reply: ReplyShape | None = None
    security: UsernameToken | None = None
    faults: dict[str, Annotated[int, Field(ge=400, le=599)]] = Field(default_factory=dict)
    numbers: Literal["exact", "native"] = "exact"
    strict: bool = False
