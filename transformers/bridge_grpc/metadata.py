"""Metadata by the rules of gRPC over HTTP/2: what is sent with a call, and what of a reply becomes header fields.

"Custom-Metadata → Binary-Header / ASCII-Header": names are lower case; values are printable ASCII, or under a name
that ends in ``-bin`` any bytes, which HTTP carries as base64 with or without padding. A list of values under a
``-bin`` name may be joined by commas.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bridge.api import (
    BindError,
    Call,
    ControlCharacter,
    Derived,
    Fault,
    HeadTooLarge,
    InvalidParameter,
    KeyPath,
    Value,
    caching,
    claim_text,
    forwardable,
    returnable,
    secret_texts,
)
from bridge_grpc.codec.scalars import FieldValueError, octets

Pair = tuple[str, str | bytes]

#: Bytes of all metadata of a call, each counted with `OVERHEAD`: "Servers may limit the size of Request-Headers, with a
#: default of 8 KiB suggested", as RFC 9113, section 6.5.2, measures it.
MAX_SIZE = 8 * 1024
OVERHEAD = 32

_NAME = re.compile(r"[0-9a-z_.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAME = re.compile(r"[0-9A-Za-z_.-]+\*?")
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
    """`text` as it is sent under `name`; decoded from base64 if the name ends in ``-bin``.

    :raises ValueError: metadata can't hold it; the message doesn't contain it.
    """
    if name.endswith("-bin"):
        try:
            return bytes(octets(text.strip()))
        except FieldValueError:
            raise ValueError("it needs base64, since its name ends in -bin") from None
    if not text.isascii() or not text.isprintable():
        kind = ControlCharacter if _CONTROL.search(text) else ValueError
        raise kind("it must be printable ASCII; use a name ending in -bin for others")
    return text


def items_of(text: str) -> list[str]:
    """The items of one header field of a client under a ``-bin`` name, which may be a list (RFC 9110, section 5.6.1.2:
    empty elements are ignored); an empty value alone is zero bytes."""
    return [item for item in text.split(",") if item.strip()] or [""]


def values_of(name: str, text: str) -> list[str | bytes]:
    """As `value_of`, for one header field of a client, which may be a list under a ``-bin`` name.

    :raises ValueError: metadata can't hold it.
    """
    return [value_of(name, item) for item in (items_of(text) if name.endswith("-bin") else [text])]


def constant(name: str, value: Any) -> str | bytes:
    """A value of the spec as it is sent.

    :raises ValueError: metadata can't hold it.
    """
    try:
        return value_of(name, claim_text(value))
    except ValueError as error:
        raise ValueError(f"the value of {name!r}: {error}") from None


def size_of(pairs: Sequence[Pair]) -> int:
    """The size of `pairs` as compared with `MAX_SIZE`; bytes count as their base64."""
    return sum(
        len(name) + (len(value) if isinstance(value, str) else -(-len(value) * 4 // 3)) + OVERHEAD
        for name, value in pairs
    )


# --- requests ------------------------------------------------------------------------------------------------------


class RequestMetadata:
    """The metadata of a route's calls, compiled once.

    :param metadata: name -> text, or an origin.
    :param pass_headers: names of request headers that are sent unchanged; a final ``*`` matches any ending.
    :param auth_headers: header fields that the route's auth removes, so they can't be sent.
    :param home: the folder that ``$file`` is relative to.
    :ivar caching: fields that tell caches what a reply depends on.
    :raises bridge.api.BindError: names, values or secrets can't be used; all faults at once.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any] | None = None,
        pass_headers: Sequence[str] = (),
        home: Path = Path(),
        auth_headers: Collection[str] = (),
    ) -> None:
        metadata = metadata or {}
        self._fixed: list[Pair] = []
        self._values: list[tuple[str, Value[str | bytes]]] = []
        #: Secrets from files, each with its place among the fixed ones.
        self._rotating: list[tuple[int, str, Derived[str | bytes]]] = []
        self._secrets: list[Value[str | bytes]] = []
        self._own_names = frozenset(name.replace("_", "-") for name in metadata)
        faults: list[Fault] = []
        for name, value in metadata.items():
            key = ("transform", "grpc", "metadata", name)
            try:
                check_name(name)
                self._add(name, value, key, home)
            except ValueError as error:
                faults.append(Fault(str(error), key))
            except BindError as error:
                faults += error.faults
        exact: set[str] = set()
        prefixes: list[str] = []
        for at, name in enumerate(pass_headers):
            try:
                self._check_passed(name.lower(), auth_headers)
            except ValueError as error:
                faults.append(Fault(str(error), ("transform", "grpc", "pass_headers", at)))
            (prefixes.append if name.endswith("*") else exact.add)(name.lower().rstrip("*"))
        self._exact, self._prefixes = frozenset(exact), tuple(prefixes)
        self.caching = caching(
            [origin for _, value in self._values if (origin := value.from_call)], sorted(exact), private=bool(prefixes)
        )
        steady = [*self._fixed, *((name, secret()) for _, name, secret in self._rotating)]
        if not faults and size_of(steady) > MAX_SIZE:
            faults.append(Fault(f"all together are larger than {MAX_SIZE} bytes", ("transform", "grpc", "metadata")))
        if faults:
            raise BindError(faults)

    def outgoing(self, call: Call) -> list[Pair]:
        """The metadata of `call`, as a new list.

        :raises bridge.api.Forbidden: a claim is missing or can't be sent.
        :raises bridge.api.InvalidParameter: a header is missing or can't be sent.
        :raises bridge.api.HeadTooLarge: it is larger than `MAX_SIZE`.
        """
        pairs = list(self._fixed)
        for at, name, secret in self._rotating:
            pairs.insert(at, (name, secret()))
        if not self._values and not self._exact and not self._prefixes:
            return pairs
        for name, value in self._values:
            pairs += [(name, item) for item in value(call)]
        if self._exact or self._prefixes:
            pairs += self._forwarded(call)
        if size_of(pairs) > MAX_SIZE:
            raise HeadTooLarge(f"The header fields that go to the service may have at most {MAX_SIZE // 1024} KiB.")
        return pairs

    def _forwarded(self, call: Call) -> list[Pair]:
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
        """Whether a header that matches a prefix may be sent; not if the spec itself sets that name."""
        if name.replace("_", "-") in self._own_names:
            return False
        try:
            check_name(name)
        except ValueError:
            return False
        return True

    def _check_passed(self, name: str, auth_headers: Collection[str]) -> None:
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't be the name of a header; '*' stands at the end, after some letters")
        if name.endswith("*"):
            if name.startswith("grpc-"):
                raise ValueError(f"{name!r} belongs to gRPC itself")
            return
        check_name(name)
        if name in auth_headers:
            raise ValueError(f"{name!r} is used up by the route's auth; no service gets it")
        if name.replace("_", "-") in self._own_names:
            raise ValueError(f"metadata fills {name!r} already")

    def _add(self, name: str, value: Any, key: KeyPath, home: Path) -> None:
        split = items_of if name.endswith("-bin") else None
        compiled = Value[str | bytes](value, key, home, partial(value_of, name), split)
        if (constant := compiled.constant) is not None:
            self._fixed += [(name, item) for item in constant]
        elif compiled.secret is not None:
            self._rotating.append((len(self._fixed) + len(self._rotating), name, compiled.secret))
        else:
            self._values.append((name, compiled))
        if compiled.secret is not None:
            self._secrets.append(compiled)

    @property
    def secrets(self) -> Collection[str]:
        """Secret values in the metadata, which must not be shown."""
        return secret_texts(self._secrets, wire_text)


def wire_text(value: str | bytes) -> str:
    """A value as HTTP carries it: bytes as base64."""
    return value if isinstance(value, str) else base64.b64encode(value).decode("ascii")


# --- replies -------------------------------------------------------------------------------------------------------


class ResponseMetadata:
    """Which metadata of a reply become header fields of the response, compiled once.

    :param names: in any case; a final ``*`` matches any ending.
    :raises bridge.api.BindError: names belong to the gateway or to gRPC; all faults at once.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        faults: list[Fault] = []
        for at, name in enumerate(names):
            key = ("transform", "grpc", "reply_headers", at)
            if not _HEADER_NAME.fullmatch(name):
                faults.append(Fault(f"{name!r} can't be a metadata name; '*' stands at the end, after letters", key))
            elif _is_internal(name.lower().rstrip("*")):
                faults.append(Fault(f"{name!r} belongs to gRPC, to one connection, or to the gateway alone", key))
        if faults:
            raise BindError(faults)
        lower = [name.lower() for name in names]
        self._exact = frozenset(name for name in lower if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in lower if name.endswith("*"))

    def returned(self, metadata: Sequence[Pair], trailers: Sequence[Pair]) -> list[tuple[str, str]]:
        """The fields for the response, in the reply's order, repeated ones too. Values that HTTP can't carry are left
        out, and so is all that exceeds `MAX_SIZE` bytes."""
        fields: list[tuple[str, str]] = []
        if not self._exact and not self._prefixes:
            return fields
        space = MAX_SIZE
        for name, value in (*metadata, *trailers):
            if name not in self._exact and not (name.startswith(self._prefixes) and not _is_internal(name)):
                continue
            text = wire_text(value)
            space -= len(name) + len(text) + OVERHEAD
            if space < 0:
                break
            if text.isascii() and text.isprintable():
                fields.append((name, text))
        return fields


def _is_internal(name: str) -> bool:
    """Whether metadata of this name never becomes a header field."""
    internal = name in _GRPC or name in _TRACE or name.startswith(("grpc-", *_LIMITS))
    return internal or not _NAME.fullmatch(name) or not returnable([(name, "")])
