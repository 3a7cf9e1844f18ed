"""Transformers, found by entry points. The built-in ones are found in the same way.

A plug-in's distribution declares::

    [project.entry-points."bridge.transformers"]
    shout = "shout_package:Shout"
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from bridge.api.capabilities import Advising, Contracted, Followed, Following, Noting, capability
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.transform import TRANSFORMERS
from bridge.api.spec.upstream import TRANSPORTS
from bridge.api.transformer import Context, Operation, Options, Transformer
from bridge.config.specfile import faults_of
from bridge.config.yaml import NO_LINES, Document
from bridge.errors import BindError, BridgeError, ConflictError, Fault, SpecError
from bridge.http.template import join_template, parse_template
from bridge.http.token import is_token
from bridge.wording import suggestion

GROUP = TRANSFORMERS

log = logging.getLogger("bridge.plugins")


def discover(points: Iterable[EntryPoint] | None = None) -> dict[str, EntryPoint]:
    """The entry points of all transformers by name; nothing is imported.

    :param points: instead of the installed ones.
    :raises ConflictError: two distributions offer the same name.
    """
    by_name: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP) if points is None else points:
        other = by_name.get(point.name)
        if other is not None and other.value != point.value:
            raise ConflictError(
                f"two plug-ins are named {point.name!r}: {_origin(other)} and {_origin(point)}; uninstall one"
            )
        by_name[point.name] = point
    return by_name


def _origin(point: EntryPoint) -> str:
    return f"{point.value} of {point.dist.name}" if point.dist else point.value


def plugin_failure(name: str, error: BaseException) -> BindError:
    """What the transformer `name` raised in place of an error of `bridge.api`, with the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({PurePath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return BindError(Fault(f"the transformer {name!r} failed: {error!r}{where}"))


def load_transformer(point: EntryPoint) -> Transformer[Any]:
    """Import the transformer of an entry point and create it; it is not opened.

    :raises BindError: it can't be imported or created, or it is not a transformer. ``__cause__`` is its exception.
    """
    try:
        transformer: Transformer[Any] = point.load()()
        _check(transformer, point)
    except BindError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise BindError(Fault(f"{_origin(point)} can't be loaded: {error}", ("transform", "request"))) from error
    return transformer


class Transformers:
    """The transformers of one gateway. Each is imported, created and opened when a route first names it."""

    def __init__(self, context: Context, points: Mapping[str, EntryPoint] | None = None) -> None:
        self._context = context
        self._points = discover() if points is None else points
        self._open: dict[str, Transformer[Any]] = {}
        self._opening = asyncio.Lock()

    async def get(self, name: str) -> Transformer[Any]:
        """:raises BindError: it is not installed, can't be imported, or is not a transformer."""
        if name in self._open:
            return self._open[name]
        async with self._opening:
            return self._open[name] if name in self._open else await self._opened(name)

    async def _opened(self, name: str) -> Transformer[Any]:
        point = self._points.get(name)
        if point is None:
            names = sorted(self._points)
            reason = f"no transformer is named {name!r}; there are {', '.join(names)}{suggestion(name, names)}"
            raise BindError(Fault(reason, ("transform", "request")))
        try:
            transformer = load_transformer(point)
        except BindError as error:
            if error.__cause__ is not None:
                log.error("the plug-in %s can't be loaded", _origin(point), exc_info=error.__cause__)
            raise
        try:
            await transformer.open(self._context)
        except Exception as error:
            await transformer.aclose()
            if isinstance(error, BridgeError):
                raise
            log.exception("the plug-in %s can't be opened", _origin(point))
            raise plugin_failure(name, error) from error
        self._open[name] = transformer
        return transformer

    async def bind(self, spec: RouteSpec, document: Document | None = None, file: str = "") -> Sequence[Operation]:
        """The operations that `spec` publishes.

        :param document, file: the source of the options, for faults.

        :raises SpecError: the transformer's options don't match their model.
        :raises BindError: the contract that they name can't be compiled.
        """
        transformer = await self.get(spec.transform.request)
        try:
            operations = await transformer.bind(spec, _options(transformer, spec, document, file))
        except BindError as error:
            raise type(error)(_keyed(error.faults, transformer)) from error
        if not isinstance(operations, Sequence) or not all(isinstance(each, Operation) for each in operations):
            raise BindError(Fault(f"the transformer {transformer.name!r} failed: bind returned no list of operations"))
        for operation in operations:
            _check_operation(operation, spec, transformer.name)
        return operations

    async def follow(self, spec: RouteSpec, document: Document | None = None, file: str = "") -> Followed | None:
        """How to detect that the contract of `spec` has changed; None if it can't change. Parameters and errors as
        `bind`."""
        transformer = await self.get(spec.transform.request)
        following = capability(transformer, Following)
        return None if following is None else following.follow(spec, _options(transformer, spec, document, file))

    async def warnings(self, spec: RouteSpec) -> tuple[str, ...]:
        """A sentence on each part of the contract that the bound `spec` does not publish, and on each thing that
        its author should know."""
        transformer = await self.get(spec.transform.request)
        noting, advising = capability(transformer, Noting), capability(transformer, Advising)
        notes = noting.notes(spec) if noting is not None else ()
        advice = advising.advice(spec) if advising is not None else ()
        return (*(f"left out: {note}" for note in notes), *advice)

    async def aclose(self) -> None:
        for transformer in self._open.values():
            await transformer.aclose()
        self._open.clear()


def _options(transformer: Transformer[Any], spec: RouteSpec, document: Document | None, file: str) -> Options:
    """:raises SpecError: the options don't match their model."""
    raw = spec.transform.options
    try:
        return transformer.options.model_validate(raw)
    except ValidationError as error:
        lines = document.lines() if document else NO_LINES
        raise SpecError(
            faults_of(error, transformer.options, raw, lines, file, ("transform", transformer.name))
        ) from None


def _keyed(faults: Iterable[Fault], transformer: Transformer[Any]) -> tuple[Fault, ...]:
    """`faults`, with the key that names the contract where they are in one of its files."""
    contracted = capability(transformer, Contracted)
    path = ("transform", transformer.name, *([contracted.contract_key] if contracted is not None else []))
    return tuple(replace(fault, path=path) if fault.file and not fault.path else fault for fault in faults)


def _check_operation(operation: Operation, spec: RouteSpec, transformer: str) -> None:
    """:raises BindError: no request can have its method or path."""
    try:
        if operation.path and not operation.path.startswith("/"):
            raise ValueError("it must be empty or start with /")
        parse_template(join_template(spec.route, operation.path))
    except ValueError as error:
        raise BindError(
            Fault(f"{transformer} can't publish {operation.name!r} at {operation.path!r}: {error}", ("transform",))
        ) from None
    if operation.method != "*" and not is_token(operation.method):
        raise BindError(
            Fault(f"{transformer}: {operation.method!r} of {operation.name!r} is not a method", ("transform",))
        )


def _check(transformer: Any, point: EntryPoint) -> None:
    """:raises BindError: it is not a transformer."""
    reason = ""
    name = getattr(transformer, "name", None)
    wire = getattr(transformer, "wire", None)
    options = getattr(transformer, "options", None)
    missing = [method for method in ("open", "bind", "aclose") if not callable(getattr(transformer, method, None))]
    if name != point.name:
        reason = f"calls itself {name!r}, but its entry point {point.name!r}"
    elif wire not in (wires := entry_points(group=TRANSPORTS).names):
        reason = f"has the wire {wire!r}; it must be one of {', '.join(sorted(wires))}"
    elif not (isinstance(options, type) and issubclass(options, Options)):
        reason = "has options that are not a bridge.api.Options model"
    elif missing:
        reason = f"has no {', '.join(missing)}"
    if reason:
        raise BindError(Fault(f"{_origin(point)} {reason}", ("transform", "request")))
