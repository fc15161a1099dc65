"""`mirror.sync`: what is stored is what the API showed, whatever happened in between."""

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import (
    AsyncPlangrep,
    ConfigurationError,
    Job,
    JobStream,
    NotFound,
    PermissionDenied,
    RetryPolicy,
)
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator, Fault
from plangrep_async.mirror import MirrorError, SyncReport, _schema, _store, _sync, sync
from plangrep_async.mirror._rows import Row, row_of
from plangrep_async.mirror._worker import Worker
from tests.conftest import PROJECT, QUICK, TOKEN, document, wire_job
from tests.faults.bulk import jobs_of, lists
from tests.mirror_states import CONVERTER, damage, fault_of_project, mark_of, read, rows, truth_of
from tests.raw_server import Connection, RawServer, Script, json_response, response
from tests.secrets import leaks

TERMINAL = {"completed", "completed_with_errors", "failed", "cancelled", "expired"}
Connect = Callable[..., AsyncPlangrep]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "jobs.db"


def client_of(emulator: Emulator, **options: Any) -> AsyncPlangrep:
    return AsyncPlangrep(
        emulator.api_key, base_url=emulator.base_url, **{"retry": QUICK, **options}
    )


def truths(emulator: Emulator) -> dict[str, dict[str, Job]]:
    return {name: truth_of(emulator.jobs(name)) for name in emulator.project_ids}


def listed(path: Path) -> dict[str, dict[str, Job]]:
    """Give what is stored and not gone."""
    return {
        project: {name: job for name, (job, is_gone) in jobs.items() if not is_gone}
        for project, jobs in read(path).items()
    }


def active_of(emulator: Emulator, project_id: str) -> list[dict[str, Any]]:
    return [job for job in emulator.jobs(project_id) if job["status"] not in TERMINAL]


# What is stored.


async def test_a_first_run_stores_all_there_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job of every project is there with all its fields, but for the result URLs."""
    monkeypatch.setattr(_sync, "_MOST_ROWS", 70)  # so that several times rows are staged
    async with Emulator(projects=3, jobs_per_project=200) as emulator, client_of(emulator) as c:
        report = await sync(c, path)
        assert read(path) == {
            project: {name: (job, False) for name, job in jobs.items()}
            for project, jobs in truths(emulator).items()
        }
        downloaded = sum(len(emulator.job_list_body(name)) for name in emulator.project_ids)
    assert report == SyncReport(
        projects=3,
        jobs=600,
        new=600,
        changed=0,
        gone=0,
        superseded=0,
        bytes=downloaded,
        failures={},
    )
    assert rows(path, "SELECT * FROM jobs WHERE result_url IS NOT NULL") == []
    assert damage(path) == []


async def test_a_second_run_reads_the_heads_only(path: Path) -> None:
    """Where nothing has changed, a few jobs of each list are read and nothing is written."""
    async with Emulator(projects=2, jobs_per_project=600) as emulator, client_of(emulator) as c:
        first = await sync(c, path)
        before = read(path)
        emulator.requests.clear()
        second = await sync(c, path)
        assert read(path) == before
        assert (second.new, second.changed, second.gone, second.projects) == (0, 0, 0, 2)
        looked_at = 0
        for jobs in before.values():
            mark = mark_of(jobs)
            assert mark is not None
            looked_at += sum(job.created_at >= mark for job, _ in jobs.values()) - 1
        assert second.jobs <= looked_at < 20
        assert second.bytes < first.bytes / 5


async def test_changes_are_stored_and_counted(path: Path) -> None:
    """What is born, what moves on and what vanishes above the mark is in the next run's report."""
    async with Emulator(jobs_per_project=50) as emulator, client_of(emulator) as client:
        (project,) = emulator.project_ids
        await sync(client, path)
        moved, gone = active_of(emulator, project)
        emulator.advance(moved["id"])
        emulator.remove_job(gone["id"])
        born = [emulator.add_job(project)["id"] for _ in range(3)]
        report = await sync(client, path, [project])
        assert (report.new, report.changed, report.gone) == (3, 1, 1)
        assert listed(path) == truths(emulator)
        assert set(born) < set(listed(path)[project])
        ((gone_at,),) = rows(path, "SELECT gone_at FROM jobs WHERE id = ?", gone["id"])
        ((synced_at,),) = rows(path, "SELECT synced_at FROM projects")
        assert gone_at == synced_at


async def test_a_job_that_comes_back_is_not_gone(path: Path) -> None:
    """As after an answer from an old state: the next run puts it right."""
    newest = wire_job(0, createdAt="2024-11-03T00:00:00Z")
    old = [wire_job(number) for number in range(1, 9)]
    states = [[newest, *old], old, [newest, *old]]
    scripts: list[Script] = [sends(*state) for state in states]
    async with RawServer(scripts) as server, raw_client(server) as client:
        reports = [await sync(client, path, [PROJECT]) for _ in states]
    assert [report.gone for report in reports] == [0, 1, 0]
    assert [report.changed for report in reports] == [0, 0, 1]
    assert listed(path)[PROJECT] == truth_of(states[-1])


def raw_client(server: RawServer, **options: Any) -> AsyncPlangrep:
    return AsyncPlangrep("pgk_live_tests_only", base_url=server.base_url, retry=QUICK, **options)


def sends(*jobs: dict[str, Any]) -> Script:
    async def send(conn: Connection) -> None:
        await conn.send(response(document(list(jobs))))

    return send


async def test_jobs_of_the_newest_moment_have_no_order(path: Path) -> None:
    """A job born in the moment of the newest one is found, even if it is listed below that."""
    moment = "2024-11-02T12:00:00.000Z"
    first, second = (wire_job(n, id=f"job_{n}", createdAt=moment) for n in (1, 2))
    old = [wire_job(number, createdAt="2024-11-01T00:00:00Z") for number in range(10, 14)]
    async with (
        RawServer([sends(first, *old), sends(first, second, *old)]) as server,
        raw_client(server) as client,
    ):
        await sync(client, path, [PROJECT])
        report = await sync(client, path, [PROJECT])
    assert report.new == 1
    assert listed(path)[PROJECT] == truth_of([first, second, *old])


async def test_a_job_in_progress_hides_behind_no_tie(path: Path) -> None:
    """Of two jobs of one moment the one in progress is looked at, in whatever order they come."""
    moment = "2024-11-02T12:00:00.000Z"
    done, active, ended = (
        wire_job(n, id=f"job_{n}", createdAt=moment, status=status)
        for n, status in ((1, "completed"), (2, "processing"), (2, "completed"))
    )
    newest = wire_job(0, createdAt="2024-11-03T00:00:00Z")
    states = [[newest, active, done], [newest, done, active], [newest, done, ended]]
    async with (
        RawServer([sends(*state) for state in states]) as server,
        raw_client(server) as client,
    ):
        for _ in states:
            await sync(client, path, [PROJECT])
    assert listed(path)[PROJECT] == truth_of(states[-1])


async def test_without_the_job_of_the_mark_its_time_serves(path: Path) -> None:
    """Where the mark was removed, the reading stops at the first job that is older."""
    async with Emulator(jobs_per_project=600) as emulator, client_of(emulator) as client:
        (project,) = emulator.project_ids
        first = await sync(client, path)
        mark = mark_of(read(path)[project])
        for job in list(emulator.jobs(project)):
            if datetime.fromisoformat(job["createdAt"]) == mark:
                emulator.remove_job(job["id"])
        emulator.add_job(project)
        report = await sync(client, path)
        assert (report.new, report.gone) == (1, 0)
        assert report.bytes < first.bytes / 5
        assert truths(emulator)[project].items() <= listed(path)[project].items()


async def test_a_full_run_finds_what_vanished_below_the_mark(path: Path) -> None:
    """An ordinary one does not look there, and keeps what it has."""
    async with Emulator(jobs_per_project=300) as emulator, client_of(emulator) as client:
        (project,) = emulator.project_ids
        await sync(client, path)
        victim = list(emulator.jobs(project))[-1]["id"]
        emulator.remove_job(victim)
        assert (await sync(client, path)).gone == 0
        assert victim in listed(path)[project]
        full = await sync(client, path, full=True)
        assert (full.gone, full.jobs) == (1, 299)
        assert listed(path) == truths(emulator)
        assert victim in read(path)[project]


async def test_what_is_gone_holds_no_mark_down(path: Path) -> None:
    """Once an old job in progress is not listed any more, only the head is read again."""
    done = [wire_job(number * 60) for number in range(50)]
    active = wire_job(60 * 60, status="processing")
    states = [[*done, active], done, done, done]
    async with (
        RawServer([sends(*state) for state in states]) as server,
        raw_client(server) as client,
    ):
        reports = [await sync(client, path, [PROJECT]) for _ in states]
        ((first, seen),) = rows(path, "SELECT gone_at, id FROM jobs WHERE gone_at IS NOT NULL")
    assert [report.jobs for report in reports] == [51, 50, 1, 1]
    assert [report.gone for report in reports] == [0, 1, 0, 0]
    assert seen == active["id"]
    assert first < rows(path, "SELECT synced_at FROM projects")[0][0]


async def test_the_time_of_a_gone_job_is_that_of_the_first_run_without_it(path: Path) -> None:
    """Later runs that do not see it either leave the time as it is."""
    states = [[wire_job(0), wire_job(1), wire_job(2)], [wire_job(1), wire_job(2)]]
    async with (
        RawServer([sends(*states[0]), sends(*states[1]), ...]) as server,
        raw_client(server) as client,
    ):
        await sync(client, path, [PROJECT])
        await sync(client, path, [PROJECT])
        first = rows(path, "SELECT gone_at FROM jobs WHERE id = ?", wire_job(0)["id"])
        assert (await sync(client, path, [PROJECT], full=True)).gone == 0
    assert rows(path, "SELECT gone_at FROM jobs WHERE id = ?", wire_job(0)["id"]) == first
    assert first != [(None,)]


async def test_types_and_times_are_of_one_form(path: Path) -> None:
    """Columns hold what they are declared as; times sort as texts, and SQLite can calculate."""
    jobs = [
        wire_job(0, createdAt="2024-11-02T10:00:00.000500Z", error={"code": "x", "n": [1, None]}),
        wire_job(1, createdAt="2024-11-02T10:00:00Z", expiresAt="2024-11-09T11:00:00+01:00"),
        wire_job(2, createdAt="0001-01-01T00:00:00Z", externalId="a\0b\u2028'\"😀"),
    ]
    async with RawServer([sends(*jobs)]) as server, raw_client(server) as client:
        await sync(client, path, [PROJECT])
    assert listed(path)[PROJECT] == truth_of(jobs)
    by_text = [one for (one,) in rows(path, "SELECT id FROM jobs ORDER BY created_at DESC")]
    assert by_text == [job["id"] for job in jobs]
    assert rows(path, "SELECT strftime('%Y-%m', expires_at) FROM jobs WHERE id = ?", "job_000001")
    ((days,),) = rows(path, "SELECT julianday(max(expires_at)) - julianday('2024-11-09') FROM jobs")
    assert days == pytest.approx(10 / 24)
    for name, kind in _schema.COLUMNS.items():
        declared = kind.split()[0].lower()
        found = {one for (one,) in rows(path, f"SELECT typeof({name}) FROM jobs")}  # noqa: S608
        assert found <= {declared} | ({"null"} if "NOT NULL" not in kind else set())


async def test_a_result_url_is_stored_on_demand_only(path: Path) -> None:
    """It is a secret: without the option it is nowhere in the file, and with it every one is."""
    jobs = [wire_job(number) for number in range(3)]
    async with RawServer([sends(*jobs), ...]) as server, raw_client(server) as client:
        await sync(client, path, [PROJECT])
        assert TOKEN.encode() not in b"".join(one.read_bytes() for one in path.parent.iterdir())
        await sync(client, path, [PROJECT], with_result_url=True, full=True)
        stored = rows(path, "SELECT result_url FROM jobs ORDER BY id")
        assert stored == [(job["resultUrl"],) for job in jobs]
        await sync(client, path, [PROJECT], full=True)
        assert rows(path, "SELECT count(result_url) FROM jobs") == [(0,)]


# What fails.


@pytest.mark.parametrize("bound", ["_MOST_ROWS", "_MOST_CHARACTERS"])
async def test_a_list_that_breaks_leaves_its_project_as_it_was(
    bound: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is stored, in no run; the others are, and a healthy run fetches all."""
    monkeypatch.setattr(_sync, bound, 20)  # so that some rows were staged when it broke
    async with Emulator(projects=3, jobs_per_project=150) as emulator, client_of(emulator) as c:
        broken = emulator.project_ids[1]
        cut = Fault(cut_after_bytes=70_000, times=None)
        emulator.faults[broken] = [cut]
        report = await sync(c, path)
        assert report.failures.keys() == {broken}
        assert (report.projects, report.new) == (2, 300)
        assert broken not in read(path)

        emulator.faults[broken] = []
        assert (await sync(c, path)).new == 150
        before = read(path)
        emulator.add_job(broken)
        emulator.faults[broken] = [cut]
        report = await sync(c, path, full=True)
        assert report.failures.keys() == {broken}
        assert read(path)[broken] == before[broken]
        emulator.faults[broken] = []
        await sync(c, path)
        assert listed(path) == truths(emulator)


async def test_a_project_that_is_gone_is_noted_and_kept(path: Path) -> None:
    """It is a failure, its jobs stay as they were, and when it is there again it is not gone."""
    async with Emulator(projects=2, jobs_per_project=20) as emulator, client_of(emulator) as c:
        one, other = emulator.project_ids
        await sync(c, path)
        before = read(path)
        emulator.faults[one] = [Fault(status=404)]
        report = await sync(c, path)
        assert isinstance(report.failures[one], NotFound)
        assert read(path) == before
        assert rows(path, "SELECT id FROM projects WHERE gone_at IS NOT NULL") == [(one,)]
        assert not (await sync(c, path, [one])).failures
        assert rows(path, "SELECT id FROM projects WHERE gone_at IS NOT NULL") == []

        report = await sync(c, path, ["proj_nobody", other])
        assert report.failures.keys() == {"proj_nobody"}
        assert read(path).keys() == {one, other}


async def test_a_project_that_is_not_listed_is_gone(path: Path) -> None:
    """So says the list of all projects; a run over ids says nothing of the others."""
    project = {"status": "ready", "createdAt": "2024-11-02T10:00:00Z"}
    project["updatedAt"] = project["createdAt"]
    lists = [["a", "b"], ["a"], ["a", "b"]]

    async def answer(conn: Connection) -> None:
        if conn.request.target == "/projects":
            await conn.send(json_response({"projects": [{**project, "id": n} for n in lists[0]]}))
        elif len(lists) > 1:
            await conn.send(response(document([])))
        else:
            await conn.send(json_response({}, status=403))

    gone = "SELECT id FROM projects WHERE gone_at IS NOT NULL"
    async with RawServer([answer, ...]) as server, raw_client(server) as client:
        await sync(client, path)
        del lists[0]
        await sync(client, path)
        assert rows(path, gone) == [("b",)]
        await sync(client, path, ["a"])
        assert rows(path, gone) == [("b",)]
        del lists[0]
        assert (await sync(client, path)).failures.keys() == {"a", "b"}
        assert rows(path, gone) == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([wire_job(2, pageCount=2**63)], "job job_000002: Python int too large"),
        ([wire_job(2, projectId="proj_other")], "of its 3 jobs 1 name another project"),
        ([wire_job(2, projectId="healthy")], "of its 3 jobs 1 name another project"),
        ([wire_job(0, createdAt="2024-11-03T00:00:00Z")], "from new to old"),
        ([wire_job(2, status=7)], "status"),
    ],
)
async def test_a_list_that_cannot_be_right_stops_no_other(
    bad: list[dict[str, Any]], reason: str, path: Path
) -> None:
    """Of its project nothing is stored; the failure says why."""
    healthy = [wire_job(number, projectId="healthy") for number in range(5)]

    async def answer(conn: Connection) -> None:
        if "healthy" in conn.request.target:
            await asyncio.sleep(0.05)  # so that it is being read when the other one ends
            await conn.send(response(document(healthy)))
        else:
            await conn.send(response(document([wire_job(0), wire_job(1), *bad])))

    async with RawServer([answer, ...]) as server, raw_client(server) as client:
        report = await sync(client, path, [PROJECT, "healthy"])
    assert report.failures.keys() - {"healthy"} == {PROJECT}
    assert reason in str(report.failures[PROJECT])
    assert PROJECT not in read(path)
    if "healthy" not in report.failures:  # into which the other list's job was read
        assert read(path)["healthy"].keys() == {job["id"] for job in healthy}
    else:
        assert bad[0]["projectId"] == "healthy"


async def test_what_a_converter_made_may_not_fit(path: Path) -> None:
    """A value of a user's own hook that no database takes fails its project, and no other."""
    converter = make_converter()
    latest = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    converter.register_structure_hook(datetime, lambda *_: latest)
    async with (
        RawServer([sends(wire_job(0))]) as server,
        raw_client(server, converter=converter) as client,
    ):
        report = await sync(client, path, [PROJECT])
    assert "job job_000000: OverflowError" in str(report.failures[PROJECT])
    assert read(path) == {}


async def test_times_are_stored_in_utc_whatever_a_converter_makes(path: Path) -> None:
    """So that those of clients with hooks of their own sort among the others."""
    converter = make_converter()
    zone = timezone(timedelta(hours=5))
    converter.register_structure_hook(
        datetime, lambda text, _: datetime.fromisoformat(text).astimezone(zone)
    )
    async with (
        RawServer([sends(wire_job(0))]) as server,
        raw_client(server, converter=converter) as client,
    ):
        await sync(client, path, [PROJECT])
    assert rows(path, "SELECT created_at FROM jobs") == [("2024-11-02T23:59:00.000000Z",)]


async def test_nothing_is_stored_when_the_projects_cannot_be_listed(path: Path) -> None:
    """The error of the API comes through, and the next run finds a usable file."""

    async def refuse(conn: Connection) -> None:
        await conn.send(json_response({"code": "forbidden"}, status=403))

    async with RawServer([refuse, ...]) as server, raw_client(server) as client:
        with pytest.raises(PermissionDenied):
            await sync(client, path)
    assert read(path) == {}
    async with Emulator() as emulator, client_of(emulator) as client:
        await sync(client, path)
        assert listed(path) == truths(emulator)


FOREIGN = {
    "byte": b"x",
    "text": b"a shopping list",
    "long text": b"a shopping list\n" * 1000,
    "nearly": b"SQLite format 3\0 and then nonsense" * 40,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
async def test_a_file_that_is_no_database_is_left_alone(content: bytes, path: Path) -> None:
    """It is refused before any request, and not a byte of it changes."""
    with left_alone(path, content):
        await assert_refused(path, "name another file")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("CREATE TABLE music (title)", "belongs to another program: name another file"),
        ("PRAGMA application_id = 7", "belongs to another program: name another file"),
        ("PRAGMA user_version = 3", "belongs to another program: name another file"),
        (
            f"PRAGMA application_id = {0x706C6772}; PRAGMA user_version = 2",
            r"schema is 2, this version knows 1\): upgrade plangrep-async",
        ),
    ],
)
async def test_a_database_that_is_no_mirror_of_ours_is_left_alone(
    sql: str, problem: str, path: Path
) -> None:
    """That of another program is refused, and that of a newer version says to upgrade."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
    with left_alone(path):
        await assert_refused(path, problem)


@contextmanager
def left_alone(path: Path, content: bytes | None = None) -> Iterator[None]:
    if content is not None:
        path.write_bytes(content)
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def assert_refused(path: Path, problem: str) -> None:
    async with RawServer([]) as server, raw_client(server) as client:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            await sync(client, path)
    assert str(path) in str(caught.value)


async def test_an_old_sqlite_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the interpreter has one that cannot do it, the error says which one is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 22, 0))
    async with RawServer([]) as server, raw_client(server) as client:
        with pytest.raises(ConfigurationError, match=r"needs SQLite 3\.24\.0"):
            await sync(client, path)
    assert not Path.exists(path)


async def test_where_no_file_can_be_the_error_says_which(tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there, is an error of the system."""
    async with RawServer([]) as server, raw_client(server) as client:
        with pytest.raises(MirrorError, match="unable to open") as missing:
            await sync(client, tmp_path / "no" / "jobs.db")
        with pytest.raises(MirrorError, match="unable to open"):
            await sync(client, tmp_path)
    assert isinstance(missing.value, OSError)
    assert str(tmp_path / "no") in str(missing.value)


@pytest.mark.parametrize("name", [":memory:", "file:jobs.db?mode=memory", "proj 1.db"])
async def test_a_name_is_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite would take for something else is a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    async with Emulator(jobs_per_project=3) as emulator, client_of(emulator) as client:
        await sync(client, name)
        assert listed(tmp_path / name) == truths(emulator)


async def test_an_empty_file_is_made_a_mirror(path: Path) -> None:
    """As one that was killed before its first byte, or that was made with the right permissions."""
    Path.touch(path, mode=0o600)
    async with Emulator(jobs_per_project=3) as emulator, client_of(emulator) as client:
        await sync(client, path)
        assert listed(path) == truths(emulator)


async def test_what_cannot_be_ids_is_refused(path: Path) -> None:
    """A text is no list of ids."""
    async with RawServer([]) as server, raw_client(server) as client:
        with pytest.raises(ConfigurationError, match="iterable of ids"):
            await sync(client, path, PROJECT)
        with pytest.raises(ConfigurationError, match="watch"):
            await sync(client, path, [], watch=7)  # type: ignore[arg-type]


# Others at the same time.


async def test_ids_may_come_one_by_one_and_twice(path: Path) -> None:
    """An asynchronous iterable is read while it goes on; each id is one project."""
    async with Emulator(projects=3, jobs_per_project=5) as emulator, client_of(emulator) as c:

        async def ids() -> AsyncIterator[str]:
            for name in emulator.project_ids * 2:
                yield name

        totals = set()

        @contextmanager
        def watch(stream: JobStream) -> Iterator[None]:
            totals.add(stream.progress.projects_total)
            yield
            totals.add(stream.progress.projects_total)

        report = await sync(c, path, ids(), watch=watch)
        assert (report.projects, report.jobs) == (3, 15)
        await sync(c, path, emulator.project_ids * 2, watch=watch)
        assert listed(path) == truths(emulator)
    assert totals == {None, 3, 6}


async def test_two_runs_at_once_both_succeed(path: Path) -> None:
    """Each project is stored by one of them, and the other leaves it as it is."""
    async with Emulator(projects=6, jobs_per_project=80) as emulator, client_of(emulator) as c:
        reports = await asyncio.gather(*(sync(c, path) for _ in range(3)))
        assert listed(path) == truths(emulator)
        assert damage(path) == []
    assert sum(report.new for report in reports) == 480
    assert {report.projects + report.superseded for report in reports} == {6}
    assert not any(report.failures for report in reports)


async def test_what_was_read_earlier_does_not_undo_what_was_read_later(path: Path) -> None:
    """A run whose list is older than what another one has stored since stores nothing of it."""
    old = [wire_job(number) for number in range(5)]
    new = [wire_job(9, id="job_new", createdAt="2024-11-03T00:00:00Z"), *old]
    goes_on = asyncio.Event()

    async def slowly(conn: Connection) -> None:
        data = response(document(old))
        await conn.send(data[:-100])
        await goes_on.wait()
        await conn.send(data[-100:])

    async with (
        RawServer([slowly, sends(*new)]) as server,
        raw_client(server) as client,
        raw_client(server) as other,
    ):
        earlier = asyncio.create_task(sync(client, path, [PROJECT]))
        await server.wait_until(lambda: len(server.requests) == 1)
        later = await sync(other, path, [PROJECT])
        goes_on.set()
        report = await earlier
    assert (later.projects, later.superseded) == (1, 0)
    assert (report.projects, report.superseded, report.jobs) == (0, 1, 0)
    assert listed(path)[PROJECT] == truth_of(new)


async def test_the_event_loop_goes_on_while_another_program_writes(path: Path) -> None:
    """The run waits for the lock in a thread of its own, and then stores what it has."""
    async with Emulator(jobs_per_project=20) as emulator, client_of(emulator) as client:
        await sync(client, path)
        emulator.add_job(emulator.project_ids[0])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running = asyncio.create_task(sync(client, path))
            turns = 0
            while not emulator.requests[-1].ended or turns < 50:
                await asyncio.sleep(0.001)
                turns += 1
            assert not running.done()
            other.execute("COMMIT")
            assert (await running).new == 1
        assert listed(path) == truths(emulator)


@pytest.mark.skipif(sys.platform == "win32", reason="locks belong to handles there")
async def test_no_lock_of_the_same_process_is_lost(path: Path) -> None:
    """An application may read the file while it syncs; its own connection stays protected."""
    shared = "fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002"  # the range of SQLite's readers
    program = f"import fcntl; fcntl.lockf(open({str(path)!r}, 'r+b'), {shared})"
    async with Emulator(jobs_per_project=3) as emulator, client_of(emulator) as client:
        await sync(client, path)
        with closing(sqlite3.connect(path)) as own:
            own.execute("SELECT count(*) FROM jobs").fetchone()
            await sync(client, path)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
    assert b"BlockingIOError" in errors


async def test_a_lock_that_stays_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while the run gives up; all that was stored stays, and no secret is in the error."""
    monkeypatch.setattr(_schema, "BUSY_TIMEOUT", 0.05)
    script = sends(wire_job(0), wire_job(1))
    async with RawServer([script, ...]) as server, raw_client(server) as client:
        await sync(client, path, [PROJECT])
        before = read(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(MirrorError, match="database is locked") as caught:
                await sync(client, path, [PROJECT], full=True, with_result_url=True)
    assert read(path) == before
    assert leaks(caught.value, TOKEN, "pgk_live") == []
    assert not threads_of_mirrors()


async def test_a_full_disk_shows_no_secret(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows cannot be put aside, the error has none of them, with their result URLs."""
    monkeypatch.setattr(_store, "_STAGE", "INSERT INTO temp.full SELECT 1")  # fails like a disk
    async with RawServer([sends(wire_job(0))]) as server, raw_client(server) as client:
        with pytest.raises(MirrorError, match=r"jobs\.db: no such table") as caught:
            await sync(client, path, [PROJECT], with_result_url=True)
    assert leaks(caught.value, TOKEN, "pgk_live") == []
    assert read(path) == {}


async def test_a_file_is_made_when_nobody_writes_to_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run waits for its turn to make the tables, and gives up after a while."""
    monkeypatch.setattr(_schema, "BUSY_TIMEOUT", 0.1)
    async with RawServer([sends(wire_job(0))]) as server, raw_client(server) as client:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(MirrorError, match="database is locked"):
                await sync(client, path, [PROJECT])
            monkeypatch.setattr(_schema, "BUSY_TIMEOUT", 30.0)
            running = asyncio.create_task(sync(client, path, [PROJECT]))
            await asyncio.sleep(0.05)
            assert not running.done()
            other.execute("COMMIT")
            await running
    assert listed(path)[PROJECT] == truth_of([wire_job(0)])


async def test_cancelling_twice_is_cancelling(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run waits for the end of what its thread does, it stays until that is over."""
    monkeypatch.setattr(_schema, "BUSY_TIMEOUT", 0.3)
    async with RawServer([sends(wire_job(0)), ...]) as server, raw_client(server) as client:
        await sync(client, path, [PROJECT])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running = asyncio.create_task(sync(client, path, [PROJECT]))
            await server.wait_until(lambda: len(server.requests) == 2)
            await asyncio.sleep(0.05)
            for _ in range(3):
                running.cancel()
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.CancelledError):
                await running
            assert not threads_of_mirrors()
    assert damage(path) == []


async def test_a_long_statement_does_not_hold_up_a_cancellation(path: Path) -> None:
    """What the thread is at is interrupted, and the block is left when it has ended."""
    long = """
        WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 5e7)
        SELECT max(x) FROM n"""
    begun, problems = threading.Event(), list[str]()

    def count(store: _store.Store) -> None:
        begun.set()
        try:
            store._db.execute(long).fetchone()
        except sqlite3.OperationalError as error:
            problems.append(str(error))

    async def work() -> None:
        async with Worker(path) as worker:
            await worker.do(count)

    running = asyncio.create_task(work())
    await asyncio.to_thread(begun.wait)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert problems == ["interrupted"]
    assert not threads_of_mirrors()


def test_nothing_is_left_aside(path: Path) -> None:
    """What was put aside for a project goes when it is stored, given up, or left to another run."""
    store = _store.Store(path)
    job = CONVERTER.structure(wire_job(0), Job)
    for end in (
        lambda: store.drop(PROJECT),
        lambda: store.store(PROJECT, store.look_up(PROJECT), "now"),
        lambda: store.store(PROJECT, _store.Known(7), "now"),
    ):
        store.stage([row_of(job, with_result_url=False)])
        end()
        assert store._db.execute("SELECT count(*) FROM temp.staged").fetchone() == (0,)
    store.close()


@pytest.mark.parametrize("bound", ["_MOST_ROWS", "_MOST_CHARACTERS"])
async def test_few_rows_are_held_at_once(
    bound: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the lists are: by their number, and by what they hold."""
    monkeypatch.setattr(_sync, bound, 40 if bound == "_MOST_ROWS" else 6_000)
    sizes: list[int] = []
    stage = _store.Store.stage

    def count(self: _store.Store, rows: list[Row]) -> dict[str, str]:
        sizes.append(len(rows))
        return stage(self, rows)

    monkeypatch.setattr(_store.Store, "stage", count)
    async with RawServer([lists(300), ...]) as server, raw_client(server) as client:
        await sync(client, path, ["p1", "p2", "p3"])
    assert sum(sizes) == 900
    assert max(sizes) <= 60


async def test_a_worker_works_inside_its_block_only(path: Path) -> None:
    """Outside there is no database."""
    worker = Worker(path)
    with pytest.raises(RuntimeError, match="async with"):
        await worker.do(lambda store: store.drop(PROJECT))
    async with worker:
        await worker.do(lambda store: store.drop(PROJECT))


async def test_a_run_can_be_cancelled_at_any_moment(path: Path) -> None:
    """Cancellation comes through at once, each project is whole or as it was, nothing is left."""
    names = ["p1", "p2", "p3"]
    truth = {name: truth_of(jobs_of(name, 1_000)) for name in names}
    async with RawServer([lists(1_000), ...]) as server, raw_client(server) as client:
        for delay in (0.0, 0.002, 0.01, 0.03, 0.06, 0.1, 0.15):
            running = asyncio.create_task(sync(client, path, names))
            await asyncio.sleep(delay)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            assert [file.name for file in path.parent.glob("jobs.db-*")] == []  # all is in one
            assert running.cancelled() or listed(path) == truth
            assert not threads_of_mirrors()
            assert damage(path) == []
            assert listed(path).items() <= truth.items()
            Path.unlink(path, missing_ok=True)
        await sync(client, path, names)
    assert listed(path) == truth


def threads_of_mirrors() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if "plangrep-mirror" in one.name]


async def test_several_runs_may_begin_at_once_on_no_file(path: Path) -> None:
    """Whoever comes first makes it, and the others use it."""
    async with RawServer([sends(wire_job(1)), ...]) as server:
        for _ in range(5):
            async with raw_client(server) as client:
                await asyncio.gather(*(sync(client, path, [PROJECT]) for _ in range(8)))
            assert listed(path)[PROJECT] == truth_of([wire_job(1)])
            Path.unlink(path)


# Any history.

STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from([0.0, 0.001, 60.0])),
    st.tuples(st.sampled_from(["advance", "end", "remove"]), st.integers(0, 12)),
    st.tuples(st.just("sync"), st.none()),
    st.tuples(st.just("full"), st.none()),
    st.tuples(st.just("break"), st.integers(10, 8_000)),
)


@settings(max_examples=20, deadline=None)
@given(jobs=st.integers(0, 8), steps=st.lists(STEPS, min_size=3, max_size=16))
def test_any_history_is_mirrored(jobs: int, steps: list[tuple[str, Any]]) -> None:
    """After each run the mirror is what the rule promises, and after a broken one as it was."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(jobs, [*steps, ("sync", None), ("full", None)], Path(folder) / "jobs.db"))


async def live(jobs: int, steps: list[tuple[str, Any]], path: Path) -> None:
    async with (
        Emulator(jobs_per_project=jobs) as emulator,
        client_of(emulator, retry=RetryPolicy(attempts=1)) as client,
    ):
        (project,) = emulator.project_ids
        for step, value in steps:
            there = list(emulator.jobs(project))
            job = there[value % len(there)] if there and isinstance(value, int) else None
            if step == "add":
                emulator.add_job(project, later=value)
            elif step in ("sync", "full", "break"):
                before = read(path).get(project, {})
                if step == "break":
                    emulator.faults[project] = [Fault(cut_after_bytes=value)]
                report = await sync(client, path, [project], full=step == "full")
                after = read(path).get(project, {})
                emulator.faults.clear()
                if report.failures:
                    assert step == "break"
                    assert after == before
                else:
                    truth = truth_of(emulator.jobs(project))
                    assert fault_of_project(before, after, truth, full=step == "full") is None
            elif job is not None and step == "remove":
                emulator.remove_job(job["id"])
            elif job is not None and job["status"] not in TERMINAL:
                emulator.advance(job["id"], "completed" if step == "end" else None)
