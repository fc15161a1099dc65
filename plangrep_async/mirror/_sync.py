"""`sync`: the lists of many projects, each down to its mark, into one database."""

import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import attrs

from plangrep_async._bulk import JobStream
from plangrep_async._checks import check_hook
from plangrep_async._ids import ProjectIds
from plangrep_async._progress import ProjectOutcome
from plangrep_async.client import AsyncPlangrep
from plangrep_async.errors import InvalidResponse, NotFound, printable
from plangrep_async.models import Job, JobStatus

from ._ids import looked_up
from ._rows import Row, row_of, size_of, to_text
from ._store import Known, Store
from ._worker import Worker

_MOST_ROWS = 1_000  # that are held at once, of all projects together
_MOST_CHARACTERS = 1 << 20  # in them

Watch = Callable[[JobStream], AbstractContextManager[object]]


@attrs.frozen(kw_only=True)
class SyncReport:
    """What a run has done."""

    projects: int
    """Projects that are up to date now."""
    jobs: int
    """Jobs that were read of them; most of these are stored already, except in a first run."""
    new: int
    """Jobs of them that were not stored before."""
    changed: int
    """Jobs of them that were stored otherwise, or as gone."""
    gone: int
    """Jobs that were found not to be listed any more."""
    superseded: int
    """Projects that another run stored meanwhile, and which are as that one left them."""
    bytes: int
    """Bytes of lists that were downloaded, unpacked."""
    failures: Mapping[str, Exception]
    """Which projects failed, and why. They are as they were before the run."""


async def sync(
    client: AsyncPlangrep,
    path: str | os.PathLike[str],
    project_ids: Iterable[str] | AsyncIterable[str] | None = None,
    *,
    full: bool = False,
    with_result_url: bool = False,
    watch: Watch = nullcontext,
) -> SyncReport:
    """Bring a local SQLite database up to date with the jobs of projects, or of all there are.

    The file is made where there is none. Of each list only the head is downloaded, down to the
    newest job below which all are stored and terminal. Each project is stored by one transaction
    at the end of its list, so that whatever ends a run, the next one has nothing to repair. A
    project that fails stops no other one. Several runs may use one file at the same time: what one
    has read, another one does not undo. Memory does not grow with the number of jobs.

    Jobs that are not listed any more are kept, with the time in `gone_at`; so are projects that
    answer 404, which are failures besides. Jobs below the mark are not looked at again: that they
    are gone is seen by a `full` run only.

    - `full`: read every list to its end.
    - `with_result_url`: store each `resultUrl` that is read. It is a secret, for it has a token;
      without this option it is not stored, and is removed from a job that is read. The file has
      the permissions that the system gives to a new one: nothing special.
    - `watch`: is called with the `JobStream` of the run, and gives a context manager that is open
      while the jobs come, as to show the stream's `progress`.

    Raises `ConfigurationError` for a file that is no mirror or of a newer version, `MirrorError`
    where the database fails (what was stored stays), and what listing the projects raises.
    """
    check_hook("watch", watch, "a JobStream")
    async with Worker(Path(path)) as worker:
        if project_ids is None:
            listed = {project.id: None async for project in client.list_projects()}
            await worker.do(lambda store: store.note_listed(listed.keys(), _now()))
            project_ids = listed
        run = _Run(worker, full=full, with_result_url=with_result_url)
        return await run.read(client, ProjectIds(project_ids), watch)


@attrs.define
class _Project:
    """One whose list is being read."""

    known: Known
    jobs: int = 0
    oldest: datetime | None = None
    """When the last job that came was created."""
    problem: str | None = None
    """Why the list cannot be stored."""


class _Run:
    """What one call of `sync` keeps in mind: some rows, the projects being read, and figures."""

    def __init__(self, worker: Worker, *, full: bool, with_result_url: bool) -> None:
        self._worker = worker
        self._is_full = full
        self._with_result_url = with_result_url
        self._open: dict[str, _Project] = {}
        self._marks: dict[str, Job] = {}
        self._rows: list[Row] = []
        self._characters = 0
        self._failures: dict[str, Exception] = {}
        self._projects = self._superseded = 0
        self._jobs = self._new = self._changed = self._gone = 0

    async def read(self, client: AsyncPlangrep, ids: ProjectIds, watch: Watch) -> SyncReport:
        """Read all lists and store them."""
        async with client.list_jobs_many(
            looked_up(ids, self._look_up),
            on_error="collect",
            after_job=self._marks,
            on_project_end=self._end,
        ) as stream:
            with watch(stream):
                async for job in stream:
                    self._take(job)
                    if len(self._rows) >= _MOST_ROWS or self._characters >= _MOST_CHARACTERS:
                        await self._stage()
            return self._report(stream.progress.bytes)

    async def _look_up(self, project_id: str) -> None:
        known = await self._worker.do(lambda store: store.look_up(project_id))
        if self._is_full:
            known = known.without_mark()
        if known.mark_id is not None:
            self._marks[project_id] = _mark(project_id, known.mark_id, known.mark_time)
        self._open[project_id] = _Project(known)

    def _take(self, job: Job) -> None:
        """Keep a job for the next rows to be staged."""
        project = self._open.get(job.project_id)
        if project is None or project.problem is not None:
            return  # the list it is in has too few jobs of its own project
        project.jobs += 1
        if project.oldest is not None and job.created_at > project.oldest:
            project.problem = "its jobs do not come from new to old"
            return
        project.oldest = job.created_at
        try:
            row = row_of(job, with_result_url=self._with_result_url)
        except Exception as error:  # noqa: BLE001  # of what a converter of the caller's made
            project.problem = f"job {printable(job.id)}: {type(error).__name__}"
            return
        self._rows.append(row)
        self._characters += size_of(row)

    async def _stage(self) -> None:
        """Put the rows at hand where they take no memory."""
        stage = _staging(self._rows)  # an error would show the rows, were they a variable here
        self._rows, self._characters = [], 0
        for project_id, problem in (await self._worker.do(stage)).items():
            self._open[project_id].problem = problem

    async def _end(self, outcome: ProjectOutcome) -> None:
        """Store a project whose list was read to its end, or forget what came of it."""
        if self._rows:
            await self._stage()
        project_id = outcome.project_id
        project = self._open.pop(project_id)
        self._marks.pop(project_id, None)
        error = outcome.error or _problem(project, outcome)
        if error is not None:
            self._failures[project_id] = error
            await self._worker.do(lambda store: store.drop(project_id))
            if isinstance(error, NotFound):
                await self._worker.do(lambda store: store.note_gone([project_id], _now()))
            return
        stored = await self._worker.do(lambda store: store.store(project_id, project.known, _now()))
        if stored is None:
            self._superseded += 1
            return
        self._projects += 1
        self._jobs += project.jobs
        self._new += stored.new
        self._changed += stored.changed
        self._gone += stored.gone

    def _report(self, downloaded: int) -> SyncReport:
        return SyncReport(
            projects=self._projects,
            jobs=self._jobs,
            new=self._new,
            changed=self._changed,
            gone=self._gone,
            superseded=self._superseded,
            bytes=downloaded,
            failures=MappingProxyType(self._failures),
        )


def _staging(rows: list[Row]) -> Callable[[Store], dict[str, str]]:
    return lambda store: store.stage(rows)


def _problem(project: _Project, outcome: ProjectOutcome) -> InvalidResponse | None:
    """Say why a list that was read to its end cannot be stored, if so."""
    problem = project.problem
    if problem is None and project.jobs != outcome.jobs:
        problem = f"of its {outcome.jobs} jobs {outcome.jobs - project.jobs} name another project"
    if problem is None:
        return None
    return InvalidResponse(
        f"the list cannot be stored: {problem}",
        project_id=outcome.project_id,
        delivered=outcome.jobs,
    )


def _mark(project_id: str, job_id: str, created: str) -> Job:
    """Make a job of what `list_jobs_many` looks at to stop there: its id and its time."""
    time = datetime.fromisoformat(created)
    return Job(
        id=job_id,
        project_id=project_id,
        status=JobStatus.COMPLETED,
        created_at=time,
        updated_at=time,
    )


def _now() -> str:
    return to_text(datetime.now(UTC))
