"""`plangrep-async sync`: its line, its exit codes, what it does to a file."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from plangrep_async.cli.sync import summary
from plangrep_async.emulator import Emulator, Fault, Limits
from plangrep_async.mirror import SyncReport
from tests.mirror_states import damage, read, rows, truth_of
from tests.test_cli import (
    PROGRAM,
    SURROUNDINGS,
    assert_one_line,
    call,
    sigint_for_children,
    start,
    use,
)

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "jobs.db"


async def test_a_second_run_costs_the_heads(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Two lines say what was downloaded, read, new and changed."""
    async with Emulator(projects=2, jobs_per_project=300) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        size = sum(len(emulator.job_list_body(name)) for name in emulator.project_ids)
        first = await call(capsys, "sync", str(path), "--all")
        second = await call(capsys, "sync", str(path), "--all")
    assert first == (
        0,
        (
            f"2 of 2 projects up to date, {size / 1000:,.0f} kB downloaded\n"
            "600 jobs read: 600 new, 0 changed, 0 gone\n"
        ),
        "",
    )
    code, output, errors = second
    assert (code, errors) == (0, "")
    assert output.startswith("2 of 2 projects up to date, ")
    assert output.endswith(" jobs read: 0 new, 0 changed, 0 gone\n")
    assert float(output.split()[7]) * 1000 < size / 2


async def test_only_the_ids_that_were_given_are_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Each once; those of an earlier run stay as they are."""
    async with Emulator(projects=3, jobs_per_project=20) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        one, two, three = emulator.project_ids
        await call(capsys, "sync", str(path), one)
        emulator.add_job(one)
        code, output, errors = await call(capsys, "sync", str(path), two, three, two)
        assert (code, errors) == (0, "")
        assert output.startswith("2 of 2 projects")
        state = read(path)
        assert {name: len(jobs) for name, jobs in state.items()} == {one: 20, two: 20, three: 20}


@pytest.mark.parametrize("others", [[], ["proj_2"], ["--all"]])
async def test_a_project_is_not_taken_for_the_file(
    others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Where FILE was forgotten one line says so; a database of such a name can be there."""
    monkeypatch.chdir(tmp_path)
    async with Emulator(jobs_per_project=3) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "sync", "proj_1", *others)
        assert (code, output) == (2, "")
        assert_one_line(errors)
        assert "FILE is missing" in errors
        assert os.listdir(tmp_path) == []  # noqa: PTH208
        Path.touch(tmp_path / "proj_1")
        assert (await call(capsys, "sync", "proj_1", "--all"))[0] == 0
        assert (await call(capsys, "sync", "proj_2.db", "--all"))[0] == 0


async def test_projects_that_fail_are_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A line each on standard error, the exit code is 1, and the others are stored."""
    async with Emulator(projects=3, jobs_per_project=20) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        broken = emulator.project_ids[1]
        emulator.faults[broken] = [Fault(status=501)]
        code, output, errors = await call(capsys, "sync", str(path), "--all")
        assert read(path).keys() == set(emulator.project_ids) - {broken}
    assert code == 1
    assert output.startswith("2 of 3 projects up to date, ")
    assert "\n40 jobs read: " in output
    assert_one_line(errors)
    assert broken in errors


async def test_options_reach_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """`--full`, `--with-result-url` and `--max-concurrency` do what they say."""
    limits = Limits(latency=0.02)
    async with Emulator(projects=5, jobs_per_project=40, limits=limits) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        await call(capsys, "sync", str(path), "--all", "--max-concurrency", "2")
        assert emulator.most_in_flight == 2
        assert rows(path, "SELECT count(result_url) FROM jobs") == [(0,)]
        code, output, _ = await call(
            capsys, "sync", str(path), "--all", "--full", "--with-result-url"
        )
        urls = {
            job["id"]: job["resultUrl"]
            for name in emulator.project_ids
            for job in emulator.jobs(name)
        }
    assert code == 0
    assert "\n200 jobs read: " in output
    assert dict(rows(path, "SELECT id, result_url FROM jobs")) == urls
    assert "token=" not in output


async def test_a_file_that_cannot_be_used_is_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """One of something else is exit code 2, one that cannot be opened 1; no request is sent."""
    async with Emulator() as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        note = path.with_name("note.txt")
        await asyncio.to_thread(note.write_text, json.dumps("a note"))
        code, output, errors = await call(capsys, "sync", str(note), "--all")
        assert (code, output) == (2, "")
        assert_one_line(errors)
        assert "is no database: name another file" in errors
        code, output, errors = await call(capsys, "sync", str(path / "no" / "jobs.db"), "--all")
        assert (code, output) == (1, "")
        assert_one_line(errors)
        code, output, errors = await call(capsys, "sync", str(path), "")
        assert (code, output) == (2, "")
        assert emulator.requests == []
    assert not Path.exists(path)


async def test_ctrl_c_leaves_a_whole_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 130, nothing is told, and the next run goes on from there."""
    async with Emulator(projects=2, jobs_per_project=200) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        stalled = emulator.project_ids[1]
        emulator.faults[stalled] = [Fault(stall_after_bytes=100_000)]
        with sigint_for_children():
            process = await start(*PROGRAM, "sync", str(path), "--all")
        while not await asyncio.to_thread(read, path):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        assert (process.returncode, output, errors) == (130, b"", b"")
        assert damage(path) == []
        (whole,) = emulator.project_ids[:1]
        expected = {name: (job, False) for name, job in truth_of(emulator.jobs(whole)).items()}
        assert read(path) == {whole: expected}


def test_a_line_tells_what_another_run_has_stored() -> None:
    """Those projects are counted with the others, and are no failures."""
    report = SyncReport(
        projects=3,
        jobs=1_500,
        new=20,
        changed=3,
        gone=1,
        superseded=2,
        bytes=1_234_567,
        failures={"proj_1": ValueError()},
    )
    assert summary(report) == (
        "3 of 6 projects up to date, 1,235 kB downloaded\n"
        "1,500 jobs read: 20 new, 3 changed, 1 gone\n"
        "2 projects left as another run stored them"
    )
