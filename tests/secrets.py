r"""Where a secret could come out: a walk over all that an error shows, and a watch on the log.

Escapes (`\u0070`, `\x70`, `\/`, `%70`) hide nothing: whoever reads them can undo them.
"""

import io
import logging
import os
import pickle
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

import plangrep_async

Named = tuple[str, Any]

_PACKAGE = str(Path(plangrep_async.__file__).parent) + os.sep
_DEPTH = 8
_LEAVES = (str, bytes, bytearray, int, float, type(None), type)
_escape = re.compile(r"\\u([0-9a-fA-F]{4})|(?:\\x|%)([0-9a-fA-F]{2})|\\(/)")


def holds(text: str, *secrets: str) -> bool:
    """Whether one of the secrets is in a text, as it is or in escapes."""
    forms = [text, _escape.sub(_unescape, text)] if "\\" in text or "%" in text else [text]
    return any(secret in form for secret in secrets for form in forms)


def leaks(error: BaseException, *secrets: str) -> list[str]:
    """Name each place where an error, or anything behind it, holds one of the secrets.

    Seen are all its texts; all objects it leads to; its tracebacks, with the variables of the
    library's frames as tools print them (`repr`, `str`, and what is in plain containers); its
    pickles and what comes out of them; and the same of a group that it is in.
    """
    shown = [*_shown(error, "error"), *_shown(BaseExceptionGroup("several", [error]), "group")]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = _pickled(error, protocol)
        shown.append((f"pickle {protocol}", pickled.decode("latin-1")))
        shown += _shown(pickle.loads(pickled), f"pickle {protocol}")  # noqa: S301  # just made
    return [place for place, text in shown if holds(text, *secrets)]


class LogWatch(logging.Handler):
    """Notes each log record that holds one of the secrets: in text, arguments, extras, error."""

    def __init__(self, *secrets: str) -> None:
        super().__init__()
        self.secrets = secrets
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one record, all of it."""
        shown = [self.format(record), repr(vars(record))]
        if record.exc_info and record.exc_info[1]:
            shown.append(_traceback(record.exc_info[1]))
        if holds("\n".join(shown), *self.secrets):
            self.leaks.append(f"{record.levelname} {record.name}: {record.msg!r}")


@contextmanager
def watched_log(*secrets: str) -> Iterator[LogWatch]:
    """Watch all loggers at the lowest level; whoever else listens hears no more than before."""
    root, watch = logging.getLogger(), LogWatch(*secrets)
    level, others = root.level, [(handler, handler.level) for handler in root.handlers]
    for handler, its_level in others:
        handler.setLevel(max(level, its_level))  # pytest's keep records, and so all errors in them
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    try:
        yield watch
    finally:
        root.setLevel(level)
        root.removeHandler(watch)
        for handler, its_level in others:
            handler.setLevel(its_level)


def _unescape(found: re.Match[str]) -> str:
    return found[3] or chr(int(found[1] or found[2], 16))


def _pickled(error: BaseException, protocol: int) -> bytes:
    """Pickle it as it wants to be, and not as others do with all errors, once Dask is imported."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol)
    pickler.dispatch_table = {}
    pickler.dump(error)
    return buffer.getvalue()


def _shown(error: BaseException, place: str) -> Iterator[tuple[str, str]]:
    yield f"{place}: traceback", _traceback(error)
    yield from _walk(error, place, _everything, {})


def _walk(
    value: Any, place: str, inside: Callable[[Any], Iterator[Named]], seen: dict[int, Any]
) -> Iterator[tuple[str, str]]:
    if id(value) in seen or place.count(" > ") == _DEPTH:
        return
    seen[id(value)] = value  # and so kept: no other object gets its id
    yield place, f"{value!r}\n{value!s}\n{value}"
    for name, inner in inside(value):
        yield from _walk(inner, f"{place} > {name}", inside, seen)
    if isinstance(value, BaseException):
        for frame, _ in traceback.walk_tb(value.__traceback__):
            if _is_ours(frame.f_code.co_filename):
                where = f"{place} > {frame.f_code.co_qualname}()"
                yield from _walk(dict(frame.f_locals), where, _contents, {})


def _contents(value: Any) -> Iterator[Named]:
    """Give what is in a plain container."""
    if isinstance(value, Mapping):
        for number, (key, inner) in enumerate(value.items()):
            yield f"key {number}", key
            yield (key if isinstance(key, str) else f"value {number}"), inner
    elif isinstance(value, list | tuple | AbstractSet):
        for number, inner in enumerate(value):
            yield str(number), inner


def _everything(value: Any) -> Iterator[Named]:
    """Give what is in containers and attributes: `__dict__`, slots, causes are all descriptors."""
    yield from _contents(value)
    if isinstance(value, _LEAVES):
        return
    for cls in type(value).__mro__:
        for name, attribute in vars(cls).items():
            is_data = isinstance(attribute, GetSetDescriptorType | MemberDescriptorType)
            if is_data and name not in ("__traceback__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)


def _traceback(error: BaseException) -> str:
    """Print an error like a tool that shows the variables of the library's frames."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    chain = [told]
    for one in chain:
        one.stack[:] = [frame for frame in one.stack if _is_ours(frame.filename)]
        behind = (one.__cause__, one.__context__, *(one.exceptions or ()))
        chain += [other for other in behind if other is not None]
    return "".join(told.format())


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE)
