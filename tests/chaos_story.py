"""What one stream met and gave, and whether that was right (pure).

The rules are those of the first response that gave a job: its list comes exactly once, in order,
but for the jobs that are gone when the stream gets to their place. What else may come: a job with
the very creation time after which the stream was cut, and, from a stale replica, one that was
removed before the stream began.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Literal

from plangrep_async.errors import PlangrepError

START, SEPARATOR, END = b'{"jobs":[', b",", b"]}"  # of a list as it is sent
BROKEN: tuple[Literal["reset", "cut", "stall"], ...] = ("reset", "cut", "stall")  # as in `Toxic`

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Listed:
    """A job as far as it is compared: what was sent, or what was given to the consumer."""

    id: str
    created: datetime
    status: str
    body: bytes = field(default=b"", compare=False, repr=False)


@dataclass(slots=True)
class Attempt:
    """One request, what the server said to it, and what the consumer got before the next one."""

    status: int = 0  # 0: the server never saw the request
    version: int = 0  # which state of the list; below an earlier attempt's, a stale replica
    jobs: Sequence[Listed] = ()
    broke: str | None = None  # by which end of the connection, where one took effect
    read_bytes: int = 0  # of the body, decompressed: how many the client had taken in
    got: list[Listed] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """One stream from its first request to its end."""

    project_id: str
    patience: int  # attempts of the policy
    attempts: list[Attempt] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def got(self) -> list[Listed]:
        """All that the consumer was given."""
        return [job for attempt in self.attempts for job in attempt.got]

    @property
    def base(self) -> int:
        """The place of the first attempt that gave a job, or of the last one where none did."""
        gave = (number for number, attempt in enumerate(self.attempts) if attempt.got)
        return next(gave, len(self.attempts) - 1)

    def steps(self) -> Iterator[tuple[Attempt, datetime | None, set[str]]]:
        """Give each attempt, the last time that was delivered before, and the ids at that time."""
        time: datetime | None = None
        ids: set[str] = set()
        for attempt in self.attempts:
            yield attempt, time, set(ids)
            for job in attempt.got:
                if job.created != time:
                    time, ids = job.created, set()
                ids.add(job.id)

    def failures(self) -> list[str]:
        """Name what each attempt failed of: all of them but the last one of a whole stream."""
        newest, names = 0, []
        for attempt, _, ids in self.steps():
            if attempt.status != 200:
                names.append(str(attempt.status or "unseen"))
            elif ids and ids.isdisjoint(job.id for job in attempt.jobs):
                names.append("stale" if attempt.version < newest else "removed")
            else:
                names.append(attempt.broke or "unknown")
            newest = max(newest, attempt.version)
        return names if self.error else names[:-1]

    @property
    def reason(self) -> str:
        """What the attempts since the last progress failed of, above all."""
        last = max((number for number, one in enumerate(self.attempts) if one.got), default=0)
        names = self.failures()[last:]
        return next((name for name in ("removed", "stale") if name in names), "faults")

    def strangers(self) -> Iterator[str]:
        """Say of each job that came and was not in the list that counts where it came from."""
        listed = {job.id for job in self.attempts[self.base].jobs} if self.attempts else set()
        for attempt, time, _ in self.steps():
            for job in attempt.got:
                if job.id not in listed:
                    yield "twin" if job.created == time else "revived"

    def held(self) -> Iterator[tuple[str, int, int]]:
        """Give for each cut its kind, the new jobs that had been read, and those of them given."""
        for (attempt, time, ids), name in zip(self.steps(), self.failures(), strict=False):
            if name not in BROKEN:
                continue
            sizes = (len(job.body) + len(SEPARATOR) for job in attempt.jobs)
            ends = list(accumulate(sizes, initial=len(START) - len(SEPARATOR)))[1:]
            read = attempt.jobs[: bisect_right(ends, attempt.read_bytes)]
            due = [job for job in read if _follows(job, time, ids)]
            yield name, len(due), len({job.id for job in due} & {job.id for job in attempt.got})


def check(story: Story) -> list[str]:
    """Say what is wrong with a stream, each time by a name and the facts."""
    findings = [*_each(story), *_lost(story), *_ended(story), *_patience(story)]
    shown = list(dict.fromkeys(findings))
    return shown[:10] + ([f"more: {len(shown) - 10} findings"] if shown[10:] else [])


def _follows(job: Listed, time: datetime | None, ids: set[str]) -> bool:
    """Whether a job comes after what was delivered until then."""
    return time is None or job.created < time or (job.created == time and job.id not in ids)


def _each(story: Story) -> Iterator[str]:
    """Look at each job that was given: it must be there, new, in order and wanted."""
    if not story.attempts:
        return
    base = story.attempts[story.base]
    listed = {job.id for job in base.jobs}
    seen: set[str] = set()
    latest: datetime | None = None
    for number, (attempt, time, ids) in enumerate(story.steps()):
        places = {job: place for place, job in enumerate(attempt.jobs)}
        is_placed = time is None or any(job.id in ids for job in attempt.jobs)
        before = -1
        for job in attempt.got:
            where = f"{job.id} in response {number}"
            if job.id in seen:
                yield f"twice: {where}"
            if job not in places:
                yield f"foreign: {where} is not as it was sent"
            elif places[job] < before or (latest is not None and job.created > latest):
                yield f"order: {where}"
            is_revived = attempt.version < base.version
            if job.id not in listed and job.created != time and not is_revived:
                yield f"extra: {where} was not in the list"
            if time is not None and job.created < time and not is_placed:
                yield f"unplaced: {where} follows nothing that was given"
            seen.add(job.id)
            latest = job.created
            before = places.get(job, before)


def _lost(story: Story) -> Iterator[str]:
    """Look at each job of the list that was not given: it must be gone, or not be due yet."""
    if not story.attempts:
        return
    got = story.got
    seen = {job.id for job in got}
    stop = got[-1].created if got else None
    if story.error is None:
        stop = _NEVER
    steps = list(story.steps())
    befores = [time for _, time, _ in steps] + [stop]
    base = story.base
    for job in story.attempts[base].jobs:
        if job.id in seen or stop is None or job.created <= stop:
            continue
        # The last response that came by the job's place is the one that had to give it.
        passing = [
            number
            for number in range(base, len(steps))
            if (time := befores[number]) is None or job.created <= time
            if (after := befores[number + 1]) is not None and after <= job.created
        ]
        if not passing or any(job.id == one.id for one in story.attempts[passing[-1]].jobs):
            yield f"lost: {job.id}"


def _ended(story: Story) -> Iterator[str]:
    """Look at the end: a whole list, or one of our errors that tells how far it came."""
    error, got = story.error, story.got
    if error is None:
        last, _, ids = list(story.steps())[-1] if story.attempts else (Attempt(), None, set[str]())
        if last.status != 200:
            yield f"end: in order, after an answer of status {last.status}"
        elif ids and ids.isdisjoint(job.id for job in last.jobs):
            yield "unplaced: the stream ended in order behind a response without its place"
    elif isinstance(error, TimeoutError):
        yield "hang: the stream did not come to an end"
    elif not isinstance(error, PlangrepError):
        yield f"untyped: {error!r}"
    else:
        if error.delivered != len(got):
            yield f"delivered: {error.delivered}, but {len(got)} came"
        if error.last_job_id != (got[-1].id if got else None):
            yield f"last_job_id: {error.last_job_id}"
        if error.project_id != story.project_id:
            yield f"project_id: {error.project_id}"


def _patience(story: Story) -> Iterator[str]:
    """Count the attempts without progress: never more than the policy's, and no fewer at an end."""
    idle = limit = 0
    for number, attempt in enumerate(story.attempts):
        # The first try after some progress goes on in the response that is already there.
        limit = story.patience - (number > story.base or bool(attempt.got))
        idle = 0 if attempt.got else idle + 1
        if idle > limit:
            yield f"patience: {idle} requests in a row without progress"
    if isinstance(story.error, PlangrepError):
        if idle < limit:
            yield f"patience: gave up after {idle} requests without progress, not {limit}"
        if story.error.attempts != story.patience:
            yield f"attempts: the error says {story.error.attempts}"
