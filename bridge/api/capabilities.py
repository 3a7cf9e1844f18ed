"""What a transformer may offer beside `bridge.api.Transformer`: each capability is one Protocol, and all stand here.

A capability is found by its members alone: a plug-in that has them has the capability, and registers nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel

from bridge.api.route_spec import RouteSpec
from bridge.api.transformer import Context

C = TypeVar("C")


def capability(plug_in: object, kind: type[C]) -> C | None:
    """`plug_in` as `kind`, one of the Protocols below; None where it lacks the capability."""
    return plug_in if isinstance(plug_in, kind) else None


@runtime_checkable
class Import(Protocol):
    """``hms-bridge import NAME``: writes the spec of a service that exists. The command is named after the transformer.

    :cvar import_options: what the command takes; its docstring is the command's help. A field without a default is a
        positional argument, one with a default an option (``wsdl_user`` is ``--wsdl-user``). Fields are ``str``,
        ``int``, ``float``, ``bool`` or a list of one of these; ``Field(description=…)`` is the help.
    """

    import_options: ClassVar[type[BaseModel]]

    async def import_spec(self, options: Any, context: Context) -> tuple[str, Sequence[str]]:
        """The text of a spec that is ready to serve, and notes on what could not be published.

        :param options: an instance of `import_options`.
        :param context: reaches every host that this machine reaches; names are host names, not the mesh's.
        :raises bridge.api.BindError: the service can't be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A contract that may change where it comes from, with no change to a file that the gateway watches.

    :ivar every: seconds between two looks.
    :ivar fingerprint: gives the same bytes for the same contract, which may be as old as `every`, so that routes of one
        server share an answer; raises `bridge.api.BindError` where it can't be had.
    """

    every: float
    fingerprint: Callable[[], Awaitable[bytes]]


@runtime_checkable
class Follow(Protocol):
    """Contracts that change while routes serve: the gateway binds a route again when its contract has changed."""

    def follow(self, route: RouteSpec, options: Any) -> Followed | None:
        """Called before each bind of `route`; None where its contract can't change."""
        ...


@runtime_checkable
class Notes(Protocol):
    """A transformer that publishes what it can and tells what it left out."""

    def notes(self, route: RouteSpec) -> Sequence[str]:
        """A sentence for each thing that the last bind of `route` left out."""
        ...
