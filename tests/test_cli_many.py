"""`plangrep-async jobs` with many projects: output, progress, failures, exit codes."""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len

from plangrep_async.__main__ import main
from plangrep_async._progress import Progress
from plangrep_async.cli.fetch import describe
from plangrep_async.cli.output import TableWriter
from plangrep_async.cli.progress import ProgressDisplay, line, time_left
from plangrep_async.client import AsyncPlangrep
from plangrep_async.emulator import Emulator, Fault, Limits
from plangrep_async.errors import NotFound, ServerError
from tests.conftest import wire_job
from tests.test_cli import PROGRAM, SURROUNDINGS, assert_one_line, call, run, sums, total_of, use
from tests.test_cli_terminal import CONVERTER, MOVES, Job, terminal

BROKEN = Fault(status=501, times=None)  # which is not tried again


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SURROUNDINGS, "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def ids_by_project(output: str) -> dict[str, list[str]]:
    """Give the ids of the jobs that were printed as JSON, in their order."""
    found: dict[str, list[str]] = {}
    for text in output.splitlines():
        facts = json.loads(text)
        found.setdefault(facts["projectId"], []).append(facts["id"])
    return found


def ids_of(emulator: Emulator, *project_ids: str) -> dict[str, list[str]]:
    return {one: [job["id"] for job in emulator.jobs(one)] for one in project_ids}


async def test_all_projects_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--all` prints every job of every project once, each project's newest first."""
    async with Emulator(projects=5, jobs_per_project=60) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await run(*PROGRAM, "jobs", "--all", "--json")
    assert (code, errors) == (0, "")
    assert ids_by_project(output) == ids_of(emulator, *emulator.project_ids)
    assert "token=" not in output


async def test_several_ids_are_fetched_once_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the ids given, each is fetched once, and no other project is."""
    async with Emulator(projects=4, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        first, _, third, _ = emulator.project_ids
        code, output, errors = await call(capsys, "jobs", first, third, first, "--json")
    assert (code, errors) == (0, "")
    assert ids_by_project(output) == ids_of(emulator, first, third)
    assert len(emulator.requests) == 2


async def test_an_id_given_twice_is_one_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single project has the table of a single project, however often its id is given."""
    async with Emulator(jobs_per_project=20) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (only,) = emulator.project_ids
        code, output, _ = await call(capsys, "jobs", only, only)
    assert code == 0
    assert output.splitlines()[0].split()[0] == "status"
    assert len(emulator.requests) == 1


async def test_options_hold_for_each_project(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--created-after` and `--with-result-url` mean with many projects what they mean with one."""
    since = "2024-11-01T12:00:00+00:00"
    async with Emulator(projects=3, jobs_per_project=200) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, _ = await call(
            capsys, "jobs", "--all", "--json", "--with-result-url", "--created-after", since
        )
    wanted = {
        job["id"]: job
        for project_id in emulator.project_ids
        for job in emulator.jobs(project_id)
        if datetime.fromisoformat(job["createdAt"]) >= datetime.fromisoformat(since)
    }
    assert 0 < len(wanted) < 600
    assert code == 0
    printed = [json.loads(text) for text in output.splitlines()]
    assert {job["id"]: job for job in printed} == wanted
    assert len(printed) == len(wanted)


async def test_max_concurrency_bounds_the_requests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No more projects are fetched at once than `--max-concurrency` says, and as many are."""
    limits = Limits(latency=0.02)
    async with Emulator(projects=9, jobs_per_project=5, limits=limits) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, _, _ = await call(capsys, "jobs", "--all", "--max-concurrency", "3")
    assert code == 0
    assert emulator.most_in_flight == 3


async def test_the_table_says_whose_job_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Piped, each line begins with the project's whole id; the totals are of all projects."""
    async with Emulator(projects=3, jobs_per_project=40) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "jobs", *emulator.project_ids)
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].split()[:2] == ["project", "status"]
    printed = {
        (text.split()[0], job) for text in lines[1:121] for job in re.findall("job_.{26}", text)
    }
    wanted = {
        (one, job) for one, jobs in ids_of(emulator, *emulator.project_ids).items() for job in jobs
    }
    assert printed == wanted
    assert total_of(lines) == sums(
        [job for one in emulator.project_ids for job in emulator.jobs(one)]
    )


@pytest.mark.parametrize("columns", [80, 119, 120, 152, 153, 200])
async def test_the_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is too wide. What there is no room for is cut: the job's id, then the project's."""
    monkeypatch.setenv("COLUMNS", str(columns))
    project_id = "proj_01jasyxsz9dhck9wxccnq4a0ga"
    files = [{"id": "f", "fileName": "a plan with a long name.pdf" * 9, "status": "completed"}]
    one = CONVERTER.structure(wire_job(1, projectId=project_id, files=files), Job)
    with terminal("stdout", monkeypatch) as screen:
        output = TableWriter(sys.stdout, has_projects=True)
        output.write(one)
        shown = MOVES.sub("", screen())
    header, row = shown.splitlines()
    assert max(cell_len(header), cell_len(row)) < columns
    assert row.endswith("…")
    assert row.split()[0] == (project_id if columns >= 120 else "…nq4a0ga")
    assert ("2024-11-02 23:59" in row) == (columns >= 120)
    assert (one.id in row) == (columns >= 153)
    assert header.index("status") == row.index("completed")


async def test_failures_are_listed_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All other projects are printed, each failed one is a line of errors, and the code is 1."""
    async with Emulator(projects=4, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        first, broken, *others = emulator.project_ids
        emulator.faults[broken] = [BROKEN]
        asked = [first, "proj_\x1b[31m", broken, *others]
        code, output, errors = await call(capsys, "jobs", *asked, "--json")
    assert code == 1
    assert ids_by_project(output) == ids_of(emulator, first, *others)
    lines = sorted(errors.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith(f"plangrep-async: {broken}: ")
    assert "501" in lines[0]
    assert lines[1].startswith("plangrep-async: proj_\\x1b[31m: ")
    assert "404" in lines[1]
    assert "(project" not in errors
    assert "\x1b" not in errors
    assert emulator.api_key not in errors


async def test_the_totals_come_before_the_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table with failures has its totals all the same, of what came."""
    async with Emulator(projects=3, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        emulator.faults[emulator.project_ids[1]] = [BROKEN]
        code, output, errors = await call(capsys, "jobs", "--all")
    assert code == 1
    assert total_of(output.splitlines())[0] == "60"
    assert_one_line(errors)


async def test_no_failure_is_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's warning of failures that nobody has seen does not come on top of the list."""
    async with Emulator(projects=2, jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        emulator.faults[emulator.project_ids[0]] = [BROKEN]
        code, _, errors = await run(*PROGRAM, "jobs", "--all", "--json")
    assert code == 1
    assert_one_line(errors)


async def test_a_wrong_key_for_all_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the projects cannot be listed, one line says why, without the key."""
    async with Emulator(projects=3) as emulator:
        use(monkeypatch, emulator.base_url, "pgk_live_wrong")
        code, output, errors = await call(capsys, "jobs", "--all", "--json")
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "401" in errors
    assert "pgk_live_wrong" not in errors


async def test_an_organisation_without_projects_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--all` of nothing says so in the table, and is no line at all as JSON."""
    async with Emulator(projects=0) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        assert await call(capsys, "jobs", "--all") == (0, "no jobs\n", "")
        assert await call(capsys, "jobs", "--all", "--json") == (0, "", "")


async def test_an_impossible_id_stops_all_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty id, as of an unset variable of a shell, is refused with exit code 2."""
    async with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "jobs", emulator.project_ids[0], "")
        assert (code, output, emulator.requests) == (2, "", [])
    assert_one_line(errors)
    assert "project id" in errors


async def test_a_reader_that_leaves_stops_many_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe closed after a line, as by `head -1`, ends all downloads quietly."""
    async with Emulator(projects=4, jobs_per_project=50_000) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        program = " ".join((f'"{sys.executable}"', *PROGRAM, "jobs", "--all", "--json"))
        shell = await asyncio.create_subprocess_shell(
            f"{program} | head -1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await shell.communicate()
        assert not any(one.complete for one in emulator.requests[1:])
    assert errors == b""
    assert output.count(b"\n") == 1


def test_a_failure_keeps_what_its_error_tells() -> None:
    """The line has attempts and what was delivered, and names the project once, at its head."""
    error = ServerError(
        "it broke", status=500, project_id="proj_1", attempts=5, delivered=7, last_job_id="job_7"
    )
    plain = NotFound("not there", status=404, project_id="proj_2")
    assert describe({"proj_1": error, "proj_2": plain}) == [
        "proj_1: it broke (5 attempts, after 7 jobs, the last one job_7)",
        "proj_2: not there",
    ]


def test_a_defect_is_not_a_failure() -> None:
    """An error that is none of the library's keeps its traceback."""
    with pytest.raises(KeyError, match="ours"):
        describe({"proj_1": KeyError("ours")})


JOBS = "34,567 jobs"
LIMITS = "up to 8 at once and 9.6 requests/s"


def progress(**changes: object) -> Progress:
    facts = {
        "projects_done": 3,
        "projects_total": 12,
        "jobs": 34_567,
        "bytes": 21_340_000,
        "retries": 2,
        "in_flight": 9,
        "max_in_flight": 8,
        "requests_per_second": 9.64,
    }
    return Progress(**(facts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            f"3 of 12 projects, about 0:30 left, {JOBS}, 21.3 MB, 2 retries, {LIMITS}",
        ),
        (
            {"projects_done": 0, "jobs": 1, "bytes": 0, "retries": 1, "requests_per_second": None},
            "0 of 12 projects, 1 job, 0.0 MB, 1 retry, up to 8 at once",
        ),
        (
            {"projects_total": None},
            f"3 projects, {JOBS}, 21.3 MB, 2 retries, {LIMITS}",
        ),
    ],
)
def test_a_line_says_how_far_it_is(changes: dict[str, object], expected: str) -> None:
    """It has projects, time left, jobs, megabytes, retries and the limits, as far as known."""
    assert line(progress(**changes), 10.0) == expected


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "expected"),
    [
        (0, 12, 10, None),
        (12, 12, 10, None),
        (3, None, 10, None),
        (1, 2, 5.4, "0:05"),
        (1, 61, 1.25, "1:15"),
        (1, 3601, 1, "1:00:00"),
        (1, 101, 401.11, "11:08:31"),
    ],
)
def test_time_left_is_told_where_it_can_be(
    done: int, total: int | None, elapsed: float, expected: str | None
) -> None:
    """It is estimated from the projects done: not before the first, nor without a total."""
    assert time_left(progress(projects_done=done, projects_total=total), elapsed) == expected


async def until(is_so: Callable[[], bool]) -> None:
    """Wait, as long as a test may last."""
    while not is_so():  # noqa: ASYNC110  # what is waited for tells nobody
        await asyncio.sleep(0.001)


async def test_without_a_terminal_lines_tell_the_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard error gets a plain line every interval while the block lasts, and the rest none."""
    limits = Limits(latency=0.05)
    async with (
        Emulator(projects=3, jobs_per_project=10, limits=limits) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
        client.list_jobs_many(emulator.project_ids) as stream,
    ):
        written = StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        with ProgressDisplay(stream, line_interval=0.005) as display:
            await until(lambda: written.getvalue().count("\n") >= 2)
            async for _ in stream:
                display.make_room()
            before = written.getvalue().count("\n")
            await until(lambda: written.getvalue().count("\n") > before)
        last = written.getvalue()
        await asyncio.sleep(0.05)
        assert written.getvalue() == last
    lines = last.splitlines()
    assert lines[0] == (
        "plangrep-async: 0 of 3 projects, 0 jobs, 0.0 MB, 0 retries, up to 16 at once"
    )
    assert lines[-1].startswith("plangrep-async: 3 of 3 projects, 30 jobs, 0.0 MB, 0 retries")
    assert "\x1b" not in last
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("line_interval", [3600.0, None])
async def test_no_line_comes_before_the_first_interval(
    line_interval: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is over sooner has no line at all, nor has what asks for none."""
    async with (
        Emulator(projects=2) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
        client.list_jobs_many(emulator.project_ids) as stream,
    ):
        with ProgressDisplay(stream, line_interval=line_interval):
            jobs = [job async for job in stream]
    assert len(jobs) == 200
    assert capsys.readouterr() == ("", "")


async def test_errors_that_nobody_reads_stop_no_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where standard error is a closed pipe, the lines cease and the jobs still come."""

    class Closed(StringIO):
        writes = 0

        def write(self, text: str) -> int:
            Closed.writes += len(text) > 1  # typer tries with nothing first
            raise BrokenPipeError

    async with (
        Emulator(projects=2) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client,
        client.list_jobs_many(emulator.project_ids) as stream,
    ):
        monkeypatch.setattr(sys, "stderr", Closed())
        with ProgressDisplay(stream, line_interval=0.001):
            await until(lambda: Closed.writes > 0)
            await asyncio.sleep(0.02)
            counts = Counter([job.project_id async for job in stream])
    assert counts == dict.fromkeys(emulator.project_ids, 100)
    assert Closed.writes == 1


class Screen(StringIO):
    """A terminal that can be looked at while it is written to."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True

    @property
    def pictures(self) -> int:
        """How many there were: the cursor goes for each, and comes back after it."""
        return self.getvalue().count("\x1b[?25l")

    @property
    def has_picture(self) -> bool:
        """Whether one stands there now."""
        return self.pictures > self.getvalue().count("\x1b[?25h")


async def test_a_picture_gives_way_to_rows_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the terminal of the rows it is gone before each, and there again when none comes."""
    monkeypatch.setenv("COLUMNS", "80")
    async with (
        Emulator(projects=4, jobs_per_project=10) as emulator,
        AsyncPlangrep(emulator.api_key, base_url=emulator.base_url, max_concurrency=1) as client,
        client.list_jobs_many(emulator.project_ids) as stream,
    ):
        screen = Screen()
        monkeypatch.setattr(sys, "stdout", screen)
        with ProgressDisplay(stream) as display:
            assert "0 of 4 projects" in screen.getvalue()
            count = 0
            async for _ in stream:
                display.make_room()
                assert not screen.has_picture
                screen.write("row\n")
                count += 1
                if count in (15, 25):
                    before = screen.pictures
                    await until(lambda: screen.pictures > before)  # noqa: B023
                    assert screen.has_picture
        shown = screen.getvalue()
    assert not screen.has_picture
    assert screen.pictures >= 3
    assert shown.count("row\n") == 40
    last = shown[shown.rindex("\x1b[?25l") :]
    assert re.search(r"2 of 4 projects, about 0:\d\d left", MOVES.sub("", last))
    assert "25 jobs, 0.0 MB, 0 retries, up to 1 at once" in MOVES.sub("", last)
    lines = [MOVES.sub("", text) for text in re.split(r"[\r\n]", shown)]
    assert max(map(cell_len, lines)) <= 80


async def test_saved_output_has_its_progress_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While JSON goes to a file, the terminal shows a picture that leaves no trace."""
    saved = tmp_path / "jobs.ndjson"
    monkeypatch.setenv("COLUMNS", "60")
    async with Emulator(projects=3, jobs_per_project=50) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with (
            saved.open("w", encoding="utf-8") as file,
            terminal("stderr", monkeypatch) as screen,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", file)
            code = await asyncio.to_thread(main, ["jobs", "--all", "--json"])
            shown = screen()
    assert code == 0
    printed = ids_by_project(saved.read_text(encoding="utf-8"))
    assert printed == ids_of(emulator, *emulator.project_ids)
    assert "0 of 3 projects" in shown
    assert shown.index("\x1b[?25l") < shown.rindex("\x1b[?25h")  # the cursor is back
    assert shown.endswith("\x1b[2K")  # the last line of the picture is wiped
    lines = [MOVES.sub("", text) for text in re.split(r"[\r\n]", shown)]
    assert max(map(cell_len, lines)) <= 60


async def test_a_terminal_has_rows_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stand where the picture was, the totals after them, and the exit code is that of all."""
    monkeypatch.setenv("COLUMNS", "80")
    async with Emulator(projects=3, jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        emulator.faults[emulator.project_ids[0]] = [BROKEN]
        with (
            terminal("stdout", monkeypatch) as screen,
            terminal("stderr", monkeypatch) as errors,
        ):
            code = await asyncio.to_thread(main, ["jobs", "--all"])
            shown, complaints = screen(), errors()
    assert code == 1
    assert shown.index("0 of 3 projects") < shown.index("\x1b[?25h") < shown.index("status")
    assert shown.count(f"…{emulator.project_ids[1][-7:]}") == 10
    assert complaints.startswith(f"plangrep-async: {emulator.project_ids[0]}: ")
    assert "\x1b" not in complaints
