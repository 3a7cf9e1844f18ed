"""Entry points -> transformers. Finding them is a call, never an import's side effect; built-ins come in this way too.

A plug-in's distribution declares::

    [project.entry-points."bridge.transformers"]
    shout = "shout_package:Shout"
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import ValidationError

from bridge.api.route_spec import RouteSpec
from bridge.api.transformer import Context, Operation, Options, Transformer
from bridge.config.specfile import faults_of
from bridge.errors import BindError, ConflictError, Fault, SpecError
from bridge.http.methods import is_method
from bridge.http.template import check_template

GROUP = "bridge.transformers"
WIRES = ("http", "grpc")

log = logging.getLogger("bridge.plugins")


def discover(found: Iterable[EntryPoint] | None = None) -> dict[str, EntryPoint]:
    """Every transformer's entry point by name; nothing is imported yet.

    :raises ConflictError: two distributions offer one name.
    """
    by_name: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP) if found is None else found:
        other = by_name.get(point.name)
        if other is not None and other.value != point.value:
            raise ConflictError(
                f"two plug-ins are named {point.name!r}: {_whose(other)} and {_whose(point)}; uninstall one"
            )
        by_name[point.name] = point
    return by_name


def _whose(point: EntryPoint) -> str:
    return f"{point.value} of {point.dist.name}" if point.dist else point.value


@runtime_checkable
class Following(Protocol):
    """A transformer whose contracts may change where they come from, without a file that is seen to change: the schema
    of a live server, say."""

    async def changed(self, route: RouteSpec, options: Any) -> bool:
        """Whether binding `route` again would give something else. Asked every second: the transformer bounds how
        often it looks. What can't be reached has not changed."""
        ...


class Transformers:
    """The transformers of one gateway, each imported, made and opened when a route first names it."""

    def __init__(self, context: Context, points: Mapping[str, EntryPoint] | None = None) -> None:
        self._context = context
        self._points = discover() if points is None else points
        self._open: dict[str, Transformer[Any]] = {}
        self._following: set[str] = set()
        self._opening = asyncio.Lock()

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._points)

    async def get(self, name: str) -> Transformer[Any]:
        """:raises BindError: nobody offers it, it can't be imported, or it isn't a transformer."""
        if name in self._open:
            return self._open[name]
        async with self._opening:
            return self._open[name] if name in self._open else await self._opened(name)

    async def _opened(self, name: str) -> Transformer[Any]:
        point = self._points.get(name)
        if point is None:
            raise BindError(
                Fault(f"no transformer is named {name!r}; there are {', '.join(self.names)}", "transform.request")
            )
        try:
            made: Transformer[Any] = point.load()()
        except Exception as error:  # a plug-in may fail in any way; it must not take the gateway with it
            log.exception("the plug-in %s can't be loaded", _whose(point))
            raise BindError(Fault(f"{_whose(point)} can't be loaded: {error}", "transform.request")) from error
        _check(made, name, point)
        try:
            await made.open(self._context)
        except Exception:
            await made.aclose()
            raise
        self._open[name] = made
        if isinstance(made, Following):
            self._following.add(name)
        return made

    async def bind(self, spec: RouteSpec, document: Any = None, file: str = "") -> Sequence[Operation]:
        """The operations of `spec`'s contract; `document` and `file` only say where a fault stands.

        :raises SpecError: the transformer's options break their model.
        :raises BindError: what they name can't be compiled.
        """
        transformer = await self.get(spec.transform.request)
        raw = spec.transform.options
        try:
            options = transformer.options.model_validate(raw)
        except ValidationError as error:
            under = ("transform", transformer.name)
            raise SpecError(faults_of(error, transformer.options, document or _nest(raw, under), file, under)) from None
        operations = await transformer.bind(spec, options)
        for operation in operations:
            _check_operation(operation, spec, transformer.name)
        return operations

    def follows(self, spec: RouteSpec) -> bool:
        """Whether what `spec`, which is bound, is bound to may change (`Following`)."""
        return spec.transform.request in self._following

    async def changed(self, spec: RouteSpec) -> bool:
        """Whether `spec`, which is bound, would be bound to something else now (`Following`)."""
        transformer = await self.get(spec.transform.request)
        if not isinstance(transformer, Following):
            return False
        return await transformer.changed(spec, transformer.options.model_validate(spec.transform.options))

    async def aclose(self) -> None:
        for transformer in self._open.values():
            await transformer.aclose()
        self._open.clear()


def _check_operation(operation: Operation, spec: RouteSpec, transformer: str) -> None:
    """What a contract or a plug-in wants to publish must be what a request can ask for.

    :raises BindError: it isn't; names the operation.
    """
    try:
        if operation.path and not operation.path.startswith("/"):
            raise ValueError("it must be empty or start with /")
        check_template((spec.route.rstrip("/") + operation.path) if operation.path else spec.route)
    except ValueError as error:
        raise BindError(
            Fault(f"{transformer} can't publish {operation.name!r} at {operation.path!r}: {error}", "transform")
        ) from None
    if operation.method != "*" and not is_method(operation.method):
        raise BindError(Fault(f"{transformer}: {operation.method!r} of {operation.name!r} is no method", "transform"))


def _nest(value: Any, under: Sequence[str]) -> Any:
    for step in reversed(under):
        value = {step: value}
    return value


def _check(made: Any, name: str, point: EntryPoint) -> None:
    """A plug-in that can't work is refused by name when it is loaded, not when a citizen calls."""
    reason = ""
    if getattr(made, "name", None) != name:
        reason = f"calls itself {getattr(made, 'name', None)!r}, but its entry point {name!r}"
    elif getattr(made, "wire", None) not in WIRES:
        reason = f"has the wire {getattr(made, 'wire', None)!r}; it must be one of {', '.join(WIRES)}"
    elif not (isinstance(made.options, type) and issubclass(made.options, Options)):
        reason = "has options that are no bridge.api.Options model"
    else:
        missing = [verb for verb in ("open", "bind", "aclose") if not callable(getattr(made, verb, None))]
        if missing:
            reason = f"has no {', '.join(missing)}"
    if reason:
        raise BindError(Fault(f"{_whose(point)} {reason}", "transform.request"))
