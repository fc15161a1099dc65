"""`plangrep-async current`: the job that each project is working on, and no more than that."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len

from plangrep_async.__main__ import main
from plangrep_async.cli.ongoing import OngoingTable, age, pages, share
from plangrep_async.cli.terminal import make_console
from plangrep_async.emulator import Emulator
from plangrep_async.models import JobStatus
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import Connection, RawServer, response
from tests.test_cli import (
    SURROUNDINGS,
    assert_one_line,
    call,
    use,
    without_result_urls,
)
from tests.test_cli_many import BROKEN
from tests.test_cli_terminal import COLOURS, MOVES, job, terminal

TERMINAL = {status.value for status in JobStatus if status.is_terminal}
NOW = datetime(2024, 11, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SURROUNDINGS, "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def truth(emulator: Emulator) -> dict[str, dict[str, Any]]:
    """Find the current job of each project that has one, in the emulator's own data."""
    found = {}
    for project_id in emulator.project_ids:
        ongoing = (one for one in emulator.jobs(project_id) if one["status"] not in TERMINAL)
        if (newest := next(ongoing, None)) is not None:
            found[project_id] = newest
    return found


async def test_the_current_job_of_each_project_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Piped, whole ids, status, creation, age and pages; projects without one are counted."""
    async with Emulator(projects=9, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "current", "--all")
        expected = truth(emulator)
    assert (code, errors) == (0, "")
    assert len(expected) == 7
    header, *lines = output.splitlines()
    assert header.split() == ["project", "job", "status", "created", "(UTC)", "for", "pages"]
    rows = {line.split()[0]: line.split() for line in lines[:7]}
    assert rows.keys() == expected.keys()
    for project_id, found in expected.items():
        created = found["createdAt"][:16].split("T")
        done = f"{found['successfulPageCount']} of {found['pageCount']}"
        assert rows[project_id][1:5] == [found["id"], found["status"], *created]
        assert rows[project_id][5].endswith("d")
        assert " ".join(rows[project_id][6:]) == (done if found["pageCount"] else "-")
    statuses = Counter(found["status"] for found in expected.values())
    assert {tuple(line.split()) for line in lines[8:-3]} == {
        (status, str(count)) for status, count in statuses.items()
    }
    assert lines[-2] == "7 of 9 projects are working on a job, 2 on none"
    assert lines[-1].endswith("MB of their lists were read")


async def test_json_is_what_the_api_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` prints each current job as a line, without its `resultUrl`, and nothing else."""
    async with Emulator(projects=5, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        some = [*emulator.project_ids[1:], emulator.project_ids[2]]
        code, output, errors = await call(capsys, "current", *some, "--json")
        expected = truth(emulator)
        assert len(emulator.requests) == 4
    expected.pop(emulator.project_ids[0])
    assert (code, errors) == (0, "")
    printed = [json.loads(line) for line in output.splitlines()]
    assert {one["projectId"]: one for one in printed} == {
        one["projectId"]: one for one in without_result_urls(iter(expected.values()))
    }
    assert len(printed) == len(expected) == 3


async def test_lists_are_read_no_further_than_they_must(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a long list only the head is sent, and of one without a current job all of it."""
    async with Emulator(projects=4, jobs_per_project=6_000) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        idle = (set(emulator.project_ids) - set(truth(emulator))).pop()
        busy = [one for one in emulator.project_ids if one != idle]
        code, output, _ = await call(capsys, "current", *busy, "--json")
        assert (code, output.count("\n")) == (0, 3)
        for request in emulator.requests:
            assert not request.complete
            assert request.body_bytes_sent < 1_500_000  # of 5.2 MB
        emulator.requests.clear()
        code, output, _ = await call(capsys, "current", idle)
        (request,) = emulator.requests
    assert request.complete
    megabytes = request.body_bytes_sent / 1e6
    assert output.splitlines() == [
        "0 of 1 projects are working on a job, 1 on none",
        f"{megabytes:,.1f} MB of their lists were read",
    ]


async def test_a_project_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are shown, each failure is a line of errors, and the exit code is 1."""
    async with Emulator(projects=4, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        broken = emulator.project_ids[0]
        emulator.faults[broken] = [BROKEN]
        code, output, errors = await call(capsys, "current", "--all")
    assert code == 1
    assert "2 of 4 projects are working on a job, 1 on none, 1 could not be asked" in output
    assert_one_line(errors)
    assert errors.startswith(f"plangrep-async: {broken}: ")
    assert "501" in errors


async def test_a_wrong_key_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the projects cannot be listed, exit code 1 and a line without the key."""
    async with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, "pgk_live_wrong")
        code, output, errors = await call(capsys, "current", "--all")
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "401" in errors
    assert "pgk_live_wrong" not in errors


@pytest.mark.parametrize("columns", [80, 120, 121, 138, 139, 200])
async def test_the_table_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is too wide, and what there is room for is there; the job's id always is."""
    monkeypatch.setenv("COLUMNS", str(columns))
    async with Emulator(projects=9, jobs_per_project=30) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with terminal("stdout", monkeypatch) as screen:
            code = await asyncio.to_thread(main, ["current", "--all"])
            shown = screen()
        expected = truth(emulator)
    assert code == 0
    assert "\x1b[33mblocked" in shown
    lines = [MOVES.sub("", line).rstrip() for line in shown.splitlines()]
    ids = [found["id"] for found in expected.values()]
    rows = {job_id: line for line in lines for job_id in ids if job_id in line}
    assert rows.keys() == set(ids)
    for line in rows.values():
        assert cell_len(line) < columns
    for project_id, found in expected.items():
        row = rows[found["id"]]
        assert row.split()[0] == (project_id if columns > 120 else f"…{project_id[-7:]}")
        assert (found["createdAt"][:10] in row) == (columns > 138)
        assert row.endswith(("-", "%") if columns <= 120 else ("-", f"of {found['pageCount']:,}"))


async def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `NO_COLOR` set, a terminal gets no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with Emulator(projects=4, jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with terminal("stdout", monkeypatch) as screen:
            await asyncio.to_thread(main, ["current", "--all"])
            shown = screen()
    assert "blocked" in shown
    assert not [code for code in COLOURS.findall(shown) if "3" in code]


async def test_foreign_text_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters and markup of a server are just text; a new status is a current one."""
    evil = "\x1b[31m[bold]\n"

    async def jobs(conn: Connection) -> None:
        rows = [wire_job(1, id=f"job_{evil}", status=f"new_{evil}", projectId=evil)]
        await conn.send(response(document(rows)))

    async with RawServer(jobs) as server:
        use(monkeypatch, server.base_url)
        code, output, _ = await call(capsys, "current", PROJECT)
    assert code == 0
    assert output.replace("\n", "").isprintable()
    assert "job_\\x1b[31m[bold]\\n" in output
    assert "other" in output


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0s"),
        (59.9, "59s"),
        (60, "1m 00s"),
        (3599, "59m 59s"),
        (3600, "1h 00m"),
        (86_399, "23h 59m"),
        (86_400, "1d 00h"),
        (100 * 86_400 - 1, "99d 23h"),
        (100 * 86_400, "100d"),
        (12_345 * 86_400, "12,345d"),
    ],
)
def test_an_age_has_two_units(seconds: float, expected: str) -> None:
    """It is rounded down, never negative, and short."""
    assert age(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [
        (0, 0, ("-", "-")),
        (0, 12, ("0%", "0 of 12")),
        (999, 1000, ("99%", "999 of 1,000")),
        (1000, 1000, ("100%", "1,000 of 1,000")),
    ],
)
def test_pages_say_how_far_it_is(done: int, total: int, expected: tuple[str, str]) -> None:
    """Before the preflight there is nothing to say; only all pages are 100%."""
    one = job(status="processing", successfulPageCount=done, pageCount=total)
    assert (share(one), pages(one)) == expected


def test_a_table_of_nothing_is_empty() -> None:
    """Without a job there is no header, and no status is counted."""
    output = StringIO()
    table = OngoingTable(make_console(output), now=NOW)
    assert (output.getvalue(), [*table.counts()]) == ("", [])


def test_statuses_are_counted_in_the_order_of_a_jobs_life() -> None:
    """All statuses that are not known are counted together, behind the others."""
    table = OngoingTable(make_console(StringIO()), now=NOW)
    for status in ("processing", "new_1", "uploading", "new_2", "processing"):
        table.write(job(status=status))
    counted = [tuple(line.split()) for line in table.counts()]
    assert counted == [("uploading", "1"), ("processing", "2"), ("other", "2")]


def test_output_that_is_saved_is_whole() -> None:
    """An output that is no terminal is cut nowhere, however long the texts of a server are."""
    output = StringIO()
    table = OngoingTable(make_console(output), now=NOW)
    one = job(projectId="proj_" + "p" * 60, id="job_" + "j" * 60, status="s" * 60)
    table.write(one)
    _, row = output.getvalue().splitlines()
    assert row.split()[:3] == [one.project_id, one.id, one.status]
