"""Path and query parameters: a name to a field of the request, a text to its value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge.api import InvalidBody, InvalidParameter, Memo, parse_json
from bridge_grpc.codec import wellknown
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT
from bridge_grpc.codec.scalars import MESSAGES, FieldValueError, UnknownEnumName, text_reader

MAX_DEPTH = 16
#: Names that clients made up are not kept beyond this many, so that nobody can fill the memory with them.
_MAX_KEPT = 1024

ReadText = Callable[[str], Any]

#: Well-known types that a query gives as one text, or field by field: "In the case of a message type, each field of the
#: message is mapped to a separate parameter" (``google/api/http.proto``).
_BY_FIELD = frozenset({*wellknown.READERS, *wellknown.WRAPPERS})


@dataclass(frozen=True, slots=True)
class Target:
    """One field that a parameter may fill.

    :ivar path: the names from the request message down to the field, as the proto has them.
    :ivar text: the reader of one value's text; None for what a text can't fill (lists of messages, messages).
    :ivar json_text: the text is JSON (Struct, Value, ListValue).
    :ivar rivals: for each step of the path the other members of its oneof.
    :ivar whole: the path of the well-known message that the field is one of; None elsewhere.
    """

    path: tuple[str, ...]
    field: FieldDescriptor
    text: ReadText | None
    json_text: bool
    rivals: tuple[frozenset[str], ...]
    whole: tuple[str, ...] | None = None

    def read(self, text: str) -> Any:
        """:raises FieldValueError: the text is not what the field takes."""
        assert self.text is not None
        return self.text(text)

    def put(self, tree: dict[str, Any], value: Any) -> None:
        """Set the field in the arguments of the request's constructor.

        :raises InvalidParameter: another member of its oneof is set, or of one that the way to it leads through.
        """
        last = len(self.path) - 1
        for at, (step, rivals) in enumerate(zip(self.path, self.rivals, strict=True)):
            if rivals:
                for rival in rivals & tree.keys():
                    if tree[rival] is not None:
                        raise InvalidParameter([(".".join(self.path), f"it can't be given together with {rival}")])
            if at == last:
                tree[step] = value
                return
            inner = tree.get(step)
            if inner is None:
                inner = tree[step] = {}
            tree = inner


def resolve(
    message: Descriptor, path: Sequence[str], decoders: Decoders | None = None, within: Collection[str] = ()
) -> Target | None:
    """The field at `path`, each step by the proto's name or the JSON name; None when there is none.

    Only ordinary messages are walked into, and no lists or maps.

    :param within: the well-known types that are walked into, too.
    """
    if len(path) > MAX_DEPTH:
        return None
    steps: list[str] = []
    rivals: list[frozenset[str]] = []
    inside: Descriptor | None = message
    field: FieldDescriptor | None = None
    whole: tuple[str, ...] | None = None
    for name in path:
        if inside is None:
            return None
        if inside.full_name in wellknown.SPECIAL:
            if inside.full_name not in within:
                return None
            whole = tuple(steps)
        field = inside.fields_by_name.get(name) or next((f for f in inside.fields if f.json_name == name), None)
        if field is None:
            return None
        steps.append(field.name)
        oneof = field.containing_oneof
        rivals.append(frozenset(member.name for member in oneof.fields) - {field.name} if oneof else frozenset())
        inside = field.message_type if not field.is_repeated else None
    assert field is not None
    json_text = field.message_type is not None and field.message_type.full_name in wellknown.VALUES
    return Target(tuple(steps), field, _text_of(field, decoders), json_text, tuple(rivals), whole)


def _text_of(field: FieldDescriptor, decoders: Decoders | None) -> ReadText | None:
    if field.type not in MESSAGES:
        return text_reader(field)
    assert field.message_type is not None
    name = field.message_type.full_name
    if name in wellknown.WRAPPERS:
        inner = text_reader(field.message_type.fields_by_name["value"])
        return lambda text: {"value": inner(text)}
    if name == "google.protobuf.FieldMask":
        return wellknown.read_field_mask_text
    if name in wellknown.VALUES and decoders is not None:
        reader = decoders.reader(field.message_type)

        def read_json(text: str) -> Any:
            try:
                return reader.build(reader.decode(parse_json(text.encode())))
            except InvalidBody as error:
                raise FieldValueError(f"it must be JSON, and {error.errors[0][1]}") from None
            except DOUBT as error:
                raise FieldValueError(str(error) or "it is not what this field takes") from None

        return read_json
    return wellknown.READERS.get(name)


class Parameters:
    """The query parameters of one rule.

    :param bound: the fields that the path fills, which are no query parameters.
    :param body: the field that the body fills, which isn't either.
    :param filled: the fields that the gateway fills itself.
    """

    def __init__(
        self,
        message: Descriptor,
        bound: set[tuple[str, ...]],
        body: FieldDescriptor | None,
        decoders: Decoders,
        filled: Collection[tuple[str, ...]] = (),
    ) -> None:
        self._message = message
        self._bound = bound
        self._filled = filled
        self._body = body.name if body else None
        self._decoders = decoders
        self._known = Memo[str, Target](_MAX_KEPT)

    def read(
        self, pairs: Sequence[tuple[str, str]], wrong: list[tuple[str, str]], *, ignore: bool
    ) -> Iterator[tuple[Target, Any]]:
        """The fields that the query fills; a list is complete when it comes. Adds to `wrong` what is amiss."""
        lists: dict[tuple[str, ...], tuple[Target, Any]] = {}
        seen: set[tuple[str, ...]] = set()
        wholes: set[tuple[str, ...]] = set()
        for name, text in pairs:
            target = self._known.get(name) or self._find(name)
            if isinstance(target, str):
                if not ignore:
                    wrong.append((name, target))
                continue
            try:
                if name.endswith("]"):
                    key, value = self._entry(target, name, text)
                    lists.setdefault(target.path, (target, {}))[1][key] = value
                    continue
                value = target.read(text)
            except UnknownEnumName as error:
                if not ignore:
                    wrong.append((name, str(error)))
                continue
            except FieldValueError as error:
                wrong.append((name, str(error)))
                continue
            if target.whole is not None:
                wholes.add(target.whole)
            if target.whole in seen or target.path in wholes:
                wrong.append((name, "it is given twice, as a whole and by its fields"))
            elif target.field.is_repeated:
                lists.setdefault(target.path, (target, []))[1].append(value)
            elif target.path in seen:
                wrong.append((name, "it is given twice, and it takes one value"))
            else:
                seen.add(target.path)
                yield target, value
        yield from lists.values()

    def target(self, name: str) -> Target | str:
        """The field that `name` fills, or the reason why it fills none."""
        bare = name.partition("[")[0] if name.endswith("]") else name
        target = resolve(self._message, bare.split("."), self._decoders, _BY_FIELD)
        if target is None:
            return "there is no such parameter"
        if target.path in self._bound or target.whole in self._bound:
            return "it is part of the path"
        if target.path in self._filled or target.whole in self._filled:
            return "it is filled by the gateway"
        if target.path[0] == self._body:
            return "it belongs into the body"
        entry = target.field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            return target if bare != name and _text_of(entry.fields_by_name["value"], None) else "write name[key]=value"
        if bare != name or target.text is None:
            return "it takes a message; name its fields, as in name.field=value"
        return target

    def _find(self, name: str) -> Target | str:
        found = self.target(name)
        # A map's keys are the client's to choose, and so are wrong names: neither is kept.
        if isinstance(found, Target) and not name.endswith("]"):
            self._known[name] = found
        return found

    @staticmethod
    def _entry(target: Target, name: str, text: str) -> tuple[Any, Any]:
        """``labels[key]=value``."""
        entry = target.field.message_type
        assert entry is not None
        read = _text_of(entry.fields_by_name["value"], None)
        assert read is not None
        return text_reader(entry.fields_by_name["key"])(name[name.index("[") + 1 : -1]), read(text)
