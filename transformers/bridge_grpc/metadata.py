"""Metadata by the rules of gRPC over HTTP/2: what is sent with a call, and what of a reply becomes header fields.

"Custom-Metadata → Binary-Header / ASCII-Header": names are lower case; values are printable ASCII, or under a name
that ends in ``-bin`` any bytes, which HTTP carries as base64 with or without padding. A list of values under a
``-bin`` name may be joined by commas.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.api import (
    ABSENT,
    BindError,
    Call,
    Fault,
    HeadTooLarge,
    InvalidParameter,
    Origin,
    claim_text,
    forwardable,
    is_origin,
    read_origin,
    read_secret,
    returnable,
)
from bridge_grpc.codec.scalars import FieldValueError, octets
from bridge_grpc.origins import caching, call_values, missing, refused

Pair = tuple[str, str | bytes]

#: Bytes of all metadata of a call, each counted with `OVERHEAD`: "Servers may limit the size of Request-Headers, with a
#: default of 8 KiB suggested", as RFC 9113, section 6.5.2, measures it.
MAX_SIZE = 8 * 1024
OVERHEAD = 32

_NAME = re.compile(r"[0-9a-z_.-]+")
_PASSED = re.compile(r"[0-9A-Za-z_.-]+\*?")
#: gRPC's own (Request-Headers, Response-Headers, Trailers) …
_GRPC = frozenset(("te", "content-type", "content-encoding", "accept-encoding", "user-agent", "grpc"))
#: … and what the gateway itself sends with each call and each response.
_TRACE = frozenset(("x-trace-id", "traceparent"))
_LIMITS = ("ratelimit", "x-ratelimit-")


def check_name(name: str) -> None:
    """:raises ValueError: no metadata can be sent under `name`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be a metadata name: use lower-case letters, digits, '-', '_' and '.'")
    if name in _GRPC or name.startswith("grpc-"):
        raise ValueError(f"{name!r} belongs to gRPC itself")
    if name in _TRACE:
        raise ValueError(f"{name!r} is sent by the gateway itself")
    if not forwardable([(name, "")]):
        raise ValueError(f"{name!r} belongs to one connection, or to the gateway alone")


def value_of(name: str, text: str) -> str | bytes:
    """`text` as it is sent under `name`: bytes for ``-bin``, whose text is their base64.

    :raises ValueError: metadata can't hold it; the message doesn't show it.
    """
    if name.endswith("-bin"):
        try:
            return bytes(octets(text.strip()))
        except FieldValueError:
            raise ValueError("it needs base64, since its name ends in -bin") from None
    if not text.isascii() or not text.isprintable():
        raise ValueError("it must be printable ASCII; use a name ending in -bin for others")
    return text


def values_of(name: str, text: str) -> list[str | bytes]:
    """As `value_of`, of one header field of a client, which under a ``-bin`` name may be a list.

    :raises ValueError: metadata can't hold it.
    """
    if name.endswith("-bin"):
        # RFC 9110, section 5.6.1.2: empty elements count for nothing, but bytes may be none at all.
        return [value_of(name, item) for item in text.split(",") if item.strip()] or [b""]
    return [value_of(name, text)]


def constant(name: str, value: Any) -> str | bytes:
    """A value of the spec as it is sent.

    :raises ValueError: metadata can't hold it.
    """
    try:
        return value_of(name, claim_text(value))
    except ValueError as error:
        raise ValueError(f"the value of {name!r}: {error}") from None


def size_of(pairs: Sequence[Pair]) -> int:
    """What `pairs` count against `MAX_SIZE`; bytes as the base64 that carries them."""
    return sum(
        len(name) + (len(value) if isinstance(value, str) else -(-len(value) * 4 // 3)) + OVERHEAD
        for name, value in pairs
    )


# --- up ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CallValue:
    """Metadata from each call. `default`: what is sent where the call has none; None: such a call is refused."""

    name: str
    origin: Origin
    default: tuple[str | bytes, ...] | None

    def read(self, call: Call) -> list[Pair]:
        given = call_values(self.origin, call)
        if not given:
            if self.default is None:
                raise missing(self.origin)
            return [(self.name, value) for value in self.default]
        try:
            return [(self.name, value) for item in given for value in values_of(self.name, claim_text(item))]
        except ValueError as error:
            raise refused(self.origin, str(error)) from None


class RequestMetadata:
    """The metadata of a route's calls, compiled once.

    :param metadata: name -> text, or an origin.
    :param passed: names of request headers that go up as they are; ``*`` at the end stands for any ending.
    :param consumed: header fields that the route's auth removes, which therefore can't be sent.
    :param home: what ``$file`` is relative to.
    :ivar caching: fields that tell caches what an answer depends on.
    :ivar secrets: texts that must not be shown, as they stand in the metadata.
    :raises bridge.api.BindError: names, values or secrets can't be used; all faults at once.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any] | None = None,
        passed: Sequence[str] = (),
        home: Path = Path(),
        consumed: Collection[str] = (),
    ) -> None:
        metadata = metadata or {}
        self.secrets: frozenset[str] = frozenset()
        self._fixed: list[Pair] = []
        self._call_values: list[_CallValue] = []
        self._own = frozenset(name.replace("_", "-") for name in metadata)
        faults: list[Fault] = []
        for name, value in metadata.items():
            key = f"transform.grpc.metadata.{name}"
            try:
                check_name(name)
                self._add(name, value, key, home)
            except ValueError as error:
                faults.append(Fault(str(error), key))
            except BindError as error:
                faults += error.faults
        exact: set[str] = set()
        prefixes: list[str] = []
        for at, name in enumerate(passed):
            try:
                self._check_passed(name.lower(), consumed)
            except ValueError as error:
                faults.append(Fault(str(error), f"transform.grpc.pass_headers[{at}]"))
            (prefixes.append if name.endswith("*") else exact.add)(name.lower().rstrip("*"))
        self._exact, self._prefixes = frozenset(exact), tuple(prefixes)
        self.caching = caching([each.origin for each in self._call_values], sorted(exact), private=bool(prefixes))
        if not faults and size_of(self._fixed) > MAX_SIZE:
            faults.append(Fault(f"all together are larger than {MAX_SIZE} bytes", "transform.grpc.metadata"))
        if faults:
            raise BindError(faults)

    def outgoing(self, call: Call) -> list[Pair]:
        """What goes up with `call`; a list of its own.

        :raises bridge.api.Forbidden: a claim is missing or can't be sent.
        :raises bridge.api.InvalidParameter: a header is missing or can't be sent.
        :raises bridge.api.HeadTooLarge: it is more than `MAX_SIZE`.
        """
        pairs = list(self._fixed)
        if not self._call_values and not self._exact and not self._prefixes:
            return pairs
        for each in self._call_values:
            pairs += each.read(call)
        if self._exact or self._prefixes:
            pairs += self._passed(call)
        if size_of(pairs) > MAX_SIZE:
            raise HeadTooLarge(f"The header fields that go to the service may have at most {MAX_SIZE // 1024} KiB.")
        return pairs

    def _passed(self, call: Call) -> list[Pair]:
        pairs: list[Pair] = []
        for name, text in call.headers:
            if name not in self._exact and not (name.startswith(self._prefixes) and self._may_pass(name)):
                continue
            try:
                pairs += [(name, value) for value in values_of(name, text)]
            except ValueError as error:
                raise InvalidParameter([(name, str(error))]) from None
        return pairs

    def _may_pass(self, name: str) -> bool:
        """Whether a name that matches a prefix of the spec may go up: none that the spec itself fills."""
        if name.replace("_", "-") in self._own:
            return False
        try:
            check_name(name)
        except ValueError:
            return False
        return True

    def _check_passed(self, name: str, consumed: Collection[str]) -> None:
        if not _PASSED.fullmatch(name):
            raise ValueError(f"{name!r} can't be the name of a header; '*' stands at the end, after some letters")
        if name.endswith("*"):
            if name.startswith("grpc-"):
                raise ValueError(f"{name!r} belongs to gRPC itself")
            return
        check_name(name)
        if name in consumed:
            raise ValueError(f"{name!r} is used up by the route's auth; no service gets it")
        if name.replace("_", "-") in self._own:
            raise ValueError(f"metadata fills {name!r} already")

    def _add(self, name: str, value: Any, key: str, home: Path) -> None:
        if not is_origin(value):
            self._fixed.append((name, constant(name, value)))
            return
        origin = read_origin(value, key)
        if origin.secret:
            text = read_secret(origin, home)
            try:
                secret = value_of(name, text)
            except ValueError as error:
                raise ValueError(f"{origin.words}: {error}") from None
            self._fixed.append((name, secret))
            self.secrets |= {text, shown(secret)}
        elif origin.default is ABSENT:
            self._call_values.append(_CallValue(name, origin, None))
        else:
            listed = origin.default if isinstance(origin.default, list) else [origin.default]
            values = tuple(constant(name, item) for item in listed) if origin.default is not None else ()
            self._call_values.append(_CallValue(name, origin, values))


def shown(value: str | bytes) -> str:
    """A value as HTTP carries it: bytes as base64."""
    return value if isinstance(value, str) else base64.b64encode(value).decode("ascii")


# --- down ----------------------------------------------------------------------------------------------------------


class ResponseMetadata:
    """Which of an answer's metadata become header fields of the response, compiled once.

    :param names: in any case; ``*`` at the end stands for any ending.
    :raises bridge.api.BindError: names belong to the gateway or to gRPC; all faults at once.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        faults: list[Fault] = []
        for at, name in enumerate(names):
            key = f"transform.grpc.reply_headers[{at}]"
            if not _PASSED.fullmatch(name):
                faults.append(Fault(f"{name!r} can't be a metadata name; '*' stands at the end, after letters", key))
            elif _withheld(name.lower().rstrip("*")):
                faults.append(Fault(f"{name!r} belongs to gRPC, to one connection, or to the gateway alone", key))
        if faults:
            raise BindError(faults)
        lower = [name.lower() for name in names]
        self._exact = frozenset(name for name in lower if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in lower if name.endswith("*"))

    def returned(self, metadata: Sequence[Pair], trailers: Sequence[Pair]) -> list[tuple[str, str]]:
        """The fields for the response, in the order of the answer; repeated ones stay so. What HTTP can't hold is left
        out, and so is what comes after `MAX_SIZE` bytes."""
        fields: list[tuple[str, str]] = []
        if not self._exact and not self._prefixes:
            return fields
        left = MAX_SIZE
        for name, value in (*metadata, *trailers):
            if name not in self._exact and not (name.startswith(self._prefixes) and not _withheld(name)):
                continue
            text = shown(value)
            left -= len(name) + len(text) + OVERHEAD
            if left < 0:
                break
            if text.isascii() and text.isprintable():
                fields.append((name, text))
        return fields


def _withheld(name: str) -> bool:
    """Whether metadata of that name never becomes a header field."""
    own = name in _GRPC or name in _TRACE or name.startswith(("grpc-", *_LIMITS))
    return own or not _NAME.fullmatch(name) or not returnable([(name, "")])
