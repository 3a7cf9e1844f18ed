"""``BRIDGE_LIMITS=redis://…``: where Redis is, and what happens while it is away."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from bridge.api.spec.scalars import seconds
from bridge.errors import Fault, SettingsError
from bridge.wording import not_one_of

PORT = 6379
LONGEST_TIMEOUT = 2.0  #: seconds
OPTIONS = ("on_failure", "share", "timeout", "prefix", "password_file", "ca")
_FAILURE_MODES = ("open", "closed", "local")

OnFailure = Literal["open", "closed", "local"]


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis server.

    :ivar password_file: read at each connection; the password of the URL otherwise.
    :ivar on_failure: ``open``: calls are admitted uncounted; ``closed``: they are refused; ``local``: each gateway
        counts by itself.
    :ivar share: of each limit that is this gateway's with ``local``; None: one of as many as there were lately.
    :ivar timeout: seconds for a connection, and for an answer.
    :ivar prefix: begins all keys.
    """

    host: str
    port: int = PORT
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None
    tls: ssl.SSLContext | None = None
    on_failure: OnFailure = "local"
    share: float | None = None
    timeout: float = 1.0
    prefix: str = "hms-bridge"

    def __str__(self) -> str:
        """For people: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    def credentials(self) -> tuple[str, str]:
        """User and password as they are now.

        :raises OSError: the file can't be read.
        """
        if self.password_file is None:
            return self.user, self.password
        return self.user, self.password_file.read_text("utf-8").strip()


def redis_address(url: str, home: Path) -> RedisAddress:
    """:param home: below which files are.
    :raises SettingsError: it is no such URL, or an option is wrong. No message shows the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _wrong(f"the URL can't be read: {error}") from None
    if not host:
        raise _wrong("the URL names no host; write redis://HOST:PORT/DATABASE")
    database = parts.path.strip("/") or "0"
    if not database.isdecimal() or len(database) > 4:
        raise _wrong(f"the path of the URL is the number of a database, not {parts.path!r}")
    for name in options:
        if name not in OPTIONS:
            raise _wrong(f"{name}: {not_one_of(name, OPTIONS)}")
    on_failure = options.get("on_failure", "local")
    if on_failure not in _FAILURE_MODES:
        raise _wrong(f"on_failure: {not_one_of(on_failure, _FAILURE_MODES)}")
    file = options.get("password_file")
    if file is not None and parts.password:
        raise _wrong("it has a password and a password_file; one of them is enough")
    address = RedisAddress(
        host,
        port,
        int(database),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        home / file if file is not None else None,
        _tls(options, home) if parts.scheme == "rediss" else None,
        on_failure,  # type: ignore[arg-type]  # it is one of the modes
        _share(options),
        _timeout(options),
        _prefix(options),
    )
    if parts.scheme != "rediss" and "ca" in options:
        raise _wrong("ca: it is for TLS; write rediss://")
    try:
        address.credentials()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"password_file: {file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    return address


def _wrong(reason: str) -> SettingsError:
    return SettingsError(Fault(reason, ("BRIDGE_LIMITS",)))


def _share(options: Mapping[str, str]) -> float | None:
    text = options.get("share")
    if text is None:
        return None
    if not re.fullmatch(r"(0?\.\d{1,9}|1(\.0*)?)", text) or not float(text):
        raise _wrong(f"share: it is more than 0 and at most 1, not {text!r}")
    return float(text)


def _timeout(options: Mapping[str, str]) -> float:
    text = options.get("timeout", "1s")
    try:
        value = float(str(seconds(text)))
    except ValueError as error:
        raise _wrong(f"timeout: {error}") from None
    if not 0.01 <= value <= LONGEST_TIMEOUT:
        raise _wrong(f"timeout: it is 10ms to {LONGEST_TIMEOUT:g}s, not {text}")
    return value


def _prefix(options: Mapping[str, str]) -> str:
    prefix = options.get("prefix", "hms-bridge")
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", prefix):
        raise _wrong("prefix: it is 1 to 64 letters, digits, '.', '_', ':' and '-'")
    return prefix


def _tls(options: Mapping[str, str], home: Path) -> ssl.SSLContext:
    file = options.get("ca")
    try:
        return ssl.create_default_context(cafile=None if file is None else str(home / file))
    except (OSError, ssl.SSLError) as error:
        raise _wrong(f"ca: {file} can't be used: {error}") from None
