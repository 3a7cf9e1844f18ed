"""The optional capabilities of a plug-in's objects, one Protocol each.

`capability` is the only place where the gateway checks an object for them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, cast, runtime_checkable

from pydantic import BaseModel

from bridge.api.call import Call, GrpcReply, HttpReply, Reply
from bridge.api.spec.route import RouteSpec
from bridge.api.transformer import Context

C = TypeVar("C")
#: Whether objects of a class have a capability. The keys are classes of plug-ins, which are few and stay loaded.
_known: dict[tuple[type, type], bool] = {}


def capability(thing: object, kind: type[C]) -> C | None:
    """`thing`, if objects of its class have all members of the Protocol `kind`; else None."""
    key = (type(thing), kind)
    if key not in _known:
        _known[key] = isinstance(thing, kind)  # this takes about a hundred function calls
    return cast("C", thing) if _known[key] else None


# --- of an authenticator ---------------------------------------------------------------------------------------------


@runtime_checkable
class Remarking(Protocol):
    """Its operator should know more of it than a spec says: ``explain`` shows that."""

    @property
    def remarks(self) -> Sequence[str]:
        """Whole sentences."""
        ...


# --- of a transformer ------------------------------------------------------------------------------------------------


@runtime_checkable
class Importing(Protocol):
    """It can write a route spec for an existing service: ``hms-bridge import NAME``, with the transformer's name.

    :cvar import_options: the command's parameters; its docstring is the command's help. A field without a default is a
        positional argument, one with a default an option: ``wsdl_user`` is ``--wsdl-user``. Fields are ``str``,
        ``int``, ``float``, ``bool`` or a list of one of these; ``Field(description=…)`` is the help, and
        ``Field(json_schema_extra={"short": "-I"})`` a short name.
    """

    import_options: ClassVar[type[BaseModel]]

    async def import_spec(self, options: Any, context: Context) -> tuple[str, Sequence[str]]:
        """The text of a spec that is ready to serve, and notes on what it does not cover.

        :param options: an instance of `import_options`.
        :param context: may reach every host that this machine can reach; names are host names, not mesh names. Its
            `output` takes the contract's files and the service's addresses.
        :raises bridge.api.BindError: the service can't be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A contract that may change without a change to a file, such as the schema of a live server.

    :ivar every: seconds between two checks.
    :ivar fingerprint: returns the same bytes for the same contract, up to `every` seconds old, so that routes of one
        server can share it. Raises `bridge.api.BindError` if the contract is unavailable.
    """

    every: float
    fingerprint: Callable[[], Awaitable[bytes]]


@runtime_checkable
class Following(Protocol):
    """Its contracts may change while routes serve. The gateway binds a route again when its contract has changed."""

    def follow(self, route: RouteSpec, options: Any) -> Followed | None:
        """How to detect that the contract of `route` has changed; None if it can't change. Called before each bind."""
        ...


@runtime_checkable
class Contracted(Protocol):
    """Its routes have a contract, which an option names.

    :cvar contract_key: that option. Faults within the contract's files that name no key of the spec are shown with it.
    """

    contract_key: ClassVar[str]


@runtime_checkable
class Noting(Protocol):
    """It publishes the supported part of a contract, and lists the rest."""

    def notes(self, route: RouteSpec) -> Sequence[str]:
        """A sentence on each part of the contract that the bound `route` does not publish."""
        ...


@runtime_checkable
class Advising(Protocol):
    """It has something to say about routes that it binds."""

    def advice(self, route: RouteSpec) -> Sequence[str]:
        """A sentence on each thing that the author of the bound `route` should know: what its service asks for and the
        spec lacks, and where a contract is not read by the letter."""
        ...


# --- of a codec ------------------------------------------------------------------------------------------------------


@runtime_checkable
class Explaining(Protocol):
    """Its upstream messages are binary, and it can show them as text."""

    def show(self, outbound: Any) -> str:
        """The message of `outbound`, for ``explain``; secrets masked."""
        ...


@runtime_checkable
class Secretive(Protocol):
    """Its messages contain texts that must not be shown."""

    @property
    def secrets(self) -> Collection[str]: ...


@runtime_checkable
class Weighing(Protocol):
    """A unary codec whose cost does not grow with the size of every message.

    Codecs are called on the event loop for small messages and in a thread for large ones, where state that
    calls share must be thread-safe. A codec that forwards bytes without parsing them needs no thread.
    """

    def weighs(self, message: Call | HttpReply | GrpcReply) -> int:
        """Number of bytes of the large `message` that the codec processes."""
        ...


@runtime_checkable
class Forkable(Protocol):
    """A unary codec whose ``request`` and ``reply`` change nothing but `Call.warnings` and `Call.state`.

    They are then called in a copy of the gateway's process for messages above 1 MB, so that the event loop keeps its
    interpreter. What else they change is lost with the copy. The call and the service's reply go there pickled, and the
    request or reply, the errors that they raise, and `Call.state` come back so; where that fails, they are called in a
    thread. Where the secrets that the codec names (`Secretive`) have changed, a new copy is made.
    """

    def forks(self, call: Call, inbound: HttpReply | GrpcReply | None) -> bool:
        """Whether nothing else is changed by ``request(call)``, or with an `inbound` by ``reply(call, inbound)``.

        Called on the event loop; False for a message from which the codec learns, for example. If it is True there, it
        is called in the copy, too: False says that the copy is older than what the codec has learned, and a new one is
        made.
        """
        ...


@runtime_checkable
class Unread(Protocol):
    """A codec that, if `forwards_bodies` is true, forwards bodies of requests unread, in their content-coding. For all
    others the gateway undoes the coding: ``Call.headers`` have no ``content-encoding``."""

    @property
    def forwards_bodies(self) -> bool: ...


@runtime_checkable
class CodingAware(Protocol):
    """A codec of a protocol that says itself how bodies of its requests are compressed."""

    def undoes_coding(self, call: Call) -> bool:
        """Whether the codec undoes the ``content-encoding`` of `call` itself; if not, the gateway does."""
        ...


@runtime_checkable
class ErrorReading(Protocol):
    """An HTTP codec whose ``reply`` takes replies with a status of 400 or more, too, if `handles_errors` is true. For
    all others the gateway answers with a problem (`bridge.api.upstream_error`)."""

    @property
    def handles_errors(self) -> bool: ...


@runtime_checkable
class BodyStreaming(Protocol):
    """An HTTP codec that passes bodies on without reading them, if `streams_bodies` is true.

    `Call.body` may then be in pieces, to be put into `HttpRequest.body` as it is. With `HttpRequest.stream`,
    `HttpReply.body` may be, too, to be put into `Reply.body`, as it is or in an iterator around it. ``request`` and
    ``reply`` are called on the event loop.
    """

    @property
    def streams_bodies(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """Where a client sees the gateway, and what it is not to see.

    :ivar base: scheme, host and prefix, without a final slash: a route's path stands behind it.
    :ivar is_inside: whether a host (lower case) is the service's: its name in the mesh, an internal address, or the
        host of `base`, of which the service may know.
    """

    base: str
    is_inside: Callable[[str], bool]


@runtime_checkable
class SelfDescribing(Protocol):
    """An HTTP codec whose services may give out descriptions of themselves, such as a WSDL, with their own addresses.

    For calls by GET and HEAD that ask for one the gateway sends no ``Range``, condition or coding, reads the reply as a
    whole and has its addresses replaced.
    """

    def asks_for_description(self, call: Call) -> bool:
        """Whether `call` asks for a description. Asked for each call."""
        ...

    def is_description(self, content_type: str) -> bool:
        """Whether a reply to such a call is one, by its content type."""
        ...

    def readdressed(self, call: Call, body: bytes, content_type: str, public: PublicAddress) -> bytes:
        """`body` with the addresses of the route in place of the service's. Large ones are read in a thread.

        :raises bridge.api.XmlError: it can't be read.
        """
        ...


@runtime_checkable
class Refusing(Protocol):
    """Its clients expect errors in the format of their protocol instead of problem+json."""

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        """`reply`, whose body is `problem` as problem+json, in the format of `call`'s client. Never raises."""
        ...


# --- of a body in pieces ---------------------------------------------------------------------------------------------


@runtime_checkable
class Closing(Protocol):
    """It holds resources that must be released; asynchronous generators do."""

    async def aclose(self) -> None: ...


@runtime_checkable
class Trailed(Protocol):
    """Fields follow it (RFC 9110, section 6.5). They are known when it has ended; names in lower case."""

    @property
    def trailers(self) -> Sequence[tuple[str, str]]: ...
