"""What a plug-in's objects may be able to do beyond what they must: each capability is one Protocol.

`capability` is the only place where the gateway asks an object what it can do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel

from bridge.api.call import Call, GrpcReply, HttpReply, Reply
from bridge.api.route_spec import RouteSpec
from bridge.api.transformer import Context

C = TypeVar("C")
#: Whether objects of a class have a capability. The classes are those of plug-ins, which are few and stay.
_known: dict[tuple[type, type], bool] = {}


def capability(thing: object, kind: type[C]) -> C | None:
    """`thing`, if objects of its class have all members of the Protocol `kind`; else None."""
    key = (type(thing), kind)
    if key not in _known:
        _known[key] = isinstance(thing, kind)  # which takes some hundred calls
    return cast("C", thing) if _known[key] else None


# --- of a transformer ------------------------------------------------------------------------------------------------


@runtime_checkable
class Importing(Protocol):
    """It can write a route spec for a service that exists: ``hms-bridge import NAME``, with the transformer's name.

    :cvar import_options: what the command takes; its docstring is the command's help. A field without a default is a
        positional argument, one with a default an option: ``wsdl_user`` is ``--wsdl-user``. Fields are ``str``,
        ``int``, ``float``, ``bool`` or a list of one of these; ``Field(description=…)`` is the help.
    """

    import_options: ClassVar[type[BaseModel]]

    async def import_spec(self, options: Any, context: Context) -> tuple[str, Sequence[str]]:
        """The text of a spec that is ready to serve, and notes on what it leaves out.

        :param options: an instance of `import_options`.
        :param context: reaches every host that this machine reaches; names are host names, not the mesh's.
        :raises bridge.api.BindError: the service can't be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A contract that may change where it comes from, without a file that changes: the schema of a live server, say.

    :ivar every: seconds between two looks.
    :ivar fingerprint: gives the same bytes for the same contract, which may be as old as `every`, so that routes of one
        server share an answer; raises `bridge.api.BindError` where it can't be had.
    """

    every: float
    fingerprint: Callable[[], Awaitable[bytes]]


@runtime_checkable
class Following(Protocol):
    """Its contracts may change while routes serve. The gateway binds a route again when its contract has changed."""

    def follow(self, route: RouteSpec, options: Any) -> Followed | None:
        """How to see that the contract of `route` has changed; None where it can't. Called before each bind."""
        ...


@runtime_checkable
class Noting(Protocol):
    """It publishes what it can, and says what it leaves out."""

    def notes(self, route: RouteSpec) -> Sequence[str]:
        """A sentence on each thing that the bound `route` leaves out."""
        ...


# --- of a codec ------------------------------------------------------------------------------------------------------


@runtime_checkable
class Explaining(Protocol):
    """Its upstream message is binary, and it can show it as text."""

    def show(self, outbound: Any) -> str:
        """The message of `outbound`, for ``explain``; secrets masked."""
        ...


@runtime_checkable
class Secretive(Protocol):
    """It knows texts in its messages that must not be shown."""

    @property
    def secrets(self) -> Collection[str]: ...


@runtime_checkable
class Weighing(Protocol):
    """A unary codec whose cost does not grow with the size of every message.

    Codecs are called on the event loop for small messages and in a thread for large ones, where they must not touch
    what calls share unless that is safe from several threads. A codec that passes bytes on without reading them needs
    no thread.
    """

    def weighs(self, message: Call | HttpReply | GrpcReply) -> int:
        """Bytes of `message`, which is a large one, that are worked on."""
        ...


@runtime_checkable
class Refusing(Protocol):
    """Its clients want refusals in their own protocol's words instead of problem+json."""

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`reply`, which holds `problem` as problem+json, as the client of `call` reads it. Never raises."""
        ...


# --- of a body in pieces ---------------------------------------------------------------------------------------------


@runtime_checkable
class Closing(Protocol):
    """It holds something that must be given back; asynchronous generators do."""

    async def aclose(self) -> None: ...
