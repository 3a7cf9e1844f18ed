"""Edits of a request target's query: of ``upstream``, ``query`` and an API key. The rest stays as it was sent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from urllib.parse import quote, unquote_plus

from bridge.api.call import Call
from bridge.api.values import ControlCharacter
from bridge.errors import BindError, Fault, KeyPath
from bridge.http.field_value import UNSENDABLE
from bridge.http.template import fill_template, parse_template, split_template


def parameter_name(name: str, path: KeyPath) -> str:
    return name


def parameter_text(text: str) -> str:
    """`text` of one parameter, which is percent-encoded when it is sent.

    :raises ControlCharacter: it has control characters. :raises ValueError: it is not Unicode.
    """
    if UNSENDABLE.search(text):
        raise ControlCharacter("it holds control characters, which no parameter takes")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is no Unicode text") from None
    return text


def edited(target: str, first: str, dropped: Collection[str], pairs: Sequence[tuple[str, str]]) -> str:
    """`target`, a path and its query, without the parameters `dropped`, with `first` before the others and `pairs`
    behind them.

    :param first: percent-encoded.
    :param dropped: names, percent-decoded; a parameter counts by what services read in it (``+`` is a space).
    """
    path, question, query = target.partition("?")
    parts = query.split("&") if question else []
    if dropped:
        parts = [part for part in parts if unquote_plus(part.partition("=")[0]) not in dropped]
    added = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs]
    if not first and not added and not parts:
        return path
    return f"{path}?{'&'.join([first, *parts, *added] if first else [*parts, *added])}"


class UpstreamQuery:
    """The query of ``upstream``, filled with each call's path parameters.

    :param names: of the route's parameters.
    :ivar names: of its own parameters, percent-decoded: clients can't give them.
    :raises bridge.api.BindError: it names a parameter that the route's path doesn't have.
    """

    def __init__(self, query: str, route: str) -> None:
        self._query, self._pieces = query, split_template(query)
        known = parse_template(route).names
        for name in self._pieces[1::2]:
            if name not in known:
                raise BindError(Fault(f"the path {route} has no parameter {name!r}", ("upstream",)))
        self.names = frozenset(unquote_plus(part.partition("=")[0]) for part in query.split("&"))

    def __call__(self, call: Call) -> str:
        """Percent-encoded, so that no value adds a parameter.

        :raises bridge.api.InvalidParameter: a path parameter is not UTF-8.
        """
        return fill_template(self._pieces, call.params) if len(self._pieces) > 1 else self._query
