"""What pydantic refuses, in plain words: pydantic's own name types of Python, which mean nothing to those who write a
spec or a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError

from bridge.errors import Fault, KeyPath
from bridge.wording import counted, not_one_of, suggestion

_SHOWN = 60  #: characters of a value that a message repeats

#: What a value must be, by the type of error. Where several are possible, they are told in one sentence.
NOUNS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "model_type", "model_attributes_type", "dataclass_type", "dataclass_exact_type", "dict_type",
            "frozen_dict_type", "ordered_dict_type", "counter_type", "mapping_type",
        ),
        "a mapping of keys to values",
    ),
    **dict.fromkeys(
        (
            "list_type", "tuple_type", "set_type", "frozen_set_type", "deque_type", "iterable_type", "iteration_error",
            "sequence_str",
        ),
        "a list",
    ),
    **dict.fromkeys(("named_tuple_type", "arguments_type"), "a list or a mapping"),
    **dict.fromkeys(("string_type", "bytes_type"), "a text"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(
        ("float_type", "float_parsing", "decimal_type", "decimal_parsing", "fraction_type", "fraction_parsing"),
        "a number",
    ),
    **dict.fromkeys(("complex_type", "complex_str_parsing"), "a complex number"),
    "none_required": "left empty",
    "finite_number": "a finite number",
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a date, as 2026-11-30"),
    "date_from_datetime_inexact": "a date without a time",
    **dict.fromkeys(("time_type", "time_parsing"), "a time of day, as 17:30:00"),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_object_invalid", "datetime_from_date_parsing"),
        "a date and a time, as 2026-11-30T17:30:00",
    ),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), "a duration"),
    **dict.fromkeys(("url_type", "url_parsing", "url_syntax_violation"), "a URL"),
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "a UUID"),
    "path_type": "the path of a file or folder",
    **dict.fromkeys(
        ("pattern_type", "pattern_str_type", "pattern_bytes_type", "pattern_regex"),
        "a regular expression",
    ),
    "json_type": "JSON in a text",
}  # fmt: skip

#: Whole sentences, by the type of error; ``{…}`` are pydantic's own values.
SENTENCES: Mapping[str, str] = {
    **dict.fromkeys(("missing", "missing_argument", "missing_keyword_only_argument"), "it is missing"),
    "missing_positional_only_argument": "it is missing",
    **dict.fromkeys(("extra_forbidden", "unexpected_keyword_argument"), "unknown key"),
    "unexpected_positional_argument": "it is one value too many",
    "multiple_argument_values": "it is given twice",
    "no_such_attribute": "it has no {attribute}",
    "get_attribute_error": "it can't be read: {error}",
    **dict.fromkeys(("frozen_field", "frozen_instance"), "it can't be changed"),
    "invalid_key": "its keys must be texts",
    "json_invalid": "it is not JSON: {error}",
    "recursion_loop": "it contains itself",
    "recursion_depth_exceeded": "it is nested too deeply",
    "default_factory_not_called": "it depends on another value, which is wrong",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
    "multiple_of": "it must be a multiple of {multiple_of}",
    "int_parsing_size": "it is too large a number",
    "decimal_max_digits": "it has more than {max_digits} digits",
    "decimal_max_places": "it has more than {decimal_places} digits after the point",
    "decimal_whole_digits": "it has more than {whole_digits} digits before the point",
    "set_item_not_hashable": "a list or a mapping can't stand in it",
    "string_unicode": "it is no Unicode text",
    "string_not_ascii": "it must be ASCII text",
    "string_pattern_mismatch": "it must be of the form {pattern}",
    "bytes_invalid_encoding": "it must be {encoding}",
    **dict.fromkeys(("value_error", "assertion_error"), "{error}"),
    "date_past": "it must be a date in the past",
    "date_future": "it must be a date in the future",
    "datetime_past": "it must be a time in the past",
    "datetime_future": "it must be a time in the future",
    "timezone_naive": "it must have no time zone",
    "timezone_aware": "it must have a time zone",
    "timezone_offset": "its time zone must be {tz_expected} seconds from UTC, not {tz_actual}",
    "union_tag_not_found": "it needs the key {discriminator}",
    "url_scheme": "its scheme must be {expected_schemes}",
    "uuid_version": "it must be a UUID of version {expected_version}",
    **dict.fromkeys(("path_not_file", "path_not_socket"), "there is no such file"),
    "path_not_directory": "there is no such folder",
    "path_exists": "it exists already",
    "parent_does_not_exist": "the folder that it is to be in does not exist",
    **dict.fromkeys(
        (
            "needs_python_object", "is_instance_of", "is_subclass_of", "callable_type", "missing_sentinel_error",
            "ellipsis_error", "import_error", "predicate_failed", "not_operation_failed",
        ),
        "it can't be used here",
    ),
}  # fmt: skip

_LENGTHS = {
    "too_short": "min_length", "string_too_short": "min_length", "bytes_too_short": "min_length",
    "too_long": "max_length", "string_too_long": "max_length", "bytes_too_long": "max_length",
    "url_too_long": "max_length",
}  # fmt: skip
_UNITS = {"too_short": "item", "too_long": "item", "bytes_too_short": "byte", "bytes_too_long": "byte"}
_QUOTED = re.compile(r"'([^']*)'")


def reason_of(entry: Mapping[str, Any]) -> str:
    """The reason of one of pydantic's errors (`ValidationError.errors`) as a clause in plain words."""
    kind: str = entry["type"]
    context: Mapping[str, Any] = entry.get("ctx") or {}
    if kind in NOUNS:
        return _wrong_kind([NOUNS[kind]], entry.get("input"))
    if kind in _LENGTHS:
        return _length(kind, context[_LENGTHS[kind]])
    if kind in ("enum", "literal_error"):
        return _choice(entry.get("input"), context["expected"])
    if kind == "union_tag_invalid":
        return _choice(context["tag"], context["expected_tags"])
    if kind in SENTENCES and ("{" not in SENTENCES[kind] or context):
        text = SENTENCES[kind].format_map(context)
    else:  # of a later pydantic, or a plug-in's own
        text = entry["msg"]
        if re.match(r"(?:input|value)\b", text, re.IGNORECASE) or " should " in text:
            return "it can't be used here"
    return text[0].lower() + text[1:] if text[:1].isupper() and not text[1:2].isupper() else text


def _length(kind: str, length: int) -> str:
    if kind.endswith("short"):
        return "it must not be empty" if length == 1 else f"it must have {_size(kind, length)} or more"
    return f"it must have {_size(kind, length)} or fewer"


def _size(kind: str, length: int) -> str:
    return counted(length, _UNITS.get(kind, "character"))


def _choice(value: Any, expected: str) -> str:
    options = _QUOTED.findall(expected) or [expected]
    if not isinstance(value, str | int | float):
        return f"it must be one of {', '.join(options)}, not {kind_of(value)}"
    return not_one_of(value if len(str(value)) <= _SHOWN else f"{str(value)[:_SHOWN]}…", options)


def kind_of(value: Any) -> str:
    """A value of JSON or YAML in a few words: its kind, or itself if it is a number, true or false."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value) if abs(value) < 10**15 else "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple | set | frozenset) else "a value of another kind"


def _wrong_kind(nouns: Iterable[str], value: Any) -> str:
    nouns = list(dict.fromkeys(nouns))
    found = kind_of(value)
    if isinstance(value, str) and len(value) <= _SHOWN and "a text" not in nouns:
        found = repr(value)
    text = f"it must be {' or '.join(nouns)}"
    if found in nouns:
        return text
    text += f", not {found}"
    if isinstance(value, bool | int | float) and nouns[0] == "a text":
        text += "; put it in quotes"
    elif isinstance(value, str) and "a list" in nouns and re.fullmatch(r"[\w./:*-]{1,40}", value):
        text += f"; write [{value}]"
    return text


# --- all of one value --------------------------------------------------------------------------------------------


class _Error(NamedTuple):
    path: KeyPath
    entry: Mapping[str, Any]


def faults_of(error: ValidationError, model: type[BaseModel], value: Any, under: KeyPath = ()) -> list[Fault]:
    """What pydantic refuses in `value`: the path of each key and the reason, with the nearest key or value that is
    known for one that is unknown.

    :param under: the path of `value` in its document.
    """
    errors = [_Error(_path(entry, value), entry) for entry in error.errors(include_url=False)]
    return [Fault(reason, (*under, *path)) for path, reason in _merged(errors, model, value)]


def _path(entry: Mapping[str, Any], value: Any) -> KeyPath:
    """The keys and places that lead to what is wrong. The other steps of pydantic's location, such as a union's tag,
    are not in the document."""
    path: list[str | int] = []
    node = value
    for step in entry["loc"]:
        is_key = (isinstance(node, dict) and step in node) or (isinstance(node, list) and isinstance(step, int))
        if is_key or (entry["type"] in ("missing", "extra_forbidden") and step == entry["loc"][-1]):
            path.append(step)
            node = _below(node, step) if is_key else None
    return tuple(path)


def _merged(errors: list[_Error], model: type[BaseModel], value: Any) -> Iterator[tuple[KeyPath, str]]:
    """One fault for all members of a union: a value of another kind than each, or else what is wrong within the member
    that has its kind."""
    kinds: dict[KeyPath, list[_Error]] = {}
    for one in errors:
        if one.entry["type"] in NOUNS:
            kinds.setdefault(one.path, []).append(one)
    inner = {one.path[:length] for one in errors for length in range(len(one.path))}
    for path, entry in errors:
        kind = entry["type"]
        if kind in NOUNS:
            if kinds[path][0].entry is entry and path not in inner:
                yield path, _wrong_kind([NOUNS[one.entry["type"]] for one in kinds[path]], entry.get("input"))
        elif kind in ("too_short", "too_long") and path in inner:
            continue  # pydantic counts the items that are right
        elif kind == "extra_forbidden":
            yield path, f"unknown key{suggestion(path[-1], _keys(model, path, value))}"
        elif path == ("auth",) and kind == "missing":
            yield path, "it is missing; a route that is open to all says auth: {type: none}"
        else:
            yield path, reason_of(entry)


def _keys(model: type[BaseModel], path: KeyPath, value: Any) -> Iterator[str]:
    """The keys that the mapping may have in which the last key of `path` stands."""
    models: list[type[BaseModel]] = [model]
    node: Any = value
    for step in path[:-1]:
        node = _below(node, step)
        fields = [one.model_fields[str(step)].annotation for one in models if step in one.model_fields]
        models = [each for field in fields for each in _models(field)] if fields else models
    fitting = [one for one in models if _fits(one, node)] or models
    return (info.alias or name for one in fitting for name, info in one.model_fields.items())


def _below(node: Any, step: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(step)
    return node[step] if isinstance(node, list) and isinstance(step, int) else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that values of a type may hold, directly or as items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _fits(model: type[BaseModel], node: Any) -> bool:
    """Whether `node` may be of that member of a union, by its tags (``type: JWT``)."""
    if not isinstance(node, dict):
        return True
    types = {name: info.annotation for name, info in model.model_fields.items()}
    tags = {name: get_args(each) for name, each in types.items() if get_origin(each) is Literal}
    return all(name not in node or node[name] in values for name, values in tags.items())
