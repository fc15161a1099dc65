"""`plangrep-async jobs --format … -o FILE`: what is in the file, and when there is one."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from plangrep_async.__main__ import main
from plangrep_async.emulator import Emulator
from tests.conftest import PROJECT, TOKEN, document, wire_job
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head, response
from tests.test_cli import (
    PROGRAM,
    SURROUNDINGS,
    assert_one_line,
    call,
    sigint_for_children,
    start,
    sums,
    total_of,
    use,
)
from tests.test_cli_many import BROKEN
from tests.test_cli_terminal import terminal
from tests.test_export import rows_of

FORMATS = ["table", "json", "csv", "parquet"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)


def ids_in(path: Path, form: str) -> set[str]:
    """Give the ids of the jobs in a file."""
    if form == "parquet":
        return set(pq.read_table(path)["id"].to_pylist())
    if form == "csv":
        return {row["id"] for row in rows_of(path.read_bytes())}
    if form == "json":
        return {json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()}
    words = path.read_text("utf-8").split()
    return {word for word in words if word.startswith("job_")}


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def wait_for_bytes(folder: Path, pattern: str) -> Path:
    """Wait until there is such a file with something in it."""
    while True:
        for file in folder.glob(pattern):
            if file.stat().st_size:
                return file
        time.sleep(0.01)


@pytest.mark.parametrize("form", FORMATS)
async def test_a_file_has_all_jobs_and_the_numbers_of_the_server(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each form has every job of every project, exact sums, no secret; nothing is printed."""
    path = tmp_path / "jobs"
    async with Emulator(projects=3, jobs_per_project=100) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        called = await call(capsys, "jobs", "--all", "--format", form, "-o", str(path))
    assert called == (0, "", "")
    assert names_in(tmp_path) == {path.name}
    jobs = [job for one in emulator.project_ids for job in emulator.jobs(one)]
    assert ids_in(path, form) == {job["id"] for job in jobs}
    content = path.read_bytes()
    assert form == "parquet" or (b"token=" not in content and b"\x1b" not in content)
    credits_ = sum(job["billing"]["creditsDebited"] for job in jobs)
    if form == "table":
        assert total_of(path.read_text("utf-8").splitlines()) == sums(jobs)
    elif form == "csv":
        assert sum(int(row["credits_debited"]) for row in rows_of(content)) == credits_
    elif form == "parquet":
        assert "result_url" not in pq.read_schema(path).names
        billing = pq.read_table(path)["billing"].to_pylist()
        assert sum(one["credits_debited"] for one in billing) == credits_


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.parquet", "parquet"), ("a.CSV", "csv"), ("a.ndjson", "json"), ("a.json", "json"),
     ("a.jsonl", "json"), ("a.txt", "table"), ("a", "table")],
)  # fmt: skip
async def test_the_ending_of_the_file_says_its_form(
    name: str,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Without `--format` a name that ends as files of a form do is enough, also for one project."""
    async with Emulator(jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (only,) = emulator.project_ids
        assert await call(capsys, "jobs", only, "-o", str(tmp_path / name)) == (0, "", "")
    assert ids_in(tmp_path / name, form) == {job["id"] for job in emulator.jobs(only)}


@pytest.mark.parametrize("name", ["jobs.csv.gz", "jobs.xlsx", "jobs.pq", "jobs.\x1b"])
async def test_an_ending_that_is_not_known_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nobody gets a table for an `.xlsx`: one line names what is known, and `--format` decides."""
    async with Emulator(jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "jobs", "--all", "-o", str(tmp_path / name))
        assert (code, output) == (2, "")
        assert_one_line(errors)
        assert ".csv, .parquet" in errors
        assert "\x1b" not in errors
        assert names_in(tmp_path) == set()
        assert not emulator.requests
        said = ("--format", "csv", "-o", str(tmp_path / name))
        assert await call(capsys, "jobs", "--all", *said) == (0, "", "")
    assert len(ids_in(tmp_path / name, "csv")) == 10


async def test_json_is_short_for_a_format(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` and `--format json` print the same, and CSV can be printed, too."""
    async with Emulator(jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        (only,) = emulator.project_ids
        short = await call(capsys, "jobs", only, "--json")
        assert await call(capsys, "jobs", only, "--format", "json") == short
        assert await call(capsys, "jobs", only, "--json", "-o", "-") == short
        code, output, errors = await call(capsys, "jobs", only, "--format", "csv")
    assert (code, errors) == (0, "")
    ids = [job["id"] for job in emulator.jobs(only)]
    assert [row["id"] for row in rows_of(output.encode())] == ids


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
async def test_result_urls_come_when_asked_for(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With `--with-result-url` every form for programs has it."""
    path = tmp_path / "jobs"

    async def one(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1)])))

    async with RawServer([one, one]) as server:
        use(monkeypatch, server.base_url)
        for options in ([], ["--with-result-url"]):
            arguments = ["jobs", PROJECT, "--format", form, "-o", str(path), *options]
            assert await call(capsys, *arguments) == (0, "", "")
            found = (
                pq.read_table(path).to_pylist() if form == "parquet" else path.read_text("utf-8")
            )
            assert (TOKEN in str(found)) == bool(options)


@pytest.mark.parametrize("form", FORMATS)
async def test_a_failed_project_leaves_the_file_as_it_was(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What would be incomplete is not put in place: the failure, and that, are told; code 1."""
    path = tmp_path / "jobs"
    path.write_bytes(b"of yesterday")
    async with Emulator(projects=3, jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        emulator.faults[emulator.project_ids[1]] = [BROKEN]
        code, output, errors = await call(
            capsys, "jobs", "--all", "--format", form, "-o", str(path)
        )
    assert (code, output) == (1, "")
    failure, file = errors.splitlines()
    assert emulator.project_ids[1] in failure
    assert "501" in failure
    assert f"{path} was not written" in file
    assert "1 of 3 projects failed" in file
    assert path.read_bytes() == b"of yesterday"
    assert names_in(tmp_path) == {path.name}


async def test_a_single_project_that_fails_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Jobs that came before the failure are in no file."""

    async def bad_third(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1), wire_job(2), wire_job(3, pageCount="7")])))

    async with RawServer(bad_third) as server:
        use(monkeypatch, server.base_url)
        path = tmp_path / "jobs.csv"
        code, output, errors = await call(capsys, "jobs", PROJECT, "-o", str(path))
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert names_in(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
async def test_a_stream_that_cannot_be_taken_back_ends_with_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`-o /dev/stdout` gives what came; the failure is told, and no file that was not written."""
    async with Emulator(projects=2, jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        whole, broken = emulator.project_ids
        emulator.faults[broken] = [BROKEN]
        # By subprocess: uvloop gives a socket for standard output, which has no name to open.
        command = [sys.executable, *PROGRAM, "jobs", "--all", "--json", "-o", "/dev/stdout"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, check=False, encoding="utf-8"
        )
    assert done.returncode == 1
    assert_one_line(done.stderr)
    assert broken in done.stderr
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert ids == [job["id"] for job in emulator.jobs(whole)]


@pytest.mark.parametrize(
    ("command", "is_opened"),
    [(["jobs"], False), (["jobs"], True), (["billing", "--by", "external-id"], False)],
    ids=["jobs", "jobs -o", "billing"],
)
async def test_csv_gives_a_terminal_no_commands(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    command: list[str],
    is_opened: bool,
) -> None:
    """A text of a server is shown with its controls escaped, and goes elsewhere as it is."""
    text = "a\x1b[2J\r\x9b31m\tb"

    async def script(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1, externalId=text)])))

    arguments = [*command, PROJECT, "--format", "csv"]
    async with RawServer([script, ...]) as server:
        use(monkeypatch, server.base_url)
        with terminal("stdout", monkeypatch) as screen:
            place = ["-o", os.ttyname(sys.stdout.fileno())] if is_opened else []
            assert await asyncio.to_thread(main, [*arguments, *place]) == 0
            assert r"a\x1b[2J\x0d\x9b31m\x09b" in screen()
        assert await asyncio.to_thread(main, arguments) == 0
    assert text.encode() in capfdbinary.readouterr().out


async def test_parquet_does_not_go_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A terminal given by its name is refused with exit code 2, and nothing is written to it."""
    use(monkeypatch, "http://127.0.0.1:9")
    with terminal("stdout", monkeypatch) as screen:
        place = os.ttyname(sys.stdout.fileno())
        code = await asyncio.to_thread(main, ["jobs", PROJECT, "--format", "parquet", "-o", place])
        assert screen() == ""
    assert code == 2
    errors = capsys.readouterr().err
    assert_one_line(errors)
    assert "terminal" in errors


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_a_run_that_is_ended_leaves_the_file_as_it_was(
    how: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C removes the half file; a killed program leaves it, under a hidden name."""
    path = tmp_path / "jobs.json"
    path.write_bytes(b"of yesterday")
    first = document([wire_job(number) for number in range(2_000)]).removesuffix(b"]}")

    async def jobs_and_silence(conn: Connection) -> None:
        await conn.send(head(headers=[CHUNKED]) + chunked([first], terminator=False))
        await conn.stall()

    async with RawServer([jobs_and_silence]) as server:
        use(monkeypatch, server.base_url)
        with sigint_for_children():
            process = await start(*PROGRAM, "jobs", PROJECT, "-o", str(path))
        hidden = await asyncio.to_thread(wait_for_bytes, tmp_path, ".jobs.json.*.tmp")
        process.send_signal(how)
        await process.communicate()
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert path.read_bytes() == b"of yesterday"
    assert names_in(tmp_path) == {path.name} | (set() if how is signal.SIGINT else {hidden.name})


@pytest.mark.parametrize("place", ["", "no/such/folder/jobs.csv"])
async def test_a_place_that_cannot_be_written_to_is_one_line(
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A folder, or one that is not there, ends with exit code 1 before anything is asked for."""
    async with Emulator(projects=2) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        for projects in (["--all"], [emulator.project_ids[0]]):
            path = tmp_path / place
            code, output, errors = await call(capsys, "jobs", *projects, "-o", str(path))
            assert (code, output) == (1, "")
            assert_one_line(errors)
            assert str(path) in errors
    assert emulator.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("form", FORMATS)
async def test_a_full_disk_is_one_line(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be written to its end is exit code 1 and one line."""
    async with Emulator(jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(
            capsys, "jobs", *emulator.project_ids, "--format", form, "-o", "/dev/full"
        )
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "No space left" in errors


async def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Parquet where pyarrow is not installed: exit code 2, the command, and no file."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    use(monkeypatch, "http://127.0.0.1:9")
    code, output, errors = await call(capsys, "jobs", PROJECT, "-o", str(tmp_path / "a.parquet"))
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert "pip install 'plangrep-async[parquet]'" in errors
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("changes", [{"pageCount": 2**63}])
async def test_a_count_that_parquet_cannot_hold_is_one_line(
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What does not fit in a column is exit code 1 and names the job; no file is left."""

    async def huge(conn: Connection) -> None:
        await conn.send(response(document([wire_job(1, **changes)])))

    async with RawServer(huge) as server:
        use(monkeypatch, server.base_url)
        path = tmp_path / "a.parquet"
        code, output, errors = await call(capsys, "jobs", PROJECT, "-o", str(path))
    assert (code, output) == (1, "")
    assert_one_line(errors)
    assert "page_count of job job_000001" in errors
    assert names_in(tmp_path) == set()
