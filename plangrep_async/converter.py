"""All rules of the wire format, by cattrs: JSON objects (as dicts) ↔ models.

Complete by itself, and what defines right (the API's documentation, List Jobs): ISO 8601 timestamps
in both directions, nullable fields, the open `JobStatus`, camelCase names, types checked and never
coerced, unknown fields ignored.
"""

import math
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin

import attrs
import msgspec
from cattrs import Converter, IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from plangrep_async._mirror import AwareDatetime
from plangrep_async.models import Job, JobError, JobStatus, Project

Hook = Callable[[Any, Any], Any]

MAX_FAULTS = 10  # that are named of one list


def make_converter() -> Converter:
    """Make a cattrs converter between the API's JSON objects, as dicts, and the models.

    `structure` raises `cattrs.ClassValidationError` on bad input. Hooks registered on the result,
    say for `datetime`, are used everywhere, by a client that is given this converter too.
    """
    converter = Converter()
    for leaf, hook in _LEAVES.items():
        converter.register_structure_hook(leaf, hook)
    converter.register_structure_hook_factory(_is_nullable, _nullable)
    converter.register_structure_hook_factory(_is_tuple, _tuple)
    converter.register_structure_hook_factory(_is_model, _model)

    converter.register_unstructure_hook(datetime, _to_iso)
    converter.register_unstructure_hook(JobStatus, str)
    converter.register_unstructure_hook(JobError, _error_to_json)
    converter.register_unstructure_hook_factory(_is_tuple, _tuple_to_list)
    converter.register_unstructure_hook_factory(_is_model, _model_to_dict)
    return converter


def follows_our_rules(converter: Converter, cls: Any) -> bool:
    """Whether the converter structures the class, and all it is made of, by the hooks here."""
    if converter.forbid_extra_keys:
        return False
    hook = converter.get_structure_hook(cls)
    if cls in _LEAVES:
        return hook is _LEAVES[cls]
    parts = [field.type for field in attrs.fields(cls)] if _is_model(cls) else get_args(cls)
    return _made_here.get(id(hook)) is hook and all(
        follows_our_rules(converter, part) for part in parts if part not in (NoneType, Ellipsis)
    )


def camel(name: str) -> str:
    """Turn a field's name into its name on the wire: `page_count` into `pageCount`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@cache
def required_names() -> frozenset[str]:
    """Give the names on the wire of all fields that must not be missing."""
    fields = (field for cls in (Job, Project) for field in attrs.fields(cls))
    return frozenset(camel(field.name) for field in fields if field.default is attrs.NOTHING)


@attrs.frozen(kw_only=True)
class InvalidElement:
    """One element of a list that is not what the API promises; see `list_jobs(on_invalid=…)`."""

    index: int
    """Its place, counted from 0."""
    reason: str
    """What is wrong with it, and where; never holds its content."""
    path: str
    """Where the first fault is, by the names of the models: `$.billing.credits_debited`."""
    raw: bytes = attrs.field(repr=False)
    """Its JSON text. It may hold a `resultUrl`: treat it as a secret."""


class Refused(ValueError):
    """Raised by a hook, with a text that says what was expected and never what was found."""


def _refuse(expected: str, value: object) -> NoReturn:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    found = "null" if value is None else kinds.get(type(value), "a number")
    raise Refused(f"expected {expected}, got {found}")


# From JSON: each hook takes (value, type), as cattrs calls it.


def _text(value: Any, _: Any) -> str:
    return value if isinstance(value, str) else _refuse("a string", value)


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    _refuse("an integer", value)


def _status(value: Any, _: Any) -> JobStatus:
    return JobStatus(_text(value, str))


def _from_iso(value: Any, _: Any) -> datetime:
    text = _text(value, str)
    try:
        return msgspec.convert(text, AwareDatetime).astimezone(UTC)
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError):
        pass  # their texts and tracebacks may hold the value
    raise Refused("expected an ISO 8601 timestamp with an offset or Z")


def error_from_json(value: Any, _: Any = None) -> JobError:
    """Make a `JobError` of any JSON value: the API documents no shape for it."""
    if not _is_finite(value):
        raise Refused("expected finite numbers")
    facts = value if isinstance(value, dict) else {}
    code, message = facts.get("code"), facts.get("message")
    return JobError(
        code=code if isinstance(code, str) else None,
        message=message if isinstance(message, str) else None,
        raw=value,
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


_LEAVES: dict[Any, Hook] = {
    str: _text,
    int: _integer,
    JobStatus: _status,
    datetime: _from_iso,
    JobError: error_from_json,
}

# What the factories below made, to tell it from hooks of the caller's own.
_made_here: "weakref.WeakValueDictionary[int, Hook]" = weakref.WeakValueDictionary()


def _is_nullable(tp: Any) -> bool:
    return isinstance(tp, UnionType) and len(get_args(tp)) == 2 and NoneType in get_args(tp)


def _is_tuple(tp: Any) -> bool:
    return get_origin(tp) is tuple and get_args(tp)[1:] == (Ellipsis,)


def _is_model(tp: Any) -> bool:
    return attrs.has(tp) and tp.__module__ == Job.__module__


def _nullable(tp: Any, converter: Converter) -> Hook:
    (inner,) = (part for part in get_args(tp) if part is not NoneType)
    structure = converter.get_structure_hook(inner)

    def hook(value: Any, _: Any) -> Any:
        return None if value is None else structure(value, inner)

    _made_here[id(hook)] = hook
    return hook


def _tuple(tp: Any, converter: Converter) -> Hook:
    item = get_args(tp)[0]
    structure = converter.get_structure_hook(item)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            _refuse("an array", value)
        items, faults = [], []
        for index, element in enumerate(value):
            try:
                items.append(structure(element, item))
            except Exception as error:  # noqa: BLE001  # a hook of the caller's may raise anything
                error.add_note(IterableValidationNote(f"Structuring item {index}", index, item))
                faults.append(error)
            if len(faults) == MAX_FAULTS:
                break  # cattrs would go on, at 2 KB of memory for each
        if faults:
            raise IterableValidationError(f"While structuring {tp!r}", faults, tp)
        return tuple(items)

    _made_here[id(hook)] = hook
    return hook


def _model(tp: Any, converter: Converter) -> Hook:
    @cache
    def structure() -> Hook:  # compiled when it is needed, which with the fast lane is never
        return make_dict_structure_fn(tp, converter, **_renamed(tp))

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            _refuse("an object", value)
        return structure()(value, tp)

    _made_here[id(hook)] = hook
    return hook


def _renamed(cls: Any) -> dict[str, Any]:
    return {field.name: override(rename=camel(field.name)) for field in attrs.fields(cls)}


# To JSON.


def _to_iso(moment: datetime) -> str:
    whole_milliseconds = moment.microsecond % 1000 == 0
    text = moment.astimezone(UTC).isoformat(
        timespec="milliseconds" if whole_milliseconds else "auto"
    )
    return text.removesuffix("+00:00") + "Z"


def _error_to_json(error: JobError) -> Any:
    return {"code": error.code, "message": error.message} if error.raw is None else error.raw


def _tuple_to_list(tp: Any, converter: Converter) -> Callable[[Any], Any]:
    unstructure = converter.get_unstructure_hook(get_args(tp)[0])
    return lambda values: [unstructure(value) for value in values]


def _model_to_dict(tp: Any, converter: Converter) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(tp, converter, **_renamed(tp))
