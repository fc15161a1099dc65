"""From the bytes of a JSON array to typed objects, each bad element in its place.

Two lanes that make the same objects. The fast one (`_mirror.py`) takes a whole batch or refuses
it. The plain one (`converter.py`) takes one element at a time and defines what is right: it serves
batches that the fast lane refuses, and everything once the caller's converter has rules of its own.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from cattrs import Converter, transform_error

from plangrep_async._batch import Batch
from plangrep_async._jsontext import NOT_JSON
from plangrep_async._mirror import Mirror
from plangrep_async.converter import (
    MAX_FAULTS,
    InvalidElement,
    Refused,
    camel,
    error_from_json,
    follows_our_rules,
    required_names,
)
from plangrep_async.models import JobError

T = TypeVar("T")
Decode = Callable[[bytes], Iterable[Batch[T | InvalidElement]]]
"""Makes objects of the bytes of a JSON array, in batches; see `array_decoder`."""

_BATCH = 32  # elements of the plain lane, which may need 0.1 ms and more for one

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def array_decoder(converter: Converter, cls: type[T]) -> Decode[T]:
    """Make a function from the bytes of a JSON array to objects of the class, in batches.

    It raises `msgspec.DecodeError` or `RecursionError` where they are no JSON array: half of a
    surrogate pair has to be mended before, and nesting has the interpreter's limit. What it
    returns raises nothing of the kind; the plain lane makes a batch of it when it is taken.
    """
    hashable: Any = cls  # what mypy asks of an argument of a cached function
    mirror: Mirror[T] | None = _mirror(hashable) if follows_our_rules(converter, cls) else None

    def decode(array: bytes) -> Iterable[Batch[T | InvalidElement]]:
        if mirror is not None:
            try:
                return (mirror.decode(array),)
            except NOT_JSON:
                pass
        return structured(_split(array))

    def structured(raws: Sequence[msgspec.Raw]) -> Iterator[Batch[T | InvalidElement]]:
        for start in range(0, len(raws), _BATCH):
            some = enumerate(raws[start : start + _BATCH], start)
            elements = [_structure(converter, cls, index, bytes(raw)) for index, raw in some]
            yield Batch(elements)

    return decode


@cache
def _mirror(cls: Any) -> Mirror[Any]:
    return Mirror(cls, rename=camel, from_json={JobError: error_from_json})


def _structure(converter: Converter, cls: type[T], index: int, raw: bytes) -> T | InvalidElement:
    try:
        return converter.structure(json.loads(raw.decode(), parse_int=_parse_int), cls)
    except Exception as error:  # noqa: BLE001  # hooks of the caller's may raise anything
        faults = transform_error(error, format_exception=_reason)
    path = faults[0].rpartition(" @ ")[2]
    more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
    reason = "; ".join(faults[:MAX_FAULTS] + more)
    return InvalidElement(index=index, reason=reason, path=path, raw=raw)


def _parse_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # JSON sets no limit (RFC 8259, section 6), Python's is 4,300 digits
        return math.inf


def _reason(error: BaseException, _: type | None) -> str:
    match error:
        case Refused():
            return str(error)
        case KeyError(args=(str(name),)) if name in required_names():
            return "required field missing"
        case UnicodeDecodeError():
            return "not valid UTF-8"
        case RecursionError():
            return "nested too deeply"
    return f"refused with {type(error).__name__}"
