"""What the command line shows on a terminal, and where it counts while it works."""

import asyncio
import os
import pty
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len

from plangrep_async.__main__ import main
from plangrep_async.cli.jobs import parse_time
from plangrep_async.cli.table import JobTable, fit
from plangrep_async.cli.terminal import make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.converter import make_converter
from plangrep_async.emulator import Emulator
from plangrep_async.models import Job
from tests.conftest import wire_job

MOVES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
CONVERTER = make_converter()
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def terminal(stream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Put a pseudo-terminal in the place of `sys.stdout` or `sys.stderr`.

    Gives a function that closes it and returns all that was written to it.
    """
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 4096):
                pieces.append(piece)
        except OSError:
            pass  # Linux says so when the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    screen = os.fdopen(theirs, "w", encoding="utf-8")

    def close() -> str:
        screen.close()
        reader.join()
        return b"".join(pieces).decode().replace("\r\n", "\n")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, stream, screen)
            yield close
    finally:
        close()
        os.close(ours)


def job(number: int = 1, **changes: object) -> Job:
    return CONVERTER.structure(wire_job(number, **changes), Job)


def line_of(one: Job) -> str:
    """Write a job's line to what is no terminal."""
    output = StringIO()
    JobTable(make_console(output)).write(one)
    return output.getvalue()


@pytest.mark.parametrize("columns", [80, 200])
async def test_the_demo_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal; there are colours, and progress that leaves no trace."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with terminal("stdout", monkeypatch) as screen:
        code = await asyncio.to_thread(main, ["demo", "--jobs", "20"])
        shown = screen()
    assert code == 0
    assert "\x1b[32mcompleted" in shown
    assert "of 100 projects" in shown
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h")  # the cursor is back
    lines = [MOVES.sub("", line) for line in re.split(r"[\r\n]", shown)]
    assert max(map(cell_len, lines)) <= columns
    header = next(line for line in lines if line.startswith("project "))
    assert ("job" in header.split()) == (columns >= 153)


@pytest.fixture
async def one_project(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Serve a project, and point the program at it."""
    async with Emulator(jobs_per_project=30) as emulator:
        monkeypatch.setenv("PLANGREP_BASE_URL", emulator.base_url)
        monkeypatch.setenv("PLANGREP_API_KEY", emulator.api_key)
        yield emulator.project_ids[0]


async def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch, one_project: str) -> None:
    """With `NO_COLOR` set, a terminal gets no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("stdout", monkeypatch) as screen:
        await asyncio.to_thread(main, ["jobs", one_project])
        shown = screen()
    assert "completed" in shown
    assert {code for code in COLOURS.findall(shown) if re.search(r"[349]\d", code)} == set()


async def test_a_pipe_gets_no_colour_even_when_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_project: str
) -> None:
    """What is piped has neither colours nor a bar, `FORCE_COLOR` or not."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert await asyncio.to_thread(main, ["jobs", one_project]) == 0
    output = capsys.readouterr().out
    assert "completed" in output
    assert "\x1b" not in output


async def test_rows_take_the_place_of_the_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, `jobs` counts until the first row comes, and not below the rows."""
    async with Emulator(jobs_per_project=400) as emulator:
        monkeypatch.setenv("PLANGREP_BASE_URL", emulator.base_url)
        monkeypatch.setenv("PLANGREP_API_KEY", emulator.api_key)
        with terminal("stdout", monkeypatch) as screen:
            code = await asyncio.to_thread(main, ["jobs", emulator.project_ids[0]])
            shown = screen()
    assert code == 0
    assert shown.index("0 jobs") < shown.index("\x1b[?25h") < shown.index("status")
    lines = [MOVES.sub("", line) for line in shown[shown.index("status") :].splitlines()]
    assert max(map(cell_len, lines)) <= 80
    assert "total" in lines[-3]


async def test_output_that_is_saved_is_counted_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """While JSON goes to a file, the terminal shows how many jobs have come, the file only JSON."""
    saved = tmp_path / "jobs.ndjson"
    async with Emulator(jobs_per_project=3000) as emulator:
        monkeypatch.setenv("PLANGREP_BASE_URL", emulator.base_url)
        monkeypatch.setenv("PLANGREP_API_KEY", emulator.api_key)
        with (
            saved.open("w", encoding="utf-8") as file,
            terminal("stderr", monkeypatch) as screen,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", file)
            code = await asyncio.to_thread(main, ["jobs", emulator.project_ids[0], "--json"])
            shown = screen()
    assert code == 0
    assert "3,000 jobs" in shown
    lines = saved.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3000
    assert all(line.startswith('{"id":"job_') for line in lines)


def test_numbers_stand_in_columns() -> None:
    """Numbers are right-aligned and have separators, whatever stands to the left of them."""
    lines = [
        line_of(job(1, status=status, pageCount=12_345, billing={"creditsDebited": 1_234_567}))
        for status in ("completed", "blocked_insufficient_credits", "brand_new", "状態")
    ]
    ends = {cell_len(line[: line.index("12,345") + 6]) for line in lines}
    assert len(ends) == 1
    assert all("   12,345  1,234,567  2024-11-02 23:59" in line for line in lines)


def test_a_pipe_gets_ids_and_statuses_whole() -> None:
    """What is piped is cut nowhere, however long the texts are that a server sends."""
    status, job_id, name = "s" * 40, "job_" + "i" * 60, "n" * 150
    one = job(id=job_id, status=status, files=[{"id": "f", "fileName": name, "status": ""}])
    line = line_of(one)
    assert line.split()[0] == status
    assert line.split()[-2:] == [job_id, name]


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], "-"), (["plan.pdf"], "plan.pdf"), (["平面図.pdf", "b", "c"], "平面図.pdf +2")],
)
def test_files_are_named_and_counted(names: list[str], expected: str) -> None:
    """The first file is named, the others are counted."""
    files = [{"id": "f", "fileName": name, "status": "completed"} for name in names]
    assert line_of(job(files=files)).endswith(f"  {expected}\n")


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("plan", 6, "plan  "),
        ("plan", 4, "plan"),
        ("planning", 4, "pla…"),
        ("平面図", 6, "平面図"),
        ("平面図", 5, "平面…"),
        ("平面図", 4, "平 …"),
    ],
)
def test_text_is_fitted_by_cells(text: str, width: int, expected: str) -> None:
    """Text is padded or cut to the cells it takes, not to its number of characters."""
    assert fit(text, width) == expected
    assert cell_len(fit(text, width)) == width


def test_unknown_statuses_are_summed_together() -> None:
    """However many statuses a server invents, the totals do not grow, and lose no job."""
    totals = Totals()
    groups = len(totals.by_status)
    for number in range(500):
        totals.add(job(number, status=f"invented_{number}"))
    assert len(totals.by_status) == groups
    labels = [line.split()[:2] for line in totals.lines() if line]
    assert ["other", "500"] in labels
    assert ["total", "500"] in labels


def test_numbers_without_end_do_no_harm() -> None:
    """Sums of more digits than Python writes end in a word, not in an error."""
    totals = Totals()
    endless = job(1, pageCount=10**4299)
    for _ in range(20):
        totals.add(endless)
    assert "huge" in "\n".join(totals.lines())
    assert "huge" in line_of(endless)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-11-02", "2024-11-02T00:00:00+00:00"),
        ("2024-11-02T09:00:00Z", "2024-11-02T09:00:00+00:00"),
        ("2024-11-02T09:00:00.250+01:00", "2024-11-02T09:00:00.250000+01:00"),
        ("2024-11-02 09:00Z", "2024-11-02T09:00:00+00:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_times_are_read_with_their_zone(text: str, expected: str) -> None:
    """A date means its midnight in UTC; a timestamp keeps the zone it is given with."""
    assert parse_time(text).isoformat() == expected
