"""How a stream of many projects goes: how far it is, and what became of each project."""

import attrs


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
