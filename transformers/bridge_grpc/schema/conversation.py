"""Server reflection in one stream, with limits on the server's replies.

``grpc/reflection/v1/reflection.proto`` leaves much to the server: a reply may hold one file or also its dependencies,
in any order, and files that were sent before may be left out or repeated. So each reply adds to the collected files,
and missing files are requested in batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha.reflection_pb2 import ExtensionRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest as _Request
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionResponse as _Response

from bridge.api import CallStream, GrpcReply
from bridge_grpc.schema.shipped import shipped_file

#: Of one reply, and of all files together. All of googleapis is about 10 MB.
MAX_BYTES = 64 * 1024**2
MAX_FILES = 10_000
MAX_SERVICES = 5_000
MAX_EXTENSIONS = 5_000
#: Requests that are sent before their replies are read; they fit a new stream's window (RFC 9113, section 6.9.2).
TOGETHER = 64


class SchemaLimitError(Exception):
    """The server's replies exceed a limit."""


class ServerStatusError(Exception):
    """The server ended the call; `code` is its gRPC status."""

    def __init__(self, status: GrpcReply) -> None:
        super().__init__(status.detail or "no reason given")
        self.code = status.code


async def list_services(call: CallStream) -> list[str]:
    """The full names of the services in the reply to ``list_services``, each once.

    :raises ServerStatusError: the call failed.
    :raises ValueError: there is no such reply.
    """
    message = await call.read()
    if message is None:
        status = await call.status()
        if status.code:
            raise ServerStatusError(status)
        raise ValueError("it ends without an answer")
    answer = _Response.FromString(message)
    _check(answer, "its services")
    names = list(dict.fromkeys(entry.name for entry in answer.list_services_response.service))
    if len(names) > MAX_SERVICES:
        raise SchemaLimitError(f"{len(names)} services")
    return names


class Conversation:
    """One stream to a server. ``ValueError`` says why its replies can't be used.

    :param call: a bidirectional call of ``ServerReflectionInfo``.
    """

    def __init__(self, call: CallStream) -> None:
        self._call = call
        self._bytes = 0
        self._digests: set[bytes] = set()
        self._files: dict[str, FileDescriptorProto] = {}
        self._dependencies: dict[str, None] = {}

    async def files(self, services: Sequence[str]) -> FileDescriptorSet:
        """The files that declare `services`, all that they import, and all that extend their messages."""
        async for question, answer in self._ask(_Request(file_containing_symbol=name) for name in services):
            _check(answer, question.file_containing_symbol)
            self._add_files(answer)
        await self._imports()
        with contextlib.suppress(ServerStatusError):  # some servers end the stream at requests that they don't support
            await self._extensions()
        return FileDescriptorSet(file=self._files.values())

    async def _imports(self) -> None:
        while self._dependencies:
            names, self._dependencies = self._dependencies, {}
            reasons: dict[str, str] = {}
            missing = (_Request(file_by_filename=name) for name in names if name not in self._files)
            async for question, answer in self._ask(missing):
                self._add_files(answer)
                reasons[question.file_by_filename] = answer.error_response.error_message
            for name, reason in reasons.items():
                if name in self._files:
                    continue
                # Some servers leave out the well-known types. Looking them up imports modules.
                file = await asyncio.to_thread(shipped_file, name)
                if file is None:
                    cause = f" ({reason})" if reason else ""
                    raise ValueError(f"it imports {name!r}, which the server does not have{cause}")
                self._add(file)

    async def _extensions(self) -> None:
        """Extensions in files that no service's file imports. Servers may not know of any."""
        queries: set[str] = set()
        while messages := [name for file in self._files.values() for name in _extendable(file) if name not in queries]:
            queries.update(messages)
            declarations = {pair for file in self._files.values() for pair in _extended(file)}
            numbers = await self._numbers(messages)
            async for _, answer in self._ask(_extension(*pair) for pair in numbers if pair not in declarations):
                self._add_files(answer)
            await self._imports()

    async def _numbers(self, messages: Sequence[str]) -> Iterable[tuple[str, int]]:
        """(message, number) of every extension that the server knows of `messages`."""
        numbers: dict[tuple[str, int], None] = {}
        async for question, answer in self._ask(_Request(all_extension_numbers_of_type=name) for name in messages):
            name = question.all_extension_numbers_of_type
            numbers.update(((name, number), None) for number in answer.all_extension_numbers_response.extension_number)
            if len(numbers) > MAX_EXTENSIONS:
                raise SchemaLimitError(f"more than {MAX_EXTENSIONS} extensions")
        return numbers

    async def _ask(self, questions: Iterable[_Request]) -> AsyncIterator[tuple[_Request, _Response]]:
        """Each request with its reply, `TOGETHER` at a time.

        :param questions: iterated lazily, so that the replies to earlier ones can make later ones unnecessary.
        :raises ServerStatusError: the stream ended before the last reply.
        """
        remainder = iter(questions)
        while batch := list(islice(remainder, TOGETHER)):
            for question in batch:
                await self._call.write(question.SerializeToString())
            for question in batch:
                message = await self._call.read()
                if message is None:
                    raise ServerStatusError(await self._call.status())
                yield question, _Response.FromString(message)

    def _add_files(self, answer: _Response) -> None:
        for raw in answer.file_descriptor_response.file_descriptor_proto:
            # Many servers send the same files with each service, hundreds of times.
            digest = hashlib.sha256(raw).digest()
            if digest in self._digests:
                continue
            self._digests.add(digest)
            self._bytes += len(raw)
            if self._bytes > MAX_BYTES:
                raise SchemaLimitError(f"more than {MAX_BYTES // 1024**2} MB")
            self._add(FileDescriptorProto.FromString(raw))

    def _add(self, file: FileDescriptorProto) -> None:
        if file.name in self._files:
            return
        self._files[file.name] = file
        self._dependencies.update(dict.fromkeys(file.dependency))
        if len(self._files) > MAX_FILES:
            raise SchemaLimitError(f"more than {MAX_FILES} files")


def _check(answer: _Response, subject: str) -> None:
    if answer.HasField("error_response"):
        raise ValueError(f"{subject}: {answer.error_response.error_message or 'no reason given'}")


def _extension(message: str, number: int) -> _Request:
    extension = ExtensionRequest(containing_type=message, extension_number=number)
    return _Request(file_containing_extension=extension)


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """Full name and descriptor of every message of the file, nested ones too. Not recursive, since the server controls
    the depth."""
    stack = [(file.package, message) for message in file.message_type]
    while stack:
        scope, message = stack.pop()
        name = f"{scope}.{message.name}".lstrip(".")
        yield name, message
        stack += [(name, nested) for nested in message.nested_type]


def _extendable(file: FileDescriptorProto) -> Iterator[str]:
    """Messages that can have extensions, except those of descriptor.proto: options are never sent in calls."""
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
