"""How much the emulator takes on: `Limits`, and the token bucket that counts requests.

Nothing here looks at a clock: the time is an argument.
"""

import math
from dataclasses import dataclass
from email.utils import formatdate
from typing import Literal

from ._demand import demand


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the organisation, or one project, may ask for. As it stands nothing is limited.

    Who is refused takes neither a token nor a place. Raises `ValueError` for a value out of range.
    """

    requests_per_second: float | None = None
    """The rate at which tokens come back, from 0.0001 to 1,000,000; a request without one gets
    429. `None`: any rate."""
    burst: int | None = None
    """How many requests may come at once: the tokens of a full bucket. `None`: as many as
    come back in a second, and at least 1."""
    retry_after: Literal["seconds", "date"] | None = "seconds"
    """What a 429 has as `Retry-After` (RFC 9110, section 10.2.3): whole seconds, rounded up and at
    least 1; the first whole second, as a date, at which there is a token; or no such header."""
    max_concurrency: int | None = None
    """How many requests may be in the middle of being answered; one above it gets 503."""
    latency: float = 0.0
    """Seconds before the headers of every answer, a refusal included; at most 3,600."""

    def __post_init__(self) -> None:
        if self.requests_per_second is not None:
            demand(
                "requests_per_second", self.requests_per_second, at_least=0.0001, at_most=1_000_000
            )
        if self.burst is not None:
            demand("burst", self.burst, at_least=1)
            if self.requests_per_second is None:
                raise ValueError("burst needs requests_per_second, which says how it is refilled")
        if self.retry_after not in {"seconds", "date", None}:
            raise ValueError(
                f"retry_after must be 'seconds', 'date' or None, not {self.retry_after!r}"
            )
        if self.max_concurrency is not None:
            demand("max_concurrency", self.max_concurrency, at_least=1)
        demand("latency", self.latency, at_least=0, at_most=3600)


UNLIMITED = Limits()


class Bucket:
    """A token bucket, full at first. Times are seconds from any start, and never go back."""

    def __init__(self, *, per_second: float, burst: int | None) -> None:
        self._per_second = per_second
        self._burst = max(1, math.floor(per_second)) if burst is None else burst
        self._missing = 0.0  # tokens, so that a burst at one instant is counted in whole numbers
        self._taken_at = -math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token: 0.0 if there is one."""
        return max(0.0, (self._missing_at(now) - self._burst + 1) / self._per_second)

    def take(self, now: float) -> None:
        """Take the token that there is."""
        self._missing = self._missing_at(now) + 1
        self._taken_at = now

    def _missing_at(self, now: float) -> float:
        return max(0.0, self._missing - (now - self._taken_at) * self._per_second)


def retry_after(form: Literal["seconds", "date"] | None, wait: float, date: float) -> str | None:
    """Return the header's value for a wait in seconds; `date` is now, in seconds since 1970."""
    if form is None:
        return None
    if form == "date":
        return formatdate(math.ceil(date + wait), usegmt=True)
    return str(max(1, math.ceil(round(wait, 6))))  # 1.0000000001 is 1
