"""Path and query parameters: from names to fields of the request, and from text to values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from bridge.api import InvalidBody, InvalidParameter, Memo, parse_json
from bridge_grpc.codec import wellknown
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.element import DOUBT
from bridge_grpc.codec.scalars import MESSAGES, FieldValueError, UnknownEnumName, text_reader

MAX_DEPTH = 16
MAX_WITHIN = 4  #: items of repeated messages in one another, in a query
_ITEM = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)\[(0|[1-9][0-9]{0,2})\]\.(.+)", re.DOTALL)
#: Size of the cache of parameter names, since clients choose the names.
_MAX_KEPT = 1024

ReadText = Callable[[str], Any]

#: Well-known types that a query gives as one text, or field by field: "In the case of a message type, each field of the
#: message is mapped to a separate parameter" (``google/api/http.proto``).
_BY_FIELD = frozenset({*wellknown.READERS, *wellknown.WRAPPERS})


@dataclass(frozen=True, slots=True)
class Target:
    """One field that a parameter may set.

    :ivar path: the proto's names from the request message down to the field.
    :ivar text: the reader of one value's text; None for messages and lists of messages, which have no text.
    :ivar json_text: the text is JSON (Struct, Value, ListValue).
    :ivar rivals: for each step of the path, the other members of its oneof.
    :ivar whole: the path of the well-known message that contains the field; None if there is none.
    """

    path: tuple[str, ...]
    field: FieldDescriptor
    text: ReadText | None
    json_text: bool
    rivals: tuple[frozenset[str], ...]
    whole: tuple[str, ...] | None = None

    def read(self, text: str) -> Any:
        """:raises FieldValueError: the field doesn't take the text."""
        assert self.text is not None
        return self.text(text)

    def put(self, tree: dict[str, Any], value: Any) -> None:
        """Set the field in the arguments of the request's constructor.

        :raises InvalidParameter: another member of a oneof on its path is set.
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
    """The field at `path`, each step by the proto's name or the JSON name; None if there is none.

    Steps lead into ordinary messages only, not into lists or maps.

    :param within: well-known types that steps may lead into, too.
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


def _map_text(entry: Descriptor, decoders: Decoders) -> ReadText | None:
    """The reader of a map's value; JSON texts are no values of maps."""
    return _text_of(entry.fields_by_name["value"], None, short=decoders.short)


def _text_of(field: FieldDescriptor, decoders: Decoders | None, *, short: bool = False) -> ReadText | None:
    if field.type not in MESSAGES:
        return text_reader(field, short=decoders.short if decoders is not None else short)
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

    :param path_fields: the fields that the path sets; not query parameters.
    :param body: the field that the body sets; not a query parameter either.
    :param source_fields: the fields that the spec sets.
    :param items: whether items of repeated messages are given as ``parts[0].name=x``.
    :param within: how many such items the message is in.
    """

    def __init__(
        self,
        message: Descriptor,
        path_fields: set[tuple[str, ...]],
        body: FieldDescriptor | None,
        decoders: Decoders,
        source_fields: Collection[tuple[str, ...]] = (),
        *,
        items: bool = False,
        within: int = 0,
    ) -> None:
        self._message = message
        self._path_fields = path_fields
        self._source_fields = source_fields
        self._body = body.name if body else None
        self._decoders = decoders
        self._targets = Memo[str, Target](_MAX_KEPT)
        self._items = items and within < MAX_WITHIN
        self._within = within

    def read(
        self, pairs: Sequence[tuple[str, str]], faults: list[tuple[str, str]], *, ignore: bool
    ) -> Iterator[tuple[Target, Any]]:
        """The fields that the query sets, each list as one value. Faults are added to `faults`."""
        if self._items:
            pairs, items = _apart(pairs)
            if items:
                yield from self._read_items(items, faults, ignore=ignore)
        lists: dict[tuple[str, ...], tuple[Target, Any]] = {}
        paths: set[tuple[str, ...]] = set()
        messages: set[tuple[str, ...]] = set()
        for name, text in pairs:
            target = self._targets.get(name) or self._find(name)
            if isinstance(target, str):
                if not ignore:
                    faults.append((name, target))
                continue
            try:
                if name.endswith("]") and _is_map(target.field):
                    key, value = self._entry(target, name, text)
                    lists.setdefault(target.path, (target, {}))[1][key] = value
                    continue
                value = target.read(text)
            except UnknownEnumName as error:
                if not ignore:
                    faults.append((name, str(error)))
                continue
            except FieldValueError as error:
                faults.append((name, str(error)))
                continue
            if target.whole is not None:
                messages.add(target.whole)
            if target.whole in paths or target.path in messages:
                faults.append((name, "it is given twice, as a whole and by its fields"))
            elif target.field.is_repeated:
                lists.setdefault(target.path, (target, []))[1].append(value)
            elif target.path in paths:
                faults.append((name, "it is given twice, and it takes one value"))
            else:
                paths.add(target.path)
                yield target, value
        yield from lists.values()

    def target(self, name: str) -> Target | str:
        """The field that `name` sets, or the reason why it sets none."""
        bare = name
        target = self._resolve(name)
        if target is None and name.endswith("]"):  # unless a JSON name holds the brackets
            bare = name.partition("[")[0]
            target = self._resolve(bare)
        if target is None:
            return "there is no such parameter"
        if target.path in self._path_fields or target.whole in self._path_fields:
            return "it is part of the path"
        if target.path in self._source_fields or target.whole in self._source_fields:
            return "it is filled by the gateway"
        if target.path[0] == self._body:
            return "it belongs into the body"
        entry = target.field.message_type
        if entry is not None and _is_map(target.field):
            return target if bare != name and _map_text(entry, self._decoders) else "write name[key]=value"
        if bare != name or target.text is None:
            return "it takes a message; name its fields, as in name.field=value"
        return target

    def items_of(self, name: str) -> bool:
        """Whether items of the list `name` can be given."""
        target = self._resolve(name) if self._items else None
        is_list = target is not None and target.field.is_repeated and target.field.type in MESSAGES
        return is_list and target is not None and not _is_map(target.field) and not self._is_taken(target)

    def _is_taken(self, target: Target) -> bool:
        return target.path in self._path_fields | set(self._source_fields) or target.path[0] == self._body

    def _resolve(self, name: str) -> Target | None:
        """The field of `name`: a path, or one field whose JSON name holds dots."""
        return self._named(name, _BY_FIELD)

    def _named(self, name: str, within: Collection[str] = ()) -> Target | None:
        target = resolve(self._message, name.split("."), self._decoders, within)
        return target or (resolve(self._message, (name,), self._decoders, within) if "." in name else None)

    def _find(self, name: str) -> Target | str:
        target = self.target(name)
        # Clients choose map keys and wrong names, so these are not cached.
        if isinstance(target, Target) and not _is_map(target.field):
            self._targets[name] = target
        return target

    def _read_items(
        self, items: Mapping[str, dict[int, list[tuple[str, str]]]], faults: list[tuple[str, str]], *, ignore: bool
    ) -> Iterator[tuple[Target, Any]]:
        """The repeated messages whose items `items` holds: by the list's name, then by index."""
        names: dict[tuple[str, ...], str] = {}
        for name, by_index in items.items():
            target = self._named(name)
            message = target.field.message_type if target is not None else None
            first = f"{name}[{min(by_index)}]"
            if target is None or message is None or not target.field.is_repeated or _is_map(target.field):
                if not ignore:
                    faults.append((first, "there is no such list of messages"))
                continue
            if self._is_taken(target):
                faults.append((first, "it is not given in the query"))
                continue
            other = names.setdefault(target.path, name)
            if other != name:
                faults.append((first, f"it is the same list as {other}; use one of its names"))
                continue
            if sorted(by_index) != list(range(len(by_index))):
                faults.append((first, "items are numbered from 0, without a gap"))
                continue
            parameters = Parameters(message, set(), None, self._decoders, items=True, within=self._within + 1)
            values = []
            for index in range(len(by_index)):
                own: list[tuple[str, str]] = []
                values.append(tree := dict[str, Any]())
                for inner, value in parameters.read(by_index[index], own, ignore=ignore):
                    inner.put(tree, value)
                faults += [(f"{name}[{index}].{inner_name}", reason) for inner_name, reason in own]
            yield target, values

    def _entry(self, target: Target, name: str, text: str) -> tuple[Any, Any]:
        """``labels[key]=value``."""
        entry = target.field.message_type
        assert entry is not None
        read = _map_text(entry, self._decoders)
        assert read is not None
        return text_reader(entry.fields_by_name["key"])(name[name.index("[") + 1 : -1]), read(text)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


#: Parameters of items: by the list's name and the item's index, with their names within the item.
Items = dict[str, dict[int, list[tuple[str, str]]]]


def _apart(pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], Items]:
    """Parameters of the message itself, and those of items (``parts[0].name``)."""
    own: list[tuple[str, str]] = []
    items: Items = {}
    for name, text in pairs:
        match = _ITEM.fullmatch(name)
        if match is None:
            own.append((name, text))
        else:
            items.setdefault(match[1], {}).setdefault(int(match[2]), []).append((match[3], text))
    return own, items
