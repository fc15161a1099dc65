"""Asking for a job until it is terminal: how often, and what is no reason to stop. Values only.

The API's documentation, Polling: never faster than every 5 s for a job, 10 to 30 s recommended.
"""

from collections.abc import Callable
from random import Random

import attrs

from plangrep_async._checks import check_seconds
from plangrep_async._retry import is_transient
from plangrep_async.errors import (
    ConfigurationError,
    PlangrepError,
    ServerError,
    WaitTimeout,
    printable,
)
from plangrep_async.models import Job

LEAST_INTERVAL = 5.0

Waits = Callable[[PlangrepError | None], float]
"""Says how long to wait after an answer, or after a failure."""


def check_wait(poll_interval: float, timeout: float | None) -> None:
    """Raise `ConfigurationError` for what the documentation does not allow, or makes no sense."""
    check_seconds("poll_interval", poll_interval)
    if poll_interval < LEAST_INTERVAL:
        raise ConfigurationError(
            f"poll_interval must be at least {LEAST_INTERVAL:g} seconds: "
            "the API's documentation allows no more"
        )
    if timeout is not None:
        check_seconds("timeout", timeout, above_zero=True)


def poll_waits(interval: float, random: Random | None = None) -> Waits:
    """Give the waits between two questions: never less than the interval, nor than asked for."""
    random = random or Random()  # noqa: S311  # jitter, no secret

    def wait(failure: PlangrepError | None) -> float:
        floor = getattr(failure, "retry_after", None) or 0.0
        # Those who wait for jobs that were made together must not go on in step.
        return max(interval * random.uniform(1.0, 1.2), floor * random.uniform(1.0, 1.1))

    return wait


def may_pass(error: PlangrepError) -> bool:
    """Whether the next question may well find an answer, though this one was given up."""
    return is_transient(error) or isinstance(error, ServerError)


def wait_timeout(job_id: str, seen: Job | None, timeout: float | None) -> WaitTimeout:
    """Make the error for a job that was not terminal in time."""
    if seen is None:
        return WaitTimeout(f"there was no answer about the job in {timeout:g} s", job_id=job_id)
    return WaitTimeout(
        f"the job was still {printable(seen.status)} after {timeout:g} s",
        job_id=job_id,
        project_id=seen.project_id,
        job=attrs.evolve(seen, result_url=None),  # a secret, and an error may be kept anywhere
    )
