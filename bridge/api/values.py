"""Origins of values that a route sends and that the spec doesn't contain, with the same rules wherever they stand.

``{$env: NAME}`` and ``{$file: path}`` are secrets, read when the route is bound; a file is read again after it was
replaced. ``{$header: X-Name}`` and ``{$claim: sub}`` differ from call to call. Every publisher can write a spec, so the
first two can name only secrets for routes, which are variables ``BRIDGE_SECRET_…`` and files below ``secrets/``, and of
those only the ones that `bridge.api.grants` allows for the route that is being bound.

`Value` is one value of a spec that becomes texts, compiled: a constant or an origin. Where values have other types,
`call_values`, `missing_value`, `invalid_value`, `Secret` and `Derived` are its parts.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any, Generic, Literal, TypeVar

from bridge.api.call import Call
from bridge.api.grants import SECRET_DIRS, needed_grant
from bridge.errors import BindError, ClientError, Fault, Forbidden, InvalidParameter, KeyPath
from bridge.http.field_value import UNSENDABLE, as_utf8
from bridge.http.token import is_token

T = TypeVar("T")

log = logging.getLogger("bridge.secrets")

#: The absence of a value (None is a value in JSON).
ABSENT: Any = object()

KINDS = ("$env", "$file", "$header", "$claim")
_SECRET = ("$env", "$file")
_MAX_SECRET = 64 * 1024
CHECK_EVERY = 1.0  #: seconds between two looks at a file that a route names


@dataclass(frozen=True, slots=True)
class Origin:
    """One value's origin. `default` is the JSON value for calls without one; ABSENT: there is no default.

    :ivar path: its place in the spec, for messages.
    """

    kind: Literal["env", "file", "header", "claim"]
    name: str
    path: KeyPath
    default: Any = ABSENT

    @property
    def secret(self) -> bool:
        return self.kind in ("env", "file")

    @property
    def words(self) -> str:
        """Its description, for messages; never its value."""
        return {
            "env": f"the environment variable {self.name}",
            "file": f"the file {self.name}",
            "header": f"the header {self.name}",
            "claim": f"the token's claim {self.name}",
        }[self.kind]


def is_origin(value: object) -> bool:
    """Whether a JSON value of the spec names an origin (no name of XML or protobuf starts with a dollar sign)."""
    return isinstance(value, dict) and any(isinstance(key, str) and key.startswith("$") for key in value)


def read_origin(value: dict[str, Any], path: KeyPath) -> Origin:
    """The origin that `value` names.

    :param path: its place in the spec.
    :raises bridge.api.BindError: it is misspelled, or is more than one origin.
    """
    names = [name for name in value if name.startswith("$")]
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
            raise BindError(Fault(f"unknown; {hint}", (*path, name)))
    if len(names) > 1:
        raise BindError(Fault(f"one value can't come from both {names[0]} and {names[1]}", path))
    kind = names[0]
    permitted_keys = {kind} if kind in _SECRET else {kind, "default"}
    for name in value:
        if name not in permitted_keys:
            raise BindError(Fault(f"it can't stand beside {kind}", (*path, name)))
    text = value[kind]
    if not isinstance(text, str) or not text.strip():
        raise BindError(Fault("a name is wanted as a string", (*path, kind)))
    if kind == "$header" and not is_token(text):
        raise BindError(Fault(f"{text!r} can't be the name of a header", (*path, kind)))
    if is_origin(value.get("default")):
        raise BindError(Fault("a default is a plain value", (*path, "default")))
    return Origin(kind[1:], text, (*path, kind), value.get("default", ABSENT))  # type: ignore[arg-type]  # one of KINDS


# --- secrets --------------------------------------------------------------------------------------------------------


def read_env(name: str, path: KeyPath, *, url: str = "") -> str:
    """The environment variable that a spec names at `path`.

    :param url: where the value is sent, if that isn't the route's upstream: such as the URL of a WSDL.
    :raises bridge.api.BindError: the route may not name it or not send it there, it isn't set, or no route is being
        bound.
    """
    needed_grant(path).check_variable(name, path, url)
    text = os.environ.get(name)
    if text is None:
        raise BindError(Fault(f"the environment variable {name} is not set", path))
    return text


def read_secret(origin: Origin, home: Path) -> str:
    """The secret's text, as it is now.

    :raises bridge.api.BindError: it can't be read; the message names the key and the variable or file.
    """
    return Secret(origin, home).text()


class SecretFile:
    """The text of a file that may be replaced: by a rename, a symbolic link, or in place. It is at most `CHECK_EVERY`
    seconds old. While the file is missing, empty or unreadable, the text that it had stays, which is logged.

    :param name: for messages.
    :param reserves: whether the file may not be read.
    :raises ValueError: it can't be read.
    """

    __slots__ = ("_before", "_due", "_lost", "_name", "_path", "_reserves", "_stamp", "_text")

    def __init__(self, path: Path, name: str, reserves: Callable[[Path], bool] = lambda path: False) -> None:
        self._path, self._name, self._reserves = path, name, reserves
        self._before, self._lost = "", False
        self._text, self._stamp = self._read()
        self._due = monotonic() + CHECK_EVERY

    def text(self) -> str:
        """The text, without one trailing line end. Any thread may call this."""
        if monotonic() >= self._due:
            self._due = monotonic() + CHECK_EVERY
            self._refresh()
        return self._text

    @property
    def shown(self) -> set[str]:
        """The current text, and the one before it."""
        return {self.text(), self._before} - {""}

    def _refresh(self) -> None:
        name = self._name
        try:
            if _stamp(self._path.stat()) == self._stamp and not self._lost:
                return
            text, stamp = self._read()
            if not text:
                raise ValueError(f"the file {name} is empty")
        except (OSError, ValueError) as error:
            if not self._lost:
                reason = error if isinstance(error, ValueError) else f"the file {name} can't be read: {error.strerror}"
                log.warning("%s; what it held before is used until it is back", reason)
            self._lost = True
            return
        if self._lost or text != self._text:
            log.info("the file %s was read again", name)
        if text != self._text:
            self._before, self._text = self._text, text
        self._stamp, self._lost = stamp, False

    def _read(self) -> tuple[str, tuple[int, ...]]:
        """Symbolic links are followed, since only the operator can create them.

        :raises ValueError: why the file can't be used.
        """
        name, path = self._name, self._path
        try:
            if not path.is_file():
                raise ValueError(f"there is no file {name}")
            if self._reserves(path):
                raise ValueError(f"{name} is a file that the gateway itself uses")
            with path.open("rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                data = file.read(_MAX_SECRET + 1)
            if len(data) > _MAX_SECRET:
                raise ValueError(f"the file {name} is larger than 64 KiB")
            text = data.decode()
        except OSError as error:
            raise ValueError(f"the file {name} can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the file {name} is not UTF-8 text") from None
        return (text[:-1].removesuffix("\r") if text.endswith("\n") else text), stamp


class Secret:
    """The text of a ``$env`` or ``$file`` of a route; a file is read again as `SecretFile` says.

    :param home: the folder that ``$file`` is relative to.
    :ivar rotates: whether the text may change.
    :raises bridge.api.BindError: it can't be read, or the route may not name it; the message names the key and the
        variable or file.
    """

    __slots__ = ("_file", "_text", "origin", "rotates")

    def __init__(self, origin: Origin, home: Path) -> None:
        self.origin, self.rotates = origin, origin.kind == "file"
        self._file: SecretFile | None = None
        self._text = ""
        if not self.rotates:
            self._text = read_env(origin.name, origin.path)
            return
        grant = needed_grant(origin.path)
        relative = PurePosixPath(origin.name)
        _check_place(relative, origin)
        grant.check_file(relative, origin.path)
        try:
            self._file = SecretFile(home / relative, origin.name, grant.secrets.reserves)
        except ValueError as error:
            raise BindError(Fault(str(error), origin.path)) from None

    def text(self) -> str:
        """The text, without one trailing line end. Any thread may call this."""
        return self._text if self._file is None else self._file.text()

    @property
    def shown(self) -> set[str]:
        """The texts that must not be shown: the current one, and the one before it, which may still be under way."""
        return {self._text} - {""} if self._file is None else self._file.shown


def _stamp(stat: os.stat_result) -> tuple[int, ...]:
    """Changes when a file is replaced or written."""
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _check_place(file: PurePosixPath, origin: Origin) -> None:
    """:raises bridge.api.BindError: `file` is not below ``secrets/``, or in a container's folders for secrets."""
    if any(part == ".." or (part.startswith(".") and part != ".") for part in file.parts):
        raise BindError(Fault("hidden files and parent folders can't be named here", origin.path))
    if "kubernetes.io" in file.parts or not any(file.is_relative_to(folder) for folder in SECRET_DIRS):
        # A publisher may name secrets for routes, but not the gateway's own: its issuers, its settings, the token of
        # its service account.
        places = ", ".join(map(str, SECRET_DIRS[1:]))
        raise BindError(Fault(f"a file lies below secrets/ in BRIDGE_HOME, or below {places}", origin.path))


class Derived(Generic[T]):
    """What a route makes of a secret: made again when the secret's text changes.

    :param convert: raises `ValueError` for a text that can't be used. After a rotation the value before it stays, which
        is logged.
    :raises ValueError: the first text can't be used. The message may quote it.
    """

    __slots__ = ("_before", "_convert", "_text", "_value", "secret")

    def __init__(self, secret: Secret, convert: Callable[[str], T]) -> None:
        self.secret, self._convert = secret, convert
        self._text = secret.text()
        self._value: T = convert(self._text)
        self._before: list[T] = []

    def __call__(self) -> T:
        text = self.secret.text()
        if text is not self._text:
            self._text = text
            try:
                value = self._convert(text)
            except ValueError:  # its message may quote the secret
                log.warning(
                    "%s holds what can't be used here; what it held before is used until it is mended",
                    self.secret.origin.words,
                )
            else:
                self._before, self._value = [self._value], value
        return self._value

    @property
    def values(self) -> Sequence[T]:
        """The current value, and the one before it."""
        return [self(), *self._before]


# --- what each call brings -------------------------------------------------------------------------------------------


def header_texts(call: Call, name: str) -> list[str]:
    """The values of a request's header field, in order. Text beyond ASCII is decoded as UTF-8 if it is valid."""
    texts = [value for field, value in call.headers if field == name]
    return [value if value.isascii() else as_utf8(value) for value in texts]


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that name, else the value at the dotted path; ABSENT if there is none or it is null."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    return ABSENT if value is None else value


def claim_text(value: Any) -> str:
    """A claim as text, for a schema that requires text where JSON has another scalar.

    :raises ValueError: it is an object or an array.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("a single value is wanted")


def call_values(origin: Origin, call: Call, *, split: bool = False, whole: bool = False) -> list[Any]:
    """The JSON values that `call` has for a header or claim; empty: it has none.

    :param split: the fields of a header are lists with commas (RFC 9110, section 5.6.1), and each item is a value.
        Otherwise each field is one.
    :param whole: a claim that is an array is one value. Otherwise each item is one, and an empty array is none.
    """
    if origin.kind == "header":
        texts = header_texts(call, origin.name.lower())
        return [item for text in texts for item in map(str.strip, text.split(",")) if item] if split else list(texts)
    claim = claim_of(call.identity.claims, origin.name)
    if claim is ABSENT:
        return []
    return list(claim) if isinstance(claim, list) and not whole else [claim]


def is_array(origin: Origin, call: Call) -> bool:
    """Whether `call` has an array for a claim, which no place takes that wants one value, however many items it has."""
    return origin.kind == "claim" and isinstance(claim_of(call.identity.claims, origin.name), list)


def missing_value(origin: Origin) -> ClientError:
    """The error for a missing value without a default: 403 for a claim, since it depends on the caller; 400 for a
    header."""
    if origin.kind == "claim":
        return Forbidden(f"Your token has no claim {origin.name}, which this operation needs.")
    return InvalidParameter([(origin.name, "this header is required")])


def invalid_value(origin: Origin, reason: str) -> ClientError:
    """The error for a value that can't be used."""
    if origin.kind == "claim":
        return Forbidden(f"Your token's claim {origin.name} is not what this operation takes: {reason}.")
    return InvalidParameter([(origin.name, reason)])


def caching(origins: Iterable[Origin], headers: Iterable[str] = (), *, private: bool = False) -> list[tuple[str, str]]:
    """Header fields of a reply that depends on request headers or on the caller (RFC 9111).

    :param headers: further request headers that it depends on, in lower case.
    :param private: whether it depends on anything else.
    """
    origins = list(origins)
    names = dict.fromkeys((*(origin.name.lower() for origin in origins if origin.kind == "header"), *headers))
    fields = [("vary", ", ".join(names))] if names else []
    if private or any(origin.kind == "claim" for origin in origins):
        fields.append(("cache-control", "private"))
    return fields


class ControlCharacter(ValueError):
    """A value holds a character that would split a message in two, or that no text holds."""


class Value(Generic[T]):
    """One value of a spec that becomes texts: a text, a number or boolean, or an origin.

    :param value: as the spec has it. :param path: its place. :param home: the folder that ``$file`` is relative to.
    :param convert: a text as the place takes it; raises `ValueError` with a reason that doesn't quote it.
    :param split: cuts a request's header field into several texts.
    :ivar origin: None for a constant.
    :raises bridge.api.BindError: it can't be used, or a secret can't be read.
    """

    __slots__ = ("_convert", "_default", "_derived", "_split", "origin")

    def __init__(
        self,
        value: Any,
        path: KeyPath,
        home: Path,
        convert: Callable[[str], T],
        split: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self._convert, self._split = convert, split
        self._derived: Derived[T] | None = None
        #: The values of calls that have none; None: such calls are refused.
        self._default: Sequence[T] | None = None
        self.origin = read_origin(value, path) if is_origin(value) else None
        if self.origin is None:
            self._default = [self._constant(value, path)]
        elif self.origin.secret:
            secret = Secret(self.origin, home)
            try:
                self._derived = Derived(secret, convert)
            except ValueError as error:
                raise BindError(Fault(f"{self.origin.words}: {error}", path)) from None
        elif self.origin.default is None:
            self._default = []
        elif self.origin.default is not ABSENT:
            default = self.origin.default
            items = default if isinstance(default, list) else [default]
            self._default = [self._constant(item, path) for item in items]

    def _constant(self, value: Any, path: KeyPath) -> T:
        try:
            return self._convert(claim_text(value))
        except ValueError as error:
            raise BindError(Fault(str(error), path)) from None

    @property
    def constant(self) -> Sequence[T] | None:
        """The values, if they are the same for all calls and at all times; else None."""
        if self.origin is None:
            return self._default
        return [self._derived()] if self._derived is not None and not self._derived.secret.rotates else None

    @property
    def from_call(self) -> Origin | None:
        """The origin, if the values differ from call to call."""
        return self.origin if self._derived is None else None

    @property
    def secret(self) -> Derived[T] | None:
        return self._derived

    def __call__(self, call: Call) -> Sequence[T]:
        """The values for `call`, in order; empty: it has none, and the route says that it needs none.

        :raises bridge.api.InvalidParameter: the call lacks a header, or it can't be used; or a claim has control
            characters.
        :raises bridge.api.Forbidden: its token lacks a claim, or that can't be used.
        """
        origin = self.origin
        if self._derived is not None:
            return [self._derived()]
        values = call_values(origin, call) if origin is not None else []
        if origin is None or not values:
            if self._default is None:
                assert origin is not None  # a constant is its own default
                raise missing_value(origin)
            return self._default
        try:
            texts: Iterable[str] = map(claim_text, values)
            if self._split is not None and origin.kind == "header":
                texts = [item for text in texts for item in self._split(text)]
            return [self._convert(text) for text in texts]
        except ControlCharacter as error:
            raise InvalidParameter([(origin.name, str(error))]) from None
        except ValueError as error:
            raise invalid_value(origin, str(error)) from None

    def one(self, call: Call) -> T | None:
        """As `__call__`, in a place that takes one value; None: there is none.

        :raises bridge.api.InvalidParameter, bridge.api.Forbidden: also if there are several.
        """
        values = self(call)
        if self.origin is not None and (len(values) > 1 or is_array(self.origin, call)):
            raise invalid_value(self.origin, "a single value is wanted")
        return values[0] if values else None


def header_text(text: str) -> str:
    """`text`, if a header field may hold it.

    :raises ControlCharacter: it has control characters. :raises ValueError: it is not Unicode.
    """
    if UNSENDABLE.search(text):
        raise ControlCharacter("it holds control characters, which no header field takes")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it is no Unicode text") from None
    return text.strip(" \t")


def secret_texts(values: Iterable[Value[Any]], show: Callable[[Any], str] = str) -> Collection[str]:
    """The texts of the secrets among `values` that must not be shown, as they are and as they are sent (`show`)."""
    texts: set[str] = set()
    for value in values:
        if (derived := value.secret) is not None:
            texts |= {*derived.secret.shown, *map(show, derived.values)}
    return texts - {""}
