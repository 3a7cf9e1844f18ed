"""Values that pass between two processes of one program, in a file in memory (memfd_create(2)).

A value is pickled (protocol 5), with large `bytes` beside the pickle: both are written and read by system calls, which
hold no interpreter lock. What both processes have already, since one is a copy of the other, is sent as a number
(`Inherited`).
"""

from __future__ import annotations

import io
import os
import pickle
import traceback
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

from bridge.errors import RequestError

_BESIDE = 64 * 1024  #: bytes of a `bytes` object that is not copied into the pickle
_LENGTH = 8  #: bytes of the pickle's length, which is written last …
_HEAD = 16  #: … and of all that precedes the pickle; the first byte after the length says that the work has begun

_inherited: WeakValueDictionary[int, Inherited] = WeakValueDictionary()


class Outdated(Exception):
    """This process is a copy of another one as it was before something that is needed here."""


class Inherited:
    """An object that is sent as a number, to copies of this process that were made after it.

    Made in the thread of the event loop.

    :ivar number: grows from object to object.
    :cvar newest: the last one that was given.
    """

    __slots__ = ("__weakref__", "number")
    newest: ClassVar[int] = 0

    def __init__(self) -> None:
        self.number = Inherited.newest = Inherited.newest + 1
        _inherited[self.number] = self

    def renew(self) -> None:
        """It has changed, so that older copies of this process are of no use for it."""
        del _inherited[self.number]
        Inherited.__init__(self)


class SharedFile:
    """One value at a time, in a file without a name, which is open within a ``with`` block.

    :ivar descriptor: of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def make(cls) -> SharedFile:
        """:raises OSError: there are too many open files."""
        return cls(os.memfd_create("message"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, value: Any) -> int:
        """The greatest number of all that is sent as one; 0: there is none.

        :raises Exception: `value` can't be pickled.
        """
        text = io.BytesIO()
        pickler = _Pickler(text)
        pickler.dump(value)
        at = _HEAD
        for part in (text.getvalue(), *pickler.beside):
            at = self._put(memoryview(part), at)
        self._put(memoryview(text.tell().to_bytes(_LENGTH, "little")), 0)  # last: all is there
        return pickler.newest

    def read(self) -> Any:
        """The value that was written.

        :raises Outdated: this process does not have all that was sent as a number.
        """
        size = int.from_bytes(os.pread(self.descriptor, _LENGTH, 0), "little")
        text = os.pread(self.descriptor, size, _HEAD)
        return _Unpickler(io.BytesIO(text), self.descriptor, _HEAD + size).load()

    def begin(self) -> None:
        """The value was read and is not needed any more: another one will take its place."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"\1", _LENGTH)

    @property
    def begun(self) -> bool:
        return os.pread(self.descriptor, 1, _LENGTH) == b"\1"

    def _put(self, data: memoryview, at: int) -> int:
        while data:
            written = os.pwrite(self.descriptor, data, at)
            data, at = data[written:], at + written
        return at


class _Pickler(pickle.Pickler):
    """:ivar beside: large `bytes`, in the order in which they are wanted. :ivar newest: the greatest number."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        self.beside: list[bytes] = []
        self.newest = 0

    def persistent_id(self, value: Any) -> tuple[str, int] | None:
        if type(value) is bytes and len(value) > _BESIDE:
            self.beside.append(value)
            return "bytes", len(value)
        if isinstance(value, Inherited):
            self.newest = max(self.newest, value.number)
            return "number", value.number
        return None

    def reducer_override(self, value: Any) -> Any:
        """Errors come back as they are, though most are not made by what is in `BaseException.args`."""
        if not isinstance(value, BaseException):
            return NotImplemented
        state = value.__dict__ if isinstance(value, RequestError) else {**value.__dict__, **_traced(value)}
        return _error, (type(value), value.args), state, None, None, _restore


class _Unpickler(pickle.Unpickler):
    def __init__(self, text: io.BytesIO, descriptor: int, at: int) -> None:
        super().__init__(text)
        self._descriptor, self._at = descriptor, at

    def persistent_load(self, reference: Any) -> Any:
        kind, number = reference
        if kind == "bytes":
            data = os.pread(self._descriptor, number, self._at)
            self._at += number
            return data
        value = _inherited.get(number)
        if value is None:
            raise Outdated(f"there is no object {number}")
        return value


def _traced(error: BaseException) -> dict[str, Any]:
    """Where `error` came from, for the log: a traceback does not cross processes."""
    lines = traceback.format_exception(error)
    return {"__notes__": [*getattr(error, "__notes__", ()), "In the process of a large message:\n" + "".join(lines)]}


def _error(kind: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    error = kind.__new__(kind)
    error.args = arguments
    return error


def _restore(error: BaseException, state: dict[str, Any]) -> None:
    error.__dict__.update(state)
    error.__suppress_context__ = True
