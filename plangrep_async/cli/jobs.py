"""`plangrep-async jobs`: the jobs of a real project, as a table or as JSON lines."""

import json
import re
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import typer

from plangrep_async.cli.table import JobTable
from plangrep_async.cli.terminal import Meter, make_console
from plangrep_async.cli.totals import Totals
from plangrep_async.client import AsyncPlangrep
from plangrep_async.converter import make_converter
from plangrep_async.models import Job

# What JSON allows inside a string and a terminal, or a reader of lines, may take for a command.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")


def parse_time(text: str) -> datetime:
    """Read a date, which means its midnight in UTC, or a timestamp with a time zone."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        pass  # not a date alone
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a time: write 2024-11-02 or 2024-11-02T09:00:00Z.") from None
    if moment.utcoffset() is None:
        raise typer.BadParameter("no time zone: add Z for UTC, or an offset such as +01:00.")
    return moment


def jobs(
    project_id: Annotated[
        str, typer.Argument(metavar="PROJECT_ID", help="Such as proj_01hx9z4kqr8e7m3p5n6w2v0abc.")
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as the API has it.")
    ] = False,
    created_after: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="Stop before the first job created earlier: a date (midnight UTC), "
            "or a timestamp with an offset or Z.",
        ),
    ] = None,
    with_result_url: Annotated[
        bool,
        typer.Option(
            "--with-result-url", help="Keep resultUrl in the JSON. It is a secret: it has a token."
        ),
    ] = False,
) -> Coroutine[Any, Any, None]:
    """List the jobs of a project, newest first.

    The environment variable PLANGREP_API_KEY holds the API key. PLANGREP_BASE_URL, where it is
    set, says where the API is.
    """
    if with_result_url and not as_json:
        raise typer.BadParameter("it needs --json.", param_hint="'--with-result-url'")
    if as_json:
        return _print_json(project_id, created_after, with_result_url=with_result_url)
    return _print_table(project_id, created_after)


async def _print_table(project_id: str, created_after: datetime | None) -> None:
    table = JobTable(make_console(sys.stdout))
    totals = Totals()

    def write(job: Job) -> None:
        if not totals.all.jobs:
            table.write_header()
        table.write(job)
        totals.add(job)

    await _stream(project_id, created_after, write)
    if totals.all.jobs:
        sys.stdout.write("\n")
    sys.stdout.writelines(f"{line}\n" for line in totals.lines())


async def _print_json(
    project_id: str, created_after: datetime | None, *, with_result_url: bool
) -> None:
    converter = make_converter()
    # Python's own escapes for what an encoding lacks, such as \xe9, would be no JSON.
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")

    def write(job: Job) -> None:
        facts = converter.unstructure(job)
        if not with_result_url:
            del facts["resultUrl"]
        sys.stdout.write(json_line(facts, ascii_only=ascii_only))

    await _stream(project_id, created_after, write)


def json_line(facts: dict[str, Any], *, ascii_only: bool = False) -> str:
    """Write an object as one line of JSON, without characters that could break the line."""
    text = json.dumps(facts, ensure_ascii=ascii_only, separators=(",", ":"))
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


async def _stream(
    project_id: str, created_after: datetime | None, write: Callable[[Job], None]
) -> None:
    """Write each job when it comes."""
    lines_are_seen = sys.stdout.isatty()
    count = 0
    async with AsyncPlangrep() as client:
        stream = client.list_jobs(project_id, created_after=created_after)
        with Meter() as meter:
            async with aclosing(stream):
                async for job in stream:
                    if lines_are_seen:
                        meter.hide()
                    write(job)
                    count += 1
                    meter.show(count)
