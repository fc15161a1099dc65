"""The options that all commands share which talk to the API: the file of the key, and the log."""

import asyncio
import logging
import os
import re
import sys
from io import StringIO
from pathlib import Path

import pytest

from plangrep_async.__main__ import main
from plangrep_async.cli.access import Access, read_key
from plangrep_async.cli.verbose import log_line, with_log
from plangrep_async.emulator import Emulator, Fault, Limits
from plangrep_async.errors import ConfigurationError
from tests.conftest import KEY, PROJECT
from tests.test_cli import PROGRAM, SURROUNDINGS, assert_one_line, call, run, use
from tests.test_cli_many import Screen, ids_by_project, ids_of

LOG = logging.getLogger("plangrep_async")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING) \S.*")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SURROUNDINGS, "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def key_file(folder: Path, content: str | bytes, mode: int = 0o600) -> str:
    """Write a file that holds a key; its path."""
    file = folder / "key"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("place", ["before", "behind"])
async def test_the_key_may_come_from_a_file(
    end: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The key of the file is used and not that of the environment; its line end is none of it."""
    async with Emulator(jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url, "pgk_live_of_the_environment")
        option = ["--api-key-file", key_file(tmp_path, emulator.api_key + end)]
        arguments = [*emulator.project_ids, "--json"]
        arguments = [*option, *arguments] if place == "before" else [*arguments, *option]
        code, output, errors = await call(capsys, "jobs", *arguments)
    assert (code, errors) == (0, "")
    assert output.count("\n") == 5


async def test_the_key_may_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell makes of `<(pass show plangrep)` is read once, and serves all requests."""
    async with Emulator(projects=3, jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url)
        program = " ".join((f'"{sys.executable}"', *PROGRAM, "jobs --all --json --api-key-file"))
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"{program} <(echo {emulator.api_key})"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await shell.communicate()
    assert (shell.returncode, errors) == (0, b"")
    assert ids_by_project(output.decode()) == ids_of(emulator, *emulator.project_ids)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        (f"{KEY}\n\n", "visible ASCII only"),
        (f" {KEY}", "visible ASCII only"),
        (f"\ufeff{KEY}", "visible ASCII only"),
        (b"\xff\xfe" + KEY.encode("utf-16-le"), "visible ASCII only"),
        (f"{KEY}" * 500, "too long"),
    ],
)
async def test_a_file_that_holds_no_key_is_one_line(
    content: str | bytes,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, what is wrong, and nothing of what is in the file."""
    use(monkeypatch, "http://127.0.0.1:9")
    code, output, errors = await call(
        capsys, "jobs", PROJECT, "--api-key-file", key_file(tmp_path, content)
    )
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert hint in errors
    assert "pgk_" not in errors


@pytest.mark.parametrize(
    ("name", "hint"),
    [(KEY, "No such file"), (".", "Is a directory"), ("/dev/zero", "too long")],
)
async def test_a_file_that_cannot_be_read_is_one_line(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and the reason, without the name: it may be the key, given by mistake."""
    use(monkeypatch, "http://127.0.0.1:9")
    code, output, errors = await call(capsys, "jobs", PROJECT, "--api-key-file", name)
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert "--api-key-file" in errors
    assert hint in errors
    assert KEY not in errors


def test_no_error_is_behind_the_one_of_a_file() -> None:
    """The system's would have the name of the file, which may be the key."""
    with pytest.raises(ConfigurationError) as caught:
        read_key(Path(KEY))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.skipif(os.name != "posix", reason="needs the rights of files")
async def test_a_file_that_everybody_may_read_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is used all the same: container platforms mount secrets like that."""
    async with Emulator(jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url)
        file = key_file(tmp_path, emulator.api_key, mode=0o644)
        code, output, errors = await call(
            capsys, "jobs", *emulator.project_ids, "--json", "--api-key-file", file
        )
    assert (code, output.count("\n")) == (0, 5)
    assert_one_line(errors)
    assert "chmod 600" in errors
    assert emulator.api_key not in errors


@pytest.mark.parametrize("command", ["jobs", "current"])
async def test_commands_that_reach_the_api_take_the_options(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The key of a file is used by each of them, and `--verbose` shows their requests."""
    async with Emulator(projects=2, jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url)
        options = ["--api-key-file", key_file(tmp_path, emulator.api_key), "--verbose"]
        code, _, errors = await call(capsys, command, "--all", *options)
        assert [request.status for request in emulator.requests] == [200] * 3
    assert code == 0
    assert errors.count(": 200 after ") == 3


def test_access_does_not_show_the_key() -> None:
    """Neither it nor its client has the key in its `repr`."""
    access = Access(KEY)
    assert KEY not in repr(access) + repr(access.client())


async def test_a_key_is_no_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no option for the key itself: all users of a machine see the arguments."""
    code, _, errors = await call(capsys, "jobs", PROJECT, "--api-key", "x")
    assert code == 2
    assert_one_line(errors)
    assert "--api-key" in errors


async def test_verbose_logs_every_request_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request and each retry is a line of standard error, with its time and no secret."""
    async with Emulator(projects=2, jobs_per_project=20) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        broken, _ = emulator.project_ids
        emulator.faults[broken] = [Fault(status=503)]
        code, output, errors = await run(*PROGRAM, "jobs", "--all", "--json", "--verbose")
        asked = [request.path for request in emulator.requests]
    assert code == 0
    assert ids_by_project(output) == ids_of(emulator, *emulator.project_ids)
    lines = errors.splitlines()
    assert all(map(LOG_LINE.fullmatch, lines)), lines
    for path in set(asked):
        assert sum(f"{path}: 200 after " in text for text in lines) == 1
    assert sum("503" in text for text in lines) == 2  # the answer, and the wait for another one
    assert emulator.api_key not in errors
    assert "token=" not in errors


async def test_without_verbose_nothing_is_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with `--verbose` leaves nothing behind: the next one is as silent as ever."""
    async with Emulator(jobs_per_project=5) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        handlers, level = [*LOG.handlers], LOG.level
        loud = await call(capsys, "jobs", *emulator.project_ids, "--json", "--verbose")
        quiet = await call(capsys, "jobs", *emulator.project_ids, "--json")
    assert loud[2] != ""
    assert quiet == (0, loud[1], "")
    assert (LOG.handlers, LOG.level) == (handlers, level)


async def test_the_log_and_a_picture_share_a_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line of the log never stands inside the picture, which comes back below it."""
    monkeypatch.setenv("COLUMNS", "100")
    screen = Screen()
    before: list[bool] = []  # whether there was a picture when a line was written

    class Watched(Screen):
        def write(self, text: str) -> int:
            if "DEBUG" in text:
                before.append(screen.has_picture)
            return screen.write(text)

    limits = Limits(latency=0.15)
    saved = tmp_path / "jobs.ndjson"
    async with Emulator(projects=3, jobs_per_project=5, limits=limits) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with saved.open("w", encoding="utf-8") as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            patch.setattr(sys, "stderr", Watched())
            code = await asyncio.to_thread(
                main, ["jobs", "--all", "--json", "--verbose", "--max-concurrency", "1"]
            )
    assert code == 0
    assert len(before) >= 8
    assert not any(before)
    assert not screen.has_picture
    assert screen.pictures >= 3  # the first, and one after each answer


async def test_the_log_and_the_counter_share_a_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The counter of one project's jobs gives way to a line of the log, and goes on."""
    monkeypatch.setenv("COLUMNS", "100")
    screen = Screen()
    async with Emulator(jobs_per_project=1500) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with (
            (tmp_path / "jobs.ndjson").open("w", encoding="utf-8") as file,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", file)
            patch.setattr(sys, "stderr", screen)
            code = await asyncio.to_thread(
                main, ["jobs", *emulator.project_ids, "--json", "--verbose"]
            )
    assert code == 0
    shown = screen.getvalue()
    assert "1,500 jobs" in shown
    for line in re.findall(r"[^\n]*DEBUG[^\n]*", shown):
        assert LOG_LINE.search(line)
        assert "jobs\x1b" not in line
    assert not screen.has_picture


def record(message: str, *arguments: object) -> logging.LogRecord:
    return LOG.makeRecord("plangrep_async", logging.INFO, "", 0, message, arguments, None)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"GET https://h/projects/{KEY}/jobs: 404", "GET https://h/projects/pgk_…/jobs: 404"),
        ("https://h/a?token=canary&x=1 failed", "https://h/a?… failed"),
        ("two\nlines\x1b[2J", "two\\nlines\\x1b[2J"),
        ("100 %", "100 %"),
    ],
)
def test_a_line_is_harmless(message: str, expected: str) -> None:
    """Keys, queries and control characters are taken out, whoever wrote the message."""
    line = log_line(record(message))
    assert LOG_LINE.fullmatch(line)
    assert line.endswith(f"Z INFO {expected}")


async def test_a_log_that_nobody_reads_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard error is a closed pipe, the work is done all the same."""

    class Closed(StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    async def work() -> int:
        LOG.debug("a line")
        return 7

    monkeypatch.setattr(sys, "stderr", Closed())
    assert await with_log(work()) == 7
