"""The command line as its users have it: output, exit codes, pipes, signals, secrets."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from plangrep_async.__main__ import main
from plangrep_async._version import __version__
from plangrep_async.cli.app import app
from plangrep_async.emulator import Emulator
from tests.conftest import KEY, PROJECT, document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, json_response, response

PROGRAM = ("-m", "plangrep_async")
SURROUNDINGS = (
    "PLANGREP_API_KEY",
    "PLANGREP_BASE_URL",
    "COLUMNS",
    "FORCE_COLOR",
    "NO_COLOR",
    "PYTHONASYNCIODEBUG",  # which tells of slow steps on standard error
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)


def use(monkeypatch: pytest.MonkeyPatch, base_url: str, api_key: str = KEY) -> None:
    """Point the program, here and in subprocesses, at a server."""
    monkeypatch.setenv("PLANGREP_BASE_URL", base_url)
    monkeypatch.setenv("PLANGREP_API_KEY", api_key)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@contextmanager
def sigint_for_children() -> Iterator[None]:
    """Let processes that are started here get SIGINT, even if we inherited it as ignored.

    So it is for a background job of a shell. A handler, unlike SIG_IGN, does not survive exec.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def run(*arguments: str) -> tuple[int | None, str, str]:
    """Run Python in a process of its own; its exit code, output and errors."""
    process = await start(*arguments)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the program in a thread of this process; its exit code, output and errors."""
    code = await asyncio.to_thread(main, arguments)
    return code, *capsys.readouterr()


def sums(jobs: list[dict[str, Any]]) -> list[str]:
    """Write the numbers of the line that totals these jobs."""
    pages = sum(job["pageCount"] for job in jobs)
    credits_ = sum(job["billing"]["creditsDebited"] for job in jobs)
    return [f"{number:,}" for number in (len(jobs), pages, credits_)]


def total_of(lines: list[str]) -> list[str]:
    (line,) = (line for line in lines if line.startswith("total "))
    return line.split()[1:]


def without_result_urls(jobs: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: job[name] for name in job if name != "resultUrl"} for job in jobs]


def assert_one_line(errors: str) -> None:
    assert errors.startswith("plangrep-async: ")
    assert errors.count("\n") == 1
    assert errors.endswith("\n")


async def test_the_demo_shows_what_a_strict_and_broken_server_does() -> None:
    """It says what it is, shows rows and totals, who failed and why, and how long it took."""
    code, output, errors = await run(*PROGRAM, "demo", "--jobs", "20")
    assert (code, errors) == (0, "")
    emulator = Emulator(projects=100, jobs_per_project=20)
    lines = output.splitlines()
    assert "local server" in lines[0]
    assert "documented API" in lines[0]
    assert "PLANGREP_API_KEY" in lines[0]
    assert "plangrep-async jobs PROJECT_ID" in lines[0]
    assert "100 projects" in lines[1]
    assert "40 requests a second" in lines[1]
    assert lines[3].split()[:4] == ["project", "status", "pages", "credits"]
    rows = {line.split()[0]: line for line in lines[4:12]}
    assert len(rows) == 8
    for project_id, row in rows.items():
        assert next(emulator.jobs(project_id))["id"] in row
    assert lines[12] == "… and 1,972 more"
    (failure,) = (line for line in lines if line.startswith("failed: "))
    broken = failure.split()[1].removesuffix(":")
    assert "500" in failure
    assert "attempts" in failure
    others = [one for one in emulator.project_ids if one != broken]
    assert total_of(lines) == sums([job for one in others for job in emulator.jobs(one)])
    assert "99 of 100 projects complete" in lines
    retries, refused = map(int, re.match(r"(\d+) retries, (\d+) of them", lines[-2]).groups())  # type: ignore[union-attr]
    assert retries >= refused + 5  # of the cut list, and of the project that always fails
    let_in, at_best, seconds = re.match(  # type: ignore[union-attr]
        r"(\d+) requests let in, which the limit allows in (.+) s; it took (.+) s", lines[-1]
    ).groups()
    assert int(let_in) >= 1 + 100 + 1 + 4  # the list of projects, theirs, and what was tried again
    assert float(at_best) == pytest.approx((int(let_in) - 20) / 40, abs=0.006)
    assert float(seconds) > float(at_best)
    assert "\x1b" not in output


async def test_json_is_what_the_api_sent_without_result_urls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--json` prints each job as one line, equal to the server's, but for the secret address."""
    async with Emulator(jobs_per_project=300, seed=3) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        code, output, errors = await run(*PROGRAM, "jobs", project_id, "--json")
    assert (code, errors) == (0, "")
    printed = [json.loads(line) for line in output.splitlines()]
    assert printed == without_result_urls(emulator.jobs(project_id))
    assert "平面図" in output
    assert "token=" not in output
    assert emulator.api_key not in output


async def test_result_urls_are_printed_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--with-result-url` the JSON lines equal what the server sent."""
    async with Emulator(jobs_per_project=50) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        code, output, errors = await call(capsys, "jobs", project_id, "--json", "--with-result-url")
    assert (code, errors) == (0, "")
    assert [json.loads(line) for line in output.splitlines()] == list(emulator.jobs(project_id))


async def test_the_table_has_a_line_per_job_and_totals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Piped, each job is one line that is not cut, followed by the sums; no secret is shown."""
    async with Emulator(jobs_per_project=500, seed=9) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        code, output, errors = await call(capsys, "jobs", project_id)
    assert (code, errors) == (0, "")
    jobs = list(emulator.jobs(project_id))
    lines = output.splitlines()
    for line, job in zip(lines[1:501], jobs, strict=True):
        assert line.startswith(job["status"])
        assert job["id"] in line
        assert job["createdAt"][:16].replace("T", " ") in line
        if job["files"]:
            assert job["files"][0]["fileName"].replace("\n", "\\n") in line
    assert total_of(lines) == sums(jobs)
    by_status = {line.split()[0]: line.split()[1] for line in lines[503:-3]}
    assert by_status["completed"] == f"{sum(job['status'] == 'completed' for job in jobs)}"
    assert "token=" not in output
    assert emulator.api_key not in output


async def test_only_jobs_created_after_a_time_are_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--created-after` keeps what is not older, whatever zone it is given in."""
    async with Emulator(jobs_per_project=400) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        since = "2024-11-01T12:00:00+02:00"
        code, output, _ = await call(capsys, "jobs", project_id, "--json", "--created-after", since)
    wanted = [
        job
        for job in without_result_urls(emulator.jobs(project_id))
        if datetime.fromisoformat(job["createdAt"]) >= datetime.fromisoformat(since)
    ]
    assert 0 < len(wanted) < 400
    assert (code, [json.loads(line) for line in output.splitlines()]) == (0, wanted)


async def test_a_project_without_jobs_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty list says so in the table, and is no line at all as JSON."""

    async def nothing(conn: Connection) -> None:
        await conn.send(response(document([])))

    async with RawServer(nothing) as server:
        use(monkeypatch, server.base_url)
        assert await call(capsys, "jobs", PROJECT) == (0, "no jobs\n", "")
        assert await call(capsys, "jobs", PROJECT, "--json") == (0, "", "")


async def test_a_wrong_key_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the API refuses ends with exit code 1 and a line that does not show it."""
    async with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, "pgk_live_wrong")
        code, output, errors = await run(*PROGRAM, "jobs", emulator.project_ids[0])
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "401" in errors
    assert "check the API key" in errors
    assert "pgk_live_wrong" not in errors


async def test_an_unknown_project_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A project that is not there ends with exit code 1 and its name, harmless on a terminal."""
    async with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "jobs", "proj_\x1b[31m")
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "404" in errors
    assert "proj_\\x1b[31m" in errors
    assert "\x1b" not in errors


@pytest.mark.slow
async def test_a_server_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing listens, it is tried again for seconds, then one line says so; exit code 1."""
    async with RawServer([]) as server:
        use(monkeypatch, server.base_url)
    code, output, errors = await call(capsys, "jobs", PROJECT)
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "could not connect" in errors
    assert "5 attempts" in errors


async def test_jobs_before_a_bad_one_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An element that is no job ends the list with one line, after every job before it."""

    async def bad_third(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1), wire_job(2), wire_job(3, pageCount="7")])))

    async with RawServer(bad_third) as server:
        use(monkeypatch, server.base_url)
        code, output, errors = await call(capsys, "jobs", PROJECT, "--json")
    assert code == 1
    assert [json.loads(line)["id"] for line in output.splitlines()] == ["job_000001", "job_000002"]
    assert_one_line(errors)
    assert "element 2" in errors
    assert "after 2 jobs, the last one job_000002" in errors


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        ({}, "no API key: set PLANGREP_API_KEY, or give --api-key-file FILE"),
        ({"PLANGREP_API_KEY": ""}, "PLANGREP_API_KEY"),
        ({"PLANGREP_API_KEY": KEY, "PLANGREP_BASE_URL": "http://example.com"}, "clear text"),
        ({"PLANGREP_API_KEY": KEY, "PLANGREP_BASE_URL": "example.com"}, "must look like https://"),
    ],
)
async def test_bad_configuration_is_one_line(
    environment: dict[str, str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A missing key and an address that would give it away end with exit code 2."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, output, errors = await call(capsys, "jobs", PROJECT)
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert hint in errors
    assert KEY not in errors


async def test_a_reader_that_leaves_stops_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe closed after a line, as by `head -1`, ends the program quietly and at once."""
    async with Emulator(jobs_per_project=100_000) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        program = " ".join((f'"{sys.executable}"', *PROGRAM, "jobs", project_id, "--json"))
        shell = await asyncio.create_subprocess_shell(
            f"{program} | head -1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await shell.communicate()
        (request,) = emulator.requests
    assert errors == b""
    assert output.count(b"\n") == 1
    assert json.loads(output)["id"] == next(emulator.jobs(project_id))["id"]
    assert not request.complete
    assert request.body_bytes_sent < 4_000_000  # of about 60 MB


def test_a_closed_pipe_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0, as the reader got what it wanted, and the last flush does not fail."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        code = main(["demo", "--jobs", "3"])
    assert code == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["jobs", "proj_unknown"], ["jobs", "--no-such-option"]])
def test_an_error_that_nobody_reads_is_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Where standard error is a closed pipe, a failure is no success."""
    with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        expected = main(arguments)
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            monkeypatch.setattr(sys, "stderr", pipe)
            assert main(arguments) == expected > 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Output that cannot be written ends with exit code 1 and one line."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = main(["demo", "--jobs", "3"])
    assert code == 1
    errors = capsys.readouterr().err
    assert_one_line(errors)
    assert "No space left" in errors


async def test_a_missing_standard_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Started with its standard output closed, the program says so instead of failing later."""
    monkeypatch.setattr(sys, "stdout", None)
    assert await asyncio.to_thread(main, ["demo"]) == 1
    assert_one_line(capsys.readouterr().err)


async def test_standard_error_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Started with its standard error closed, the program does its work all the same."""
    saved = tmp_path / "jobs.txt"
    async with Emulator(projects=3, jobs_per_project=2) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with saved.open("w", encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stdout", file)
            monkeypatch.setattr(sys, "stderr", None)
            codes = [
                await asyncio.to_thread(main, ["jobs", *project_ids])
                for project_ids in (emulator.project_ids[:1], [*emulator.project_ids, "proj_none"])
            ]
    assert codes == [0, 1]
    assert saved.read_text(encoding="utf-8").count("job_") == 2 + 6


async def test_ctrl_c_ends_quietly_and_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job is printed as soon as it is there; SIGINT while the next one is awaited gives 130."""
    first = document([wire_job(1)]).removesuffix(b"]}")

    async def one_job_and_silence(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([first], terminator=False))
        await conn.stall()

    async with RawServer([one_job_and_silence]) as server:
        use(monkeypatch, server.base_url)
        with sigint_for_children():
            process = await start(*PROGRAM, "jobs", PROJECT, "--json")
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["id"] == "job_000001"
        process.send_signal(signal.SIGINT)
        assert await process.communicate() == (b"", b"")
        assert process.returncode == 130
        await server.wait_closed_by_client()


@pytest.mark.parametrize("missing", ["typer", "rich"])
async def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    """Where typer or rich is not installed, exit code 2 and the command that installs them."""
    code, output, errors = await run(
        "-c",
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from plangrep_async.__main__ import main\n"
        "sys.exit(main(['demo']))",
    )
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert 'pip install "plangrep-async[cli]"' in errors


def test_another_missing_module_is_not_taken_for_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken installation is not explained away: the import error is shown as it is."""
    monkeypatch.setitem(sys.modules, "plangrep_async.cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        main(["demo"])


async def test_the_library_does_not_load_the_command_line() -> None:
    """Importing the package loads neither typer nor rich."""
    code, output, _ = await run(
        "-c", "import sys, plangrep_async; print({'typer', 'rich'} & set(sys.modules))"
    )
    assert (code, output) == (0, "set()\n")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["Usage: plangrep-async", "demo", "jobs"]),
        (["--help"], ["Usage: plangrep-async", "Example: plangrep-async demo"]),
        (["demo", "--help"], ["Usage: plangrep-async demo", "Example: plangrep-async demo"]),
        (["jobs", "--help"], ["PROJECT_ID", "--created-after", "Example: plangrep-async jobs"]),
        (["current", "--help"], ["PROJECT_ID", "--json", "Example: plangrep-async current"]),
        (["sync", "--help"], ["FILE", "--full", "Example: plangrep-async sync jobs.db --all"]),
        (["emulator", "--help"], ["--rate N", "Example: plangrep-async emulator"]),
        (["--version"], [f"plangrep-async {__version__}\n"]),
    ],
)
async def test_help_and_version(
    arguments: list[str],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Help, with an example for each command, and the version go to standard output, plainly."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, output, errors = await call(capsys, *arguments)
    assert (code, errors) == (0, "")
    for part in parts:
        assert part in output
    assert "\x1b" not in output


def test_every_command_has_an_example_of_itself() -> None:
    """The last line of a command's help can be typed as it is."""
    for command in app.registered_commands:
        assert command.callback is not None
        example = str(command.epilog).removeprefix("Example: plangrep-async ")
        assert example.split()[0] == command.callback.__name__


async def test_an_ascii_output_has_valid_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output can take ASCII only, nothing fails and the JSON says the same."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    async with Emulator(jobs_per_project=100) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (project_id,) = emulator.project_ids
        as_json = await run(*PROGRAM, "jobs", project_id, "--json")
        as_table = await run(*PROGRAM, "jobs", project_id)
    jobs = without_result_urls(emulator.jobs(project_id))
    assert [json.loads(line) for line in as_json[1].splitlines()] == jobs
    assert as_json[1].isascii()
    assert (as_table[0], as_table[2]) == (0, "")
    assert "Grundriss K\\xfcche" in as_table[1]


async def test_foreign_text_cannot_command_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters of a server are escaped in rows and in errors, and markup is just text."""
    evil = "\x1b[31m\x9b2J\r\nplan\u202e [bold]:smile:"
    rows = [
        wire_job(1, files=[{"id": "f", "fileName": evil, "status": "completed"}], externalId=evil),
        wire_job(2, id=f"job_{evil}", status=f"new_{evil}"),
    ]

    async def jobs(conn: Connection) -> None:
        await conn.send(response(document(rows)))

    async def refusal(conn: Connection) -> None:
        await conn.send(json_response({"code": evil, "message": evil}, status=403))

    async with RawServer([jobs, refusal]) as server:
        use(monkeypatch, server.base_url)
        code, output, _ = await call(capsys, "jobs", PROJECT)
        assert code == 0
        assert output.replace("\n", "").isprintable()
        assert len(output.splitlines()) == len(output.split("\n")) - 1 == 10
        assert "[bold]:smile:" in output
        code, output, errors = await call(capsys, "jobs", PROJECT)
        assert (code, output) == (1, "")
        assert_one_line(errors)
        assert errors.rstrip("\n").isprintable()


async def test_json_lines_stay_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a reader may take for a line's end, or a terminal for a command, is escaped."""
    evil = "\x85\u2028\u2029\x9b\x7f\x1b\n"

    async def one(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1, externalId=evil)])))

    async with RawServer([one]) as server:
        use(monkeypatch, server.base_url)
        _, output, _ = await call(capsys, "jobs", PROJECT, "--json")
    (line,) = output.splitlines()
    assert line.isprintable()
    assert json.loads(line)["externalId"] == evil
