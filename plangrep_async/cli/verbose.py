"""`--verbose`: what the library logs, on standard error, a line each and without secrets."""

import logging
import re
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from plangrep_async.cli.terminal import tell
from plangrep_async.errors import _escape

T = TypeVar("T")

_log = logging.getLogger("plangrep_async")

# The library logs neither. But a key may have been given in the place of an id.
_SECRETS = re.compile(r"(?<=pgk_)[^\s/]+|(?<=\?)\S+")


async def with_log(work: Coroutine[Any, Any, T]) -> T:
    """Do something, and show what is logged meanwhile, at every level."""
    handler, level = _Handler(), _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.DEBUG)
    try:
        return await work
    finally:
        _log.setLevel(level)
        _log.removeHandler(handler)


def log_line(record: logging.LogRecord) -> str:
    """Write time (UTC), level and message in one line that is harmless on a terminal."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(" ", "milliseconds")
    message = _SECRETS.sub("…", record.getMessage())
    return _escape(f"{time.removesuffix('+00:00')}Z {record.levelname} {message}")


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless nobody reads it any more: the work goes on."""
        with suppress(OSError):
            tell(log_line(record))
