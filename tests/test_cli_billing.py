"""`plangrep-async billing`: the server's sums, in three forms, marked if incomplete."""

import asyncio
import json
from typing import Any

import attrs
import pytest
from rich.cells import cell_len

from plangrep_async.__main__ import main
from plangrep_async.billing import Sums
from plangrep_async.emulator import Emulator
from tests.conftest import PROJECT, document, wire_job
from tests.raw_server import Connection, RawServer, response
from tests.test_billing import groups_of, sums_of
from tests.test_cli import SURROUNDINGS, assert_one_line, call, use
from tests.test_cli_many import BROKEN
from tests.test_cli_terminal import MOVES, terminal
from tests.test_export import rows_of

KEYS = ["project", "status", "month", "external-id"]
NAMES = {
    "project": "project_id",
    "status": "status",
    "month": "month",
    "external-id": "external_id",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)


def numbers(sums: Sums) -> list[str]:
    return [f"{number:,}" for number in attrs.astuple(sums)]


@pytest.mark.parametrize("by", KEYS)
async def test_every_form_has_the_numbers_of_the_server(
    by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table, CSV and JSON have the same groups, whose sums are those of the server's own jobs."""
    async with Emulator(projects=3, jobs_per_project=150, seed=2) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        found = {
            form: await call(capsys, "billing", "--all", "--by", by, "--format", form)
            for form in ("table", "csv", "json")
        }
    jobs = [job for one in emulator.project_ids for job in emulator.jobs(one)]
    groups = {key: sums for (key,), sums in groups_of(jobs, by.replace("-", "_")).items()}
    total = sums_of(jobs)
    assert all((code, errors) == (0, "") for code, _, errors in found.values())

    head, *lines, last = found["table"][1].splitlines()
    assert head.split() == [by, "jobs", "pages", "successful", "credits"]
    assert last.split() == ["total", *numbers(total)]
    expected = {key or "(none)": numbers(sums) for key, sums in groups.items()}
    assert {line.rsplit(maxsplit=4)[0]: line.rsplit(maxsplit=4)[1:] for line in lines} == expected

    rows = rows_of(found["csv"][1].encode())
    assert [row.pop("complete") for row in rows] == ["true"] * len(groups)
    keys = [row.pop(NAMES[by]) or None for row in rows]
    assert {key: Sums(**{n: int(v) for n, v in row.items()}) for key, row in zip(
        keys, rows, strict=True
    )} == groups  # fmt: skip

    (line,) = found["json"][1].splitlines()
    facts = json.loads(line)
    assert (facts["complete"], facts["failed"]) == (True, [])
    assert facts["total"] == wire(total)
    name = {"project": "projectId", "external-id": "externalId"}.get(by, by)
    assert facts["groups"] == [{name: key} | wire(groups[key]) for key in keys]


def wire(sums: Sums) -> dict[str, int]:
    return {
        "jobs": sums.jobs,
        "pageCount": sums.page_count,
        "successfulPageCount": sums.successful_page_count,
        "creditsDebited": sums.credits_debited,
    }


async def test_lines_are_in_a_useful_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Statuses come as a job goes through them, unknown ones behind; other keys by their text."""
    jobs = [
        wire_job(number, status=status, externalId=external_id)
        for number, (status, external_id) in enumerate(
            [("paused", None), ("failed", "b"), ("completed", "a"), ("uploading", "\x1b[31m")]
        )
    ]

    async def serve(conn: Connection) -> None:
        await conn.send(response(document(jobs)))

    async with RawServer([serve, serve]) as server:
        use(monkeypatch, server.base_url)
        _, by_status, _ = await call(capsys, "billing", PROJECT, "--by", "status")
        _, by_id, _ = await call(capsys, "billing", PROJECT, "--by", "external-id")
    statuses = ["uploading", "completed", "failed", "paused"]
    assert [line.split()[0] for line in by_status.splitlines()[1:-1]] == statuses
    ids = ["\\x1b[31m", "a", "b", "(none)"]
    assert [line.split()[0] for line in by_id.splitlines()[1:-1]] == ids


@pytest.mark.parametrize("by", ["project", "external-id"])
@pytest.mark.parametrize("columns", [40, 60, 80, 160])
async def test_the_table_fits_the_terminal(
    by: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal no line is too wide: ids are cut, those of projects so that they differ."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    async with Emulator(projects=3, jobs_per_project=90, seed=2) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        with terminal("stdout", monkeypatch) as screen:
            assert await asyncio.to_thread(main, ["billing", "--all", "--by", by]) == 0
            shown = MOVES.sub("", screen())
    lines = [line for line in shown.splitlines() if line.strip()]
    lines = lines[next(n for n, line in enumerate(lines) if line.startswith(by[:7])) :]
    if columns > 40:
        assert max(map(cell_len, lines)) < columns
    if by == "project":
        labels = [line.split()[0] for line in lines[1:-1]]
        ends = [label.removeprefix("…") for label in labels]
        assert [one.endswith(end) for one, end in zip(
            sorted(emulator.project_ids), ends, strict=True
        )] == [True] * 3  # fmt: skip
        assert (labels == ends) == (columns >= 80)


@pytest.mark.parametrize("by", ["project", "month"])
async def test_incomplete_sums_say_so(
    by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed project is named on standard error, each form is marked, and the code is 1."""
    async with Emulator(projects=3, jobs_per_project=10) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        broken = emulator.project_ids[1]
        emulator.faults[broken] = [BROKEN]
        found = {
            form: await call(capsys, "billing", "--all", "--by", by, "--format", form)
            for form in ("table", "csv", "json")
        }
    for code, _, errors in found.values():
        assert code == 1
        assert_one_line(errors)
        assert broken in errors
    mark = found["table"][1].splitlines()[-1]
    assert mark.startswith("INCOMPLETE: 1 of 3 projects failed")
    rows = rows_of(found["csv"][1].encode())
    facts = json.loads(found["json"][1])
    assert (facts["complete"], facts["failed"]) == (False, [broken])
    if by == "project":  # the others are complete
        expected = {one: "false" if one == broken else "true" for one in emulator.project_ids}
        assert {row["project_id"]: row["complete"] for row in rows} == expected
        assert {one["projectId"]: one["jobs"] for one in facts["groups"]}[broken] == 0
    else:
        assert {row["complete"] for row in rows} == {"false"}


async def test_a_project_without_jobs_has_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By project, each one that was asked for is there."""
    async with Emulator(projects=2, jobs_per_project=0) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        code, output, errors = await call(capsys, "billing", "--all")
    assert (code, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()[1:-1]]
    assert lines == [[one, "0", "0", "0", "0"] for one in sorted(emulator.project_ids)]


async def test_only_the_head_of_lists_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--created-after` adds up what is not older, and reads no further."""
    since = "2024-11-01"
    async with Emulator(projects=2, jobs_per_project=400) as emulator:
        use(monkeypatch, emulator.base_url, emulator.api_key)
        _, output, _ = await call(
            capsys, "billing", *emulator.project_ids, "--created-after", since, "--format", "json"
        )
    wanted: list[dict[str, Any]] = [
        job
        for one in emulator.project_ids
        for job in emulator.jobs(one)
        if job["createdAt"] >= since
    ]
    assert 0 < len(wanted) < 800
    assert json.loads(output)["total"] == wire(sums_of(wanted))


@pytest.mark.fault("S4")
@pytest.mark.parametrize("form", ["table", "csv", "json"])
async def test_sums_that_python_would_not_write_are_one_line(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers of 4,300 digits pass one by one, and their sum has more of them."""
    nines = "9" * 4300
    body = document([wire_job(number, pageCount=777_777) for number in range(2)])

    async def script(conn: Connection) -> None:
        await conn.send(response(body.replace(b"777777", nines.encode())))

    async with RawServer([script]) as server:
        use(monkeypatch, server.base_url)
        code, output, errors = await call(capsys, "billing", PROJECT, "--format", form)
    if form == "table":
        assert (code, errors) == (0, "")
        assert "huge" in output
    else:
        assert (code, output) == (1, "")
        assert_one_line(errors)
        assert "digits" in errors
