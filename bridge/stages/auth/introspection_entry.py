"""``introspection`` in an entry of ``issuers.yml``: how its issuer is asked about tokens (RFC 7662)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.api.spec.scalars import seconds
from bridge.api.tls import Tls
from bridge.errors import BindError
from bridge.stages.auth.own_secrets import OwnSecret
from bridge.transport.client_auth import ClientAuthentication, Text
from bridge.transport.fetch import UrlTarget

MOST_CACHE, MOST_NEGATIVE, MOST_STALE = 3600.0, 300.0, 86400.0  #: seconds

#: What each kind of client authentication takes.
_NEEDS: Mapping[str, frozenset[str]] = {
    "basic": frozenset({"client_secret"}),
    "post": frozenset({"client_secret"}),
    "private_key_jwt": frozenset({"client_key"}),
    "mtls": frozenset({"client_key", "client_cert"}),
}


class BadIntrospection(ValueError):
    """It can't be used; the message has the reason.

    :ivar key: where, below ``introspection``.
    """

    def __init__(self, reason: str, key: str) -> None:
        super().__init__(reason)
        self.key = key


def _url(url: str) -> str:
    """:raises ValueError: it can't be asked."""
    UrlTarget.parse(url)
    return url


def _seconds(most: float) -> BeforeValidator:
    """A duration of 0 or more, and at most `most`."""

    def check(value: object) -> object:
        value = seconds(value)
        if isinstance(value, int | float) and not 0 <= value <= most:
            raise ValueError(f"it must be between 0 and {most:g} seconds")
        return value

    return BeforeValidator(check)


class StaleAnswers(BaseModel):
    """How long a token that was active when its issuer could last be asked is taken for active."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stale: Annotated[float, _seconds(MOST_STALE)]


def _on_failure(value: object) -> object:
    if value != "closed" and not isinstance(value, dict | StaleAnswers):
        raise ValueError("it must be closed or {stale: DURATION}")
    return value


class Introspection(BaseModel):
    """One entry's ``introspection``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, AfterValidator(_url)] | None = None  #: absent: the issuer's metadata names it
    client_id: Annotated[str, Field(min_length=1)]
    client_auth: Literal["basic", "post", "private_key_jwt", "mtls"] = "basic"
    client_secret: OwnSecret | None = None
    client_key: OwnSecret | None = None  #: PEM: of ``private_key_jwt``, or of `client_cert`
    client_cert: OwnSecret | None = None  #: PEM: the client's chain
    cache: Annotated[float, _seconds(MOST_CACHE)] = 10.0  #: seconds for which an answer counts
    negative_cache: Annotated[float, _seconds(MOST_NEGATIVE)] = 2.0  #: likewise, if the token was not active
    on_failure: Annotated[Literal["closed"] | StaleAnswers, BeforeValidator(_on_failure)] = "closed"

    @model_validator(mode="after")
    def _credentials(self) -> Introspection:
        needed = _NEEDS[self.client_auth]
        for name in ("client_secret", "client_key", "client_cert"):
            given = getattr(self, name) is not None
            if given and name not in needed:
                raise ValueError(f"client_auth: {self.client_auth} takes no {name}")
            if not given and name in needed:
                raise ValueError(f"client_auth: {self.client_auth} needs {name}")
        return self

    @property
    def stale(self) -> float:
        """Seconds beyond `cache` for which a token stays active while its issuer can't be asked."""
        return 0.0 if self.on_failure == "closed" else self.on_failure.stale

    @property
    def files(self) -> list[str]:
        """Files with secrets, which no route may send."""
        secrets = (self.client_secret, self.client_key, self.client_cert)
        return [secret.file for secret in secrets if secret is not None and secret.file is not None]


class IntrospectionClient:
    """The gateway as a client of an issuer's introspection endpoint.

    :ivar authentication: what each request says.
    :raises BadIntrospection: a secret can't be read or used.
    """

    def __init__(self, entry: Introspection, issuer: str, home: Path, environ: Mapping[str, str]) -> None:
        def opened(name: str) -> Text | None:
            secret: OwnSecret | None = getattr(entry, name)
            try:
                return None if secret is None else secret.open(home, environ)
            except ValueError as error:
                raise BadIntrospection(str(error), name) from None

        secret, key, self._certificate = map(opened, ("client_secret", "client_key", "client_cert"))
        self._key = key if self._certificate is not None else None
        if self._certificate is not None:
            self._check_certificate()
        client_id = entry.client_id
        try:
            # RFC 7523, section 3, and its successor: the audience is the authorization server, by its issuer's name.
            self.authentication = ClientAuthentication(
                entry.client_auth, lambda: client_id, secret=secret, key=key, audience=issuer
            )
        except ValueError as error:
            raise BadIntrospection(str(error), "client_key") from None

    def tls(self) -> Tls:
        """The client's certificate, as its files are now."""
        if self._certificate is None or self._key is None:
            return Tls()
        return Tls(certificate=self._certificate().encode(), key=self._key().encode())

    def _check_certificate(self) -> None:
        try:
            self.tls().context()
        except BindError as error:
            [fault] = error.faults
            name = "client_key" if fault.path[-1:] == ("key",) else "client_cert"
            raise BadIntrospection(fault.reason, name) from None
