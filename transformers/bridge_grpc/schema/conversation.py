"""What is asked in one stream of server reflection, and how much of an answer is believed.

The comments of ``grpc/reflection/v1/reflection.proto`` leave much to the server: an answer may hold one file or all
that it needs, in any order, and files that were sent before may be left out or sent again. So answers only add to what
is known, and what is still missing is asked for, many questions at once. All that a server can send is bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TypeVar

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from bridge.api import GrpcReply, GrpcStream
from bridge_grpc.schema.shipped import shipped_file

T = TypeVar("T")

#: Of one answer, and of all files together. The whole of googleapis is about 10 MB.
MAX_BYTES = 64 * 1024**2
MAX_FILES = 10_000
MAX_SERVICES = 5_000
MAX_EXTENSIONS = 5_000
#: Questions that are sent before their answers are read: so few that they fit a new stream's window (RFC 9113, 6.9.2).
TOGETHER = 64


class SchemaLimitError(Exception):
    """The server's answers are larger or more than any schema's."""


class ServerStatusError(Exception):
    """The server ended the call; `code` is its gRPC status."""

    def __init__(self, status: GrpcReply) -> None:
        super().__init__(status.detail or "no reason given")
        self.code = status.code


async def list_services(call: GrpcStream) -> list[str]:
    """The full names of the services in the answer to ``list_services``, each once.

    :raises ServerStatusError: the call failed.
    :raises ValueError: there is no such answer.
    """
    message = await call.read()
    if message is None:
        status = await call.status()
        if status.code:
            raise ServerStatusError(status)
        raise ValueError("it ends without an answer")
    answer = ServerReflectionResponse.FromString(message)
    _check(answer, "its services")
    names = list(dict.fromkeys(entry.name for entry in answer.list_services_response.service))
    if len(names) > MAX_SERVICES:
        raise SchemaLimitError(f"{len(names)} services")
    return names


class Conversation:
    """One stream to a server. A ``ValueError`` says what of its answers can't be used.

    :param call: a bidirectional call of ``ServerReflectionInfo``.
    """

    def __init__(self, call: GrpcStream) -> None:
        self._call = call
        self._bytes = 0
        self._seen: set[bytes] = set()
        self._files: dict[str, FileDescriptorProto] = {}
        self._needed: dict[str, None] = {}

    async def files(self, services: Sequence[str]) -> FileDescriptorSet:
        """The files that declare `services`, all that they import, and all that extend their messages."""
        for some in _batches(services):
            names = iter(some)
            async for answer in self._ask([ServerReflectionRequest(file_containing_symbol=name) for name in some]):
                _check(answer, next(names))
                self._take(answer)
        await self._imports()
        with contextlib.suppress(ServerStatusError):  # some end the stream over a question that they don't know
            await self._extensions()
        return FileDescriptorSet(file=self._files.values())

    async def _imports(self) -> None:
        while missing := [name for name in self._needed if name not in self._files]:
            self._needed.clear()
            for some in _batches(missing):
                asked = [name for name in some if name not in self._files]  # an earlier answer may have brought it
                reasons: list[str] = []
                async for answer in self._ask([ServerReflectionRequest(file_by_filename=name) for name in asked]):
                    self._take(answer)
                    reasons.append(answer.error_response.error_message)
                for name, reason in zip(asked, reasons, strict=True):
                    if name in self._files:
                        continue
                    shipped = shipped_file(name)  # some servers leave out the well-known types
                    if shipped is None:
                        why = f" ({reason})" if reason else ""
                        raise ValueError(f"it imports {name!r}, which the server does not have{why}")
                    self._add(shipped)

    async def _extensions(self) -> None:
        """Extensions that stand in files which no service's file imports. Servers need not know of any."""
        asked: set[str] = set()
        while fresh := [name for file in self._files.values() for name in _extendable(file) if name not in asked]:
            asked.update(fresh)
            known = {pair for file in self._files.values() for pair in _extended(file)}
            for some in _batches([pair for pair in await self._numbers(fresh) if pair not in known]):
                async for answer in self._ask([_extension(name, number) for name, number in some]):
                    self._take(answer)
            await self._imports()

    async def _numbers(self, messages: Sequence[str]) -> list[tuple[str, int]]:
        """(message, number) of every extension that the server knows of `messages`."""
        numbers: dict[tuple[str, int], None] = {}
        for some in _batches(messages):
            names = iter(some)
            async for answer in self._ask(
                [ServerReflectionRequest(all_extension_numbers_of_type=name) for name in some]
            ):
                name = next(names)
                numbers.update(
                    ((name, number), None) for number in answer.all_extension_numbers_response.extension_number
                )
            if len(numbers) > MAX_EXTENSIONS:
                raise SchemaLimitError(f"more than {MAX_EXTENSIONS} extensions")
        return list(numbers)

    async def _ask(self, questions: Sequence[ServerReflectionRequest]) -> AsyncIterator[ServerReflectionResponse]:
        """The answers, in the questions' order; none is kept longer than its reader does.

        :raises ServerStatusError: the stream ended before the last one.
        """
        for question in questions:
            await self._call.write(question.SerializeToString())
        for _ in questions:
            message = await self._call.read()
            if message is None:
                raise ServerStatusError(await self._call.status())
            yield ServerReflectionResponse.FromString(message)

    def _take(self, answer: ServerReflectionResponse) -> None:
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            # Many a server sends with each service all that it needs, so that the same files come hundreds of times.
            known = hashlib.sha256(raw).digest()
            if known in self._seen:
                continue
            self._seen.add(known)
            self._bytes += len(raw)
            if self._bytes > MAX_BYTES:
                raise SchemaLimitError(f"more than {MAX_BYTES // 1024**2} MB")
            self._add(FileDescriptorProto.FromString(raw))

    def _add(self, file: FileDescriptorProto) -> None:
        if file.name in self._files:
            return
        self._files[file.name] = file
        self._needed.update(dict.fromkeys(file.dependency))
        if len(self._files) > MAX_FILES:
            raise SchemaLimitError(f"more than {MAX_FILES} files")


def _check(answer: ServerReflectionResponse, what: str) -> None:
    if answer.HasField("error_response"):
        raise ValueError(f"{what}: {answer.error_response.error_message or 'no reason given'}")


def _extension(message: str, number: int) -> ServerReflectionRequest:
    wanted = ExtensionRequest(containing_type=message, extension_number=number)
    return ServerReflectionRequest(file_containing_extension=wanted)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER))


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """Full name and descriptor of every message of the file, nested ones too; not by recursion, since the server says
    how deep they lie."""
    waiting = [(file.package, message) for message in file.message_type]
    while waiting:
        scope, message = waiting.pop()
        name = f"{scope}.{message.name}".lstrip(".")
        yield name, message
        waiting += [(name, nested) for nested in message.nested_type]


def _extendable(file: FileDescriptorProto) -> Iterator[str]:
    """Messages that others may extend. Those of descriptor.proto are options, which no call carries."""
    if file.name.startswith("google/protobuf/"):
        return iter(())
    return (name for name, message in _messages(file) if message.extension_range)


def _extended(file: FileDescriptorProto) -> Iterator[tuple[str, int]]:
    """(message, number) of the extensions that the file declares."""
    for field in file.extension:
        yield field.extendee.lstrip("."), field.number
    for _, message in _messages(file):
        for field in message.extension:
            yield field.extendee.lstrip("."), field.number
