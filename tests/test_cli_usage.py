"""What cannot be meant on the command line: one line says so, and names the help to read."""

import pytest

from tests.conftest import PROJECT
from tests.test_cli import assert_one_line, call, use


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["jobs", PROJECT, "--created-after", "2024-11-02T09:00:00"], "add Z for UTC"),
        (["jobs", PROJECT, "--created-after", "yesterday"], "write 2024-11-02 or"),
        (["jobs", PROJECT, "--with-result-url"], "needs --format json"),
        (["jobs"], "Missing argument"),
        (["jobs", PROJECT, "--fast"], "--fast"),
        (["list"], "list"),
        (["demo", "--jobs", "0"], "--jobs"),
        (["demo", "--jobs", "many"], "--jobs"),
        (["jobs", "--json"], "or --all"),
        (["jobs", "proj_1", "--all"], "not both"),
        (["jobs", "proj_1", "proj_2", "--all"], "not both"),
        (["jobs", "--all", "--with-result-url"], "needs --format json"),
        (["jobs", "--all", "--max-concurrency", "0"], "--max-concurrency"),
        (["jobs", "--all", "--max-concurrency", "many"], "--max-concurrency"),
        (["jobs", PROJECT, "--format", "parquet"], "-o FILE"),
        (["jobs", PROJECT, "--format", "parquet", "-o", "-"], "-o FILE"),
        (["jobs", PROJECT, "--json", "--format", "csv"], "not both"),
        (["jobs", PROJECT, "--format", "xml"], "--format"),
        (["jobs", PROJECT, "--with-result-url", "-o", "x.txt"], "needs --format json"),
        (["jobs", PROJECT, "-o"], "-o"),
        (["sync"], "FILE"),
        (["sync", "jobs.db"], "or --all"),
        (["sync", "jobs.db", PROJECT, "--all"], "not both"),
        (["sync", "jobs.db", "--all", "--max-concurrency", "0"], "--max-concurrency"),
        (["billing"], "or --all"),
        (["billing", PROJECT, "--all"], "not both"),
        (["billing", "--all", "--by", "day"], "--by"),
        (["billing", "--all", "--format", "parquet"], "--format"),
        (["current"], "or --all"),
        (["current", PROJECT, "--all"], "not both"),
        (["current", "--all", "--max-concurrency", "0"], "--max-concurrency"),
        (["current", ""], "project id"),
    ],
)
async def test_bad_usage_is_one_line(
    arguments: list[str],
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ends with exit code 2 before anything is asked for."""
    use(monkeypatch, "http://127.0.0.1:9")
    code, output, errors = await call(capsys, *arguments)
    assert (code, output) == (2, "")
    assert_one_line(errors)
    assert hint in errors
    assert hint == "project id" or "--help" in errors
