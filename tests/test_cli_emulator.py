"""`plangrep-async emulator`: a server of its own, as a person at a terminal has it."""

import asyncio
import re
import shlex
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from plangrep_async import AsyncPlangrep, AuthenticationError
from plangrep_async.emulator import Emulator
from tests.test_cli import (
    PROGRAM,
    SURROUNDINGS,
    assert_one_line,
    call,
    run,
    sigint_for_children,
    start,
    total_of,
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)


class Served:
    """A running server, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, lines: list[str]) -> None:
        self.process = process
        self.lines = lines
        self.environment = dict(
            shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export ")
        )
        self.base_url = self.environment["PLANGREP_BASE_URL"]
        self.api_key = self.environment["PLANGREP_API_KEY"]

    async def stop(self, with_signal: signal.Signals) -> tuple[int | None, str, str]:
        """End it; its exit code, what it printed since, and its errors."""
        self.process.send_signal(with_signal)
        output, errors = await self.process.communicate()
        return self.process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def serving(*options: str) -> AsyncIterator[Served]:
    """Start one, and wait until it says that it serves."""
    with sigint_for_children():
        process = await start(*PROGRAM, "emulator", *options)
    try:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("plangrep-async jobs proj_"):
            line = await process.stdout.readline()
            assert line, (await process.communicate())[1].decode()
            lines.append(line.decode().rstrip("\n"))
        yield Served(process, lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_it_serves_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines that it prints do what they say, and Ctrl-C ends it with 0."""
    options = ("--projects", "2", "--jobs", "7", "--seed", "5")
    async with serving(*options) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        of_all, of_one = [shlex.split(line) for line in served.lines if "-async jobs" in line]
        assert of_all == ["plangrep-async", "jobs", "--all"]
        code, output, errors = await call(capsys, *of_all[1:])
        assert (code, errors) == (0, "")
        assert total_of(output.splitlines())[0] == "14"
        code, output, errors = await call(capsys, *of_one[1:])
        assert (code, errors, output.count("\n")) == (0, "", 7)
        code, output, errors = await served.stop(signal.SIGINT)
    assert (code, errors) == (0, "")
    assert output.strip() == "4 requests answered, 0 refused with 429"
    twin = Emulator(projects=2, jobs_per_project=7, seed=5)
    assert (served.api_key, of_one[2]) == (twin.api_key, twin.project_ids[0])
    assert served.base_url in served.lines[2]
    assert served.api_key in served.lines[3]
    assert served.lines[4:7] == ["projects  2", "jobs      7 in each", ""]


async def test_it_ends_while_somebody_reads() -> None:
    """SIGTERM ends it with 0, and a client in the middle of a list does not hold it up."""
    async with (
        serving("--jobs", "100000") as served,
        AsyncPlangrep(served.api_key, base_url=served.base_url) as client,
        aclosing(client.list_jobs(served.lines[-1].split()[2])) as jobs,
    ):
        await anext(jobs)
        code, _, errors = await served.stop(signal.SIGTERM)
    assert (code, errors) == (0, "")


@pytest.mark.slow
async def test_more_than_its_rate_is_refused() -> None:
    """With `--rate` it answers 429 to what is too much; another key is refused always."""
    async with serving("--rate", "2", "--jobs", "3") as served:
        assert "limit     2 requests a second" in served.lines
        async with AsyncPlangrep(served.api_key, base_url=served.base_url) as client:
            for _ in range(3):
                assert len([project async for project in client.list_projects()]) == 3
        async with AsyncPlangrep("pgk_live_other", base_url=served.base_url) as client:
            with pytest.raises(AuthenticationError):
                await anext(client.list_projects())
        code, output, _ = await served.stop(signal.SIGINT)
    assert code == 0
    assert re.search(r"^4 requests answered, [1-9]\d* refused with 429$", output, re.MULTILINE)


async def test_a_port_that_is_in_use_is_one_line() -> None:
    """Exit code 2, and which port it is."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, output, errors = await run(*PROGRAM, "emulator", "--port", str(port))
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert f"cannot serve on port {port}: Address already in use" in errors


@pytest.mark.parametrize(
    "arguments", [["--port", "65536"], ["--projects", "-1"], ["--rate", "0"], ["--seed", "x"]]
)
async def test_bad_usage_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be meant ends with exit code 2 and one line that names the help to read."""
    code, output, errors = await call(capsys, "emulator", *arguments)
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert arguments[0] in errors
    assert "See: plangrep-async emulator --help" in errors
