"""Where to go on after a cut: which jobs of a new response were delivered before (pure).

The list is ordered from new to old, so little has to be remembered: T, the last `created_at` that
was delivered, and R, the ids that were delivered with that very time. A new response is read in
order:

    newer than T                     skip: delivered before, or born since
    at T, the id in R                skip; the place is found
    at T, the id not in R            deliver: it may have been born in that millisecond
    an id of R at another time       the order is not what was promised
    `created_at` rising              likewise
    older than T, place found        deliver, and all that follow
    older than T, or the end, place  a stale replica, or all jobs of R are gone: another response
      not found                      may tell
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Protocol

MAX_TIES = 10_000  # ids that are remembered of one moment

_created_at = attrgetter("created_at")


class Moment(Protocol):
    """What is remembered of a job."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class OrderBroken(Exception):
    """Raised when going on would be a guess, in this response and in any other."""


class PlaceNotFound(Exception):
    """Raised when this response does not tell where to go on; another one may."""


class ResumePoint:
    """How far one list was delivered, over all the responses it takes."""

    def __init__(self) -> None:
        self._time: datetime | None = None  # T
        self._newest: datetime | None = None  # of all that was delivered
        self._ids: set[str] = set()  # R
        self._anchors: set[str] = set()  # those of R that a response with the place gave
        self._is_ordered = True  # what was delivered
        self._previous: datetime | None = None  # the time of the job before, in this response
        self._is_behind = False  # whether all that was delivered lies above, here
        self.is_found = True
        """Whether this response is known to go on from what was delivered."""
        self.is_first = True
        """Whether nothing was delivered before this response: its jobs are, in whatever order."""

    def begin_response(self) -> None:
        """Begin anew at the top of a list. Raises `OrderBroken` where that cannot help."""
        self._previous = None
        self.is_found = self.is_first = self._time is None
        self._is_behind = False
        if not self._is_ordered:
            raise OrderBroken("the jobs did not come from new to old")
        if len(self._ids) > MAX_TIES:
            raise OrderBroken(f"more than {MAX_TIES} jobs have the same creation time")

    def takes_all(self, jobs: Sequence[Moment]) -> bool:
        """Whether the next jobs, at least one, are all to be delivered; if not, `is_new` tells."""
        if self._previous is None or not self._is_behind:
            return self.is_first
        times = [self._previous, *map(_created_at, jobs)]
        if times != sorted(times, reverse=True):
            return False
        self._previous = times[-1]
        return True

    def is_new(self, job: Moment) -> bool:
        """Whether the next job of this response is to be delivered."""
        if self.is_first or self._time is None:
            return True
        if self._previous is not None and job.created_at > self._previous:
            raise OrderBroken("the jobs do not come from new to old")
        self._previous = job.created_at
        if self._is_behind:
            return True
        is_known = job.id in self._ids
        if job.created_at == self._time:
            self.is_found |= job.id in self._anchors
            return not is_known
        if is_known:
            raise OrderBroken("a job has another creation time than before")
        if job.created_at > self._time:
            return False
        if not self.is_found:
            raise PlaceNotFound
        self._is_behind = True
        return True

    def is_born_since(self, job: Moment) -> bool:
        """Whether a job is newer than all that was delivered."""
        return self._newest is not None and job.created_at > self._newest

    def end_response(self) -> None:
        """Note that the response ended in order. Raises `PlaceNotFound` if it was of no use."""
        if not self.is_found:
            raise PlaceNotFound

    def deliver(self, jobs: Sequence[Moment]) -> None:
        """Note that these jobs, at least one, are delivered now.

        A broken order is of no matter in the first response, until it has to be continued.
        """
        times = list(map(_created_at, jobs))
        self._newest = max(self._newest or times[0], times[0])
        is_rising = self._time is not None and times[0] > self._time
        if is_rising or times != sorted(times, reverse=True):
            self._is_ordered = False
        if times[-1] != self._time:
            self._time = times[-1]
            self._ids, self._anchors = set(), set()
        for job, time in zip(reversed(jobs), reversed(times), strict=True):
            if time != self._time or len(self._ids) > MAX_TIES:
                break
            self._ids.add(job.id)
            if self.is_found:
                self._anchors.add(job.id)
