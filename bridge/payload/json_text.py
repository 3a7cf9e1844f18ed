"""What can be said of a JSON text (RFC 8259) without reading it, and large ones read slice by slice.

A reader in C keeps the interpreter's lock until it is done. Of a text of several megabytes that takes hundreds of
milliseconds, in which no other thread runs. So nothing here looks at more than `SLICE` bytes at a time.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from bridge.errors import InvalidBody, TooLarge

MAX_JSON_DEPTH = 512  #: levels; XML of 256 levels, libxml2's limit, becomes so many where each element is in an array
#: Bytes that the values of a JSON text may take once they are read, and how many times its own size where that is more.
#: The text itself, and what is made of the values, take memory beside them.
MAX_JSON_MEMORY, MAX_JSON_GROWTH = 48 * 1024 * 1024, 6
UNCOUNTED = 64 * 1024  #: bytes of a text whose values are not counted
SLICE = 128 * 1024  #: bytes that one call into C works on
SLICED = 2 * SLICE  #: bytes of a text that is read in one go

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = [0] * 256
for _open, _close in (b"[]", b"{}"):
    _STEP[_open], _STEP[_close] = 1, -1
#: What is taken, in bytes, as measured: by an object or array, a value, a member's name, a string at least, and beyond
#: a value by a number with a fraction where every digit is kept.
_HOLDER, _VALUE, _NAME, _TEXT, _NUMBER = 128, 64, 64, 32, 128


_memory_given = MAX_JSON_MEMORY


def give_memory(size: int) -> None:
    """Let the values of a JSON text take `size` bytes, in this process (`bridge.config.settings.Settings.max_json`)."""
    global _memory_given  # noqa: PLW0603  # read where nobody has the settings: in every codec
    _memory_given = size


# --- judging ----------------------------------------------------------------------------------------------------------


def _plain_quotes(body: bytes) -> bytes:
    """`body`, of the same length, without escapes: each quote is then the beginning of a string or its end."""
    return body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body


def unquoted(body: bytes) -> Iterator[bytes]:
    """What stands outside of the strings of `body`, slice by slice."""
    body = _plain_quotes(body)
    within = 0
    for at in range(0, len(body), SLICE):
        parts = body[at : at + SLICE].split(b'"')
        yield b"".join(parts[within::2])
        within ^= (len(parts) - 1) & 1


def _memory(text: bytes, *, exact: bool) -> int:
    """Bytes that the values of a JSON text without strings take, roughly."""
    size = (
        (_count(text, b"[") + _count(text, b"{")) * _HOLDER + _count(text, b",") * _VALUE + _count(text, b":") * _NAME
    )
    if exact:
        size += (_count(text, b".") + _count(text, b"e") + _count(text, b"E")) * _NUMBER
    return size


def _count(text: bytes, part: bytes) -> int:
    """``text.count(part)`` in steps, between which other threads can run. `part` can't overlap itself."""
    size = len(text)
    if size <= SLICE:
        return text.count(part)
    more = len(part) - 1
    return sum([text.count(part, at, at + SLICE + more) for at in range(0, size, SLICE)])


def _judge(body: bytes, max_memory: int, depth: int, *, exact: bool) -> None:
    """:param max_memory: bytes that the values may take. :param depth: levels that they may be nested in."""
    size = level = 0
    for text in unquoted(body):
        levels = list(accumulate(map(_STEP.__getitem__, text.translate(None, _NOT_BRACKETS)), initial=level))
        if max(levels) > depth:
            raise InvalidBody([("", f"it is nested deeper than {depth} levels")])
        level = levels[-1]
        size += _memory(text, exact=exact)
        if size > max_memory and len(body) > UNCOUNTED:
            raise _too_many()


def _too_many() -> TooLarge:
    return TooLarge("The body holds more values than the gateway reads at one time. Send it in parts.")


def check_json(body: bytes, *, exact: bool = False, depth: int = MAX_JSON_DEPTH) -> None:
    """Judge a JSON text without reading it: one of two bytes a value becomes forty times as large, and takes long.

    :param exact: its numbers will be read with every digit.
    :raises bridge.api.TooLarge: its values would take more memory than is given for them (`give_memory`).
    :raises bridge.api.InvalidBody: they are nested deeper than `depth` levels.
    """
    size = len(body)
    max_memory = max(_memory_given, MAX_JSON_GROWTH * size)
    if size > UNCOUNTED:
        strings = (_count(body, b'"') - _count(body, b'\\"')) // 2
        if strings * _TEXT > max_memory:
            raise _too_many()
    # Counting is enough for nearly every body, though it counts what stands in strings, too; only a rich one is walked.
    if _count(body, b"[") + _count(body, b"{") > depth or (
        size > UNCOUNTED and _memory(body, exact=exact) > max_memory
    ):
        _judge(body, max_memory, depth, exact=exact)


# --- reading in slices ------------------------------------------------------------------------------------------------

#: Names of members that stand for what was read before, and for where the next piece goes on. Nobody can guess them.
_BEFORE, _CUT = secrets.token_hex(16), secrets.token_hex(16)
_SPACE = b" \t\r\n"
_PLACE = re.compile(r"\(byte (\d+)\)")
#: An open array or object at the beginning of a piece, with the member within which the piece begins.
_OPENED = {ord("["): b"[", ord("{"): b'{"%s":' % _BEFORE.encode()}
_CLOSED = {ord("["): b"]", ord("{"): b"}"}
_MARKED = {ord("["): b',"%s"]' % _CUT.encode(), ord("{"): b',"%s":0}' % _CUT.encode()}
_LAST = {ord("["): b"[0,", ord("{"): b'{"":0,'}


class _Cut(NamedTuple):
    """A comma between two members or items, or the end.

    :ivar stack: the brackets that are open there.
    """

    at: int
    stack: bytes


def _cuts(body: bytes) -> Iterator[_Cut]:
    """Where to cut `body`; the end last. What stands behind something that is no JSON is not cut any more."""
    text = _plain_quotes(body)
    stack, within = b"", 0
    for at in range(0, len(text), SLICE):
        parts = text[at : at + SLICE].split(b'"')
        last = len(parts) - 1
        # The last comma of this slice that stands outside of strings.
        number = last - ((last ^ within) & 1)
        while number >= 0 and b"," not in parts[number]:
            number -= 2
        if number >= 0:
            before, _, after = parts[number].rpartition(b",")
            behind = len(after) + sum(map(len, parts[number + 1 :])) + last - number
            begun_stack = _nested(stack, b"".join(parts[within:number:2]) + before)
            if not begun_stack:
                break
            yield _Cut(min(at + SLICE, len(text)) - behind - 1, begun_stack)
            stack = _nested(begun_stack, after + b"".join(parts[number + 2 :: 2]))
        else:
            stack = _nested(stack, b"".join(parts[within::2]))
        if not stack:
            break
        within = (within + last) & 1
    yield _Cut(len(body), b"")


def _nested(stack: bytes, text: bytes) -> bytes:
    """The brackets that are open after `text`, which holds no strings; empty for none, or where they don't match."""
    brackets = stack + text.translate(None, _NOT_BRACKETS)
    length = -1
    while length != len(brackets):
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return b"" if b"]" in brackets or b"}" in brackets else brackets


def read_in_slices(body: bytes, decode: Callable[[bytes], Any]) -> Any:
    """``decode(body)``, which reads a JSON text into lists and dicts, by calls of it for pieces of about `SLICE` bytes.

    Each piece is made a text of its own: the brackets that are open where it begins are put before it, and those open
    where it ends are closed behind it. What was read of it is then put into what is there already.

    :raises Exception: what `decode` raises; the place that it tells is put right.
    """
    space = len(body) - len(body.lstrip(_SPACE))
    body = body[space:]
    open_: list[Any] = []  # the containers that are open, from the outermost in
    root: Any = None
    begin, stack = 0, b""
    for cut in _cuts(body):
        text = body[begin : cut.at]
        head = b"".join([_OPENED[each] for each in stack[:-1]]) + stack[-1:]
        tail = (_MARKED[cut.stack[-1]] if cut.stack else b"") + b"".join(
            [_CLOSED[each] for each in reversed(cut.stack[:-1])]
        )
        try:
            if stack and text.lstrip(_SPACE).startswith(_CLOSED[stack[-1]]):
                head = head[:-1] + _LAST[stack[-1]]  # a bracket before it would hide the comma that nothing follows
            value = decode(head + text + tail)
        except Exception as error:
            raise _moved(error, space + begin - len(head)) from None
        path = _path(value, len(cut.stack)) if cut.stack else []
        if begin:
            open_ = _merged(open_, value, path)
        else:
            root, open_ = value, path
        begin, stack = cut.at + 1, cut.stack
    return root


def _moved(error: Exception, by: int) -> Exception:
    """`error` with the place where it is in the whole text."""
    message = str(error)
    match = _PLACE.search(message)
    return type(error)(_PLACE.sub(f"(byte {int(match[1]) + by})", message)) if match else error


def _merged(open_: list[Any], value: Any, path: list[Any]) -> list[Any]:
    """Put what was read of a piece into the containers that were open before it.

    :param path: the containers of `value` that the next piece goes on in.
    :return: those, as they are in the whole.
    """
    containers, last = list(path), len(open_) - 1
    inner: Any = value
    for level, container in enumerate(open_):
        if level < len(path) and path[level] is inner:
            containers[level] = container
        if type(container) is list:
            container.extend(inner if level == last else inner[1:])
            inner = inner[0] if level < last else None
        else:
            following = inner.pop(_BEFORE) if level < last else None
            container.update(inner)
            inner = following
    return containers


def _path(value: Any, levels: int) -> list[Any]:
    """The containers from `value` down to the one that the mark stands in, which is taken out; empty where it isn't."""
    kind = type(value)
    if kind is not list and kind is not dict:
        return []
    if levels == 1:
        if kind is list:
            is_marked = bool(value) and value[-1] == _CUT and value.pop() is not None
        else:
            is_marked = value.pop(_CUT, None) is not None
        return [value] if is_marked else []
    # Nearly always it is in the last one; but a name that stood in its object before has kept its place there.
    for child in reversed(value if kind is list else value.values()):
        path = _path(child, levels - 1)
        if path:
            return [value, *path]
    return []
