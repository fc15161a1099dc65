"""What is logged of requests: at DEBUG each answer and its end, at INFO each retry.

A line names a request by its method and its URL, which has no query. Nothing that a server wrote
is in the lines at DEBUG. `start` asks once a request whether anybody wants them.
"""

import logging
import time
from typing import Any

_log = logging.getLogger("plangrep_async")


def start() -> float | None:
    """Give the time, for the lines of a request; `None` where nobody would read them."""
    return time.monotonic() if _log.isEnabledFor(logging.DEBUG) else None


def answer(what: str, started: float, outcome: object) -> None:
    """Log the status of an answer, or of which class the error is that came in its place."""
    result = getattr(outcome, "status", type(outcome).__name__)
    _log.debug("%s: %s after %.3f s", what, result, time.monotonic() - started)


def end(what: str, started: float, bytes_read: int, how: str) -> None:
    """Log that the body of an answer is done with: how many bytes of it were read, unpacked."""
    _log.debug(
        "%s: %s, %s bytes after %.3f s", what, how, f"{bytes_read:,}", time.monotonic() - started
    )


def retry(details: Any) -> None:
    """Log a failed attempt that is followed by another one: a handler of backoff's."""
    _log.info(
        "attempt %d failed, next one in %.2f s: %s",
        details["tries"],
        details["wait"],
        details["exception"],
    )
