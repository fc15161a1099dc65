"""What a made-up organisation holds: projects and jobs, as dictionaries in the API's field order.

Everything derives from the seed and a fixed past. Each project and each job has a random generator
of its own, seeded from its place, so any one is made without the others and none is kept: a
history of a million jobs costs no memory, and job 900,000 costs no more than the first. Only jobs
that a test has added or moved on are kept.

An id is a lower-case ULID: its first ten characters are the time of creation; the other sixteen
hide the place in the organisation, so that a job is found by its id without an index.
"""

import base64
import copy
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from ._job import (
    ACTIVE_STATUSES,
    DAY_MS,
    MINUTE_MS,
    Wire,
    make_job,
    move_on,
    next_status,
    timestamp,
)

LONGEST_HISTORY = 2_000_000
"""Jobs a project can have: the oldest is of 1986, and a ULID cannot tell a time before 1970."""

_NEWEST_MS = 1_730_538_000_000  # 2024-11-02T09:00:00Z
_SLOT_MS = 10 * MINUTE_MS  # a project begins one job in each stretch of this length
_BURST = 4  # up to as many jobs share one time of creation

_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghjkmnpqrstvwxyz")
_RADIX_32 = str.maketrans("0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv")
_PLACES = 2**80
_SCRAMBLE = 0x9E3779B97F4A7C15F39D  # odd, so that multiplying by it modulo 2**80 can be undone
_UNSCRAMBLE = pow(_SCRAMBLE, -1, _PLACES)

_PROJECT_NAMES = ("Riverside Tower", "Schulhaus Süd", "Hôtel Été", "東京駅 改修", "Depot {B}")


class UnknownId(KeyError):
    """Raised when the organisation has no such project, job or result."""


@dataclass(frozen=True, slots=True)
class _Project:
    """What every job of a project needs to know of it."""

    index: int
    id: str
    created_ms: int
    newest_ms: int  # no job is younger
    salt: str  # sets the times of its jobs apart from those of other projects
    active: dict[int, str]  # the places of its jobs that are not terminal, and their statuses


@dataclass(slots=True)
class _Additions:
    """The jobs that a project was given later."""

    newest_ms: int  # when the last one was created, or what a first one would follow
    count: int = 0  # those that were removed included
    ids: list[str] = field(default_factory=list)  # of those that are there, from old to new


class Organisation:
    """All projects of one API key, and their jobs by place: job 0 is the newest."""

    def __init__(self, *, projects: int, jobs_per_project: int, seed: int) -> None:
        self._jobs_per_project = jobs_per_project
        self._seed = seed
        self._moved: dict[str, Wire] = {}  # jobs that are not as they were made
        self._additions: dict[str, _Additions] = {}  # by project
        self._removed: set[str] = set()  # ids
        self._offset = self._random("ids").getrandbits(80)
        self._projects = {project.id: project for project in map(self._plan, range(projects))}
        self.project_ids = tuple(self._projects)
        self.api_key = f"pgk_live_{self._random('key').getrandbits(128):032x}"

    def project(self, project_id: str) -> Wire:
        """Return one project."""
        project = self._find(project_id)
        rng = self._random(project.index, "project")
        is_ready = rng.random() < 0.9
        return {
            "id": project_id,
            "name": f"{rng.choice(_PROJECT_NAMES)} {project.index + 1}",
            "projectKind": "open_api",
            "status": "ready" if is_ready else "provisioning",
            "runtime": {
                "status": "running" if is_ready else "starting",
                "upgradeStatus": rng.choice(("none", None)),
            },
            "createdAt": timestamp(project.created_ms),
            "updatedAt": timestamp(project.created_ms + rng.randrange(DAY_MS)),
        }

    def jobs(self, project_id: str) -> Iterator[Wire]:
        """Return a project's jobs, newest first, each made when it is asked for."""
        project = self._find(project_id)
        additions = self._additions.get(project_id)
        ids = additions.ids[::-1] if additions else ()
        added = (self.job(job_id) for job_id in ids if job_id in self._moved)  # still
        made = (self._job(project, index) for index in range(self._jobs_per_project))
        return chain(added, (job for job in made if job["id"] not in self._removed))

    def job(self, job_id: str) -> Wire:
        """Return one job."""
        if job_id in self._moved:
            return copy.deepcopy(self._moved[job_id])  # like all others, the caller's to change
        try:
            number = int(job_id.removeprefix("job_").translate(_RADIX_32), 32)
        except ValueError:
            raise UnknownId(job_id) from None
        place = (number - self._offset) * _UNSCRAMBLE % _PLACES
        project_index, index = divmod(place, LONGEST_HISTORY)
        if project_index < len(self.project_ids) and index < self._jobs_per_project:
            job = self._job(self._projects[self.project_ids[project_index]], index)
            if job["id"] == job_id not in self._removed:  # other texts decode to this place as well
                return job
        raise UnknownId(job_id)

    def advance(self, job_id: str, status: str | None) -> Wire:
        """Move a job on, to a status or to what comes next, and return it."""
        job = self.job(job_id)
        following = next_status(job["status"])
        if following is None:
            raise ValueError(f"The job is {job['status']}, and will not change any more")
        rng = self._random(job_id, job["status"])
        self._moved[job_id] = move_on(rng, job, following if status is None else status)
        return self.job(job_id)

    def add_job(self, project_id: str, later_ms: int) -> Wire:
        """Begin a job so many milliseconds after the newest one, and return it."""
        project = self._find(project_id)
        additions = self._additions.setdefault(project_id, _Additions(project.newest_ms))
        additions.newest_ms += later_ms
        index = self._jobs_per_project + additions.count
        additions.count += 1
        place = project.index * LONGEST_HISTORY + index
        job = make_job(
            self._random(project.index, index),
            job_id="job_" + self._ulid(additions.newest_ms, place),
            project_id=project_id,
            created_ms=additions.newest_ms,
            status=ACTIVE_STATUSES[0],
        )
        additions.ids.append(job["id"])
        self._moved[job["id"]] = job
        return self.job(job["id"])

    def remove_job(self, job_id: str) -> None:
        """Let there be no such job any more."""
        project_id = self.job(job_id)["projectId"]
        self._moved.pop(job_id, None)
        additions = self._additions.get(project_id)
        if additions and job_id in additions.ids:
            additions.ids.remove(job_id)
        else:
            self._removed.add(job_id)

    def result(self, job_id: str) -> Wire:
        """Return the result document of a job whose status gives it one."""
        job = self.job(job_id)
        if job["resultUrl"] is None:
            raise UnknownId(job_id)
        return {
            "schemaVersion": "v1",
            "job": {name: job[name] for name in ("id", "externalId", "projectId", "status")},
            "usage": {
                "pageCount": job["pageCount"],
                "successfulPageCount": job["successfulPageCount"],
                "creditsDebited": job["billing"]["creditsDebited"],
            },
            "documents": [{"fileId": f["id"], "fileName": f["fileName"]} for f in job["files"]],
            "evidence": [],
            "warnings": [],
            "errors": [job["error"]] if job["error"] else [],
            "generatedAt": job["completedAt"],
        }

    def _random(self, *place: object) -> random.Random:
        seed = "/".join(map(str, (self._seed, *place)))
        return random.Random(seed)  # noqa: S311 - it makes data that repeat, and no secret

    def _find(self, project_id: str) -> _Project:
        try:
            return self._projects[project_id]
        except KeyError:
            raise UnknownId(project_id) from None

    def _plan(self, index: int) -> _Project:
        rng = self._random(index, "plan")
        newest_ms = _NEWEST_MS - rng.randrange(DAY_MS)
        created_ms = newest_ms - self._jobs_per_project * _SLOT_MS - rng.randint(1, 90 * DAY_MS)
        # Of four projects in a row the last is idle, and the others have two active jobs each,
        # so that together they show every status; of the two, the older one is further on.
        statuses = ACTIVE_STATUSES[index % 4 * 2 :][:2]
        places = sorted(rng.sample(range(5), len(statuses)))
        return _Project(
            index=index,
            id="proj_" + self._ulid(created_ms, -1 - index),
            created_ms=created_ms,
            newest_ms=newest_ms,
            salt=f"{self._seed}/{index}",
            active=dict(zip(places, statuses, strict=True)),
        )

    def _job(self, project: _Project, index: int) -> Wire:
        created_ms = _created_ms(project, index)
        place = project.index * LONGEST_HISTORY + index
        job_id = "job_" + self._ulid(created_ms, place)
        if job_id in self._moved:
            return self.job(job_id)
        return make_job(
            self._random(project.index, index),
            job_id=job_id,
            project_id=project.id,
            created_ms=created_ms,
            status=project.active.get(index),
        )

    def _ulid(self, created_ms: int, place: int) -> str:
        number = created_ms * _PLACES + (place * _SCRAMBLE + self._offset) % _PLACES
        return base64.b32encode(number.to_bytes(20)).decode().translate(_CROCKFORD)[-26:]


def _created_ms(project: _Project, index: int) -> int:
    """Return when a job began: never later than the one before it, without looking at that."""
    burst = index // _BURST
    if _hash(project.salt, "burst", burst) % 10 == 0:
        index = burst * _BURST
    return project.newest_ms - index * _SLOT_MS - _hash(project.salt, "slot", index) % _SLOT_MS


def _hash(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())  # much cheaper than a random generator
