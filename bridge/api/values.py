"""Origins of values that a plug-in sends and that the spec doesn't contain.

``{$env: NAME}`` and ``{$file: path}`` are secrets, read once when the route is bound. ``{$header: X-Name}`` and
``{$claim: sub}`` differ from call to call. Every publisher can write a spec, so the first two can name only secrets for
routes, which are variables ``BRIDGE_SECRET_…`` and files below ``secrets/``, and of those only the ones that
`bridge.api.grants` allows for the route that is being bound.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from bridge.api.call import Call
from bridge.api.grants import SECRET_DIRS, needed_grant
from bridge.errors import BindError, Fault, KeyPath
from bridge.http.field_value import as_utf8
from bridge.http.token import is_token

#: The absence of a value (None is a value in JSON).
ABSENT: Any = object()

KINDS = ("$env", "$file", "$header", "$claim")
_SECRET = ("$env", "$file")
_MAX_SECRET = 64 * 1024


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


# --- secrets: read at bind -----------------------------------------------------------------------------------------


def read_secret(origin: Origin, home: Path) -> str:
    """The secret's text.

    :raises bridge.api.BindError: it can't be read; the message names the key and the variable or file.
    """
    if origin.kind == "env":
        return read_env(origin.name, origin.path)
    return _read_file(origin, home)


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


def _read_file(origin: Origin, home: Path) -> str:
    """A file below ``secrets/`` in `home` or in a container's folders for secrets, without one trailing line end. Only
    the name is checked: symbolic links are followed, since only the operator can create them."""
    grant = needed_grant(origin.path)
    relative = PurePosixPath(origin.name)
    if any(part == ".." or (part.startswith(".") and part != ".") for part in relative.parts):
        raise BindError(Fault("hidden files and parent folders can't be named here", origin.path))
    if "kubernetes.io" in relative.parts or not any(relative.is_relative_to(folder) for folder in SECRET_DIRS):
        # A publisher may name secrets for routes, but not the gateway's own: its issuers, its settings, the token of
        # its service account.
        places = ", ".join(map(str, SECRET_DIRS[1:]))
        raise BindError(Fault(f"a file lies below secrets/ in BRIDGE_HOME, or below {places}", origin.path))
    grant.check_file(relative, origin.path)
    path = home / relative
    try:
        if not path.is_file():
            raise BindError(Fault(f"there is no file {origin.name}", origin.path))
        if grant.secrets.reserves(path):
            raise BindError(Fault(f"{origin.name} is a file that the gateway itself uses", origin.path))
        if path.stat().st_size > _MAX_SECRET:
            raise BindError(Fault(f"the file {origin.name} is larger than 64 KiB", origin.path))
        text = path.read_bytes().decode()
    except OSError as error:
        raise BindError(Fault(f"the file {origin.name} can't be read: {error.strerror}", origin.path)) from None
    except UnicodeDecodeError:
        raise BindError(Fault(f"the file {origin.name} is not UTF-8 text", origin.path)) from None
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


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
