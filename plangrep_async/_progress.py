"""How a stream of many projects goes: how far it is, and what became of each project."""

import logging
from collections.abc import Mapping
from itertools import islice

import attrs

from plangrep_async.errors import printable

_log = logging.getLogger("plangrep_async")
_MOST_NAMED = 5  # projects in a warning


@attrs.frozen
class ProjectOutcome:
    """What became of one project, once its last job was consumed."""

    project_id: str
    jobs: int
    """How many of its jobs were delivered."""
    error: Exception | None = None
    """Why it ended early; None where it is complete."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far a `JobStream` is. The last three figures are of the whole client."""

    projects_done: int
    projects_total: int | None
    """None while it is not known: the ids have no length, and were not read to their end."""
    jobs: int
    """Jobs that were given out."""
    bytes: int
    """Bytes of answers that were read, unpacked."""
    retries: int
    """Attempts that failed and were followed by another one."""
    in_flight: int
    """Requests that are waiting for the server."""
    max_in_flight: int
    """How many are allowed now, at most `max_concurrency`."""
    requests_per_second: float | None
    """How many may begin a second now; None while the server has set no limit."""


def warn_of(failures: Mapping[str, Exception]) -> None:
    """Log one warning of failures, if there are any, that nobody has seen."""
    if failures:
        named = [
            f"{printable(project)} ({type(error).__name__})"
            for project, error in islice(failures.items(), _MOST_NAMED)
        ]
        more = [f"and {len(failures) - len(named)} more"] * (len(failures) > len(named))
        count = "1 project" if len(failures) == 1 else f"{len(failures)} projects"
        _log.warning("nobody has seen that %s failed: %s", count, ", ".join(named + more))
