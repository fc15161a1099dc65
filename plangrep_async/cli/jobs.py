"""`plangrep-async jobs`: the jobs of real projects, as a table or as JSON lines."""

from collections.abc import Coroutine
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import typer

from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import fetch_many, fetch_one
from plangrep_async.cli.output import JsonOutput, Output, TableOutput
from plangrep_async.cli.usage import UsageError


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
    project_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROJECT_ID", help="Such as proj_01hx9z4kqr8e7m3p5n6w2v0abc."),
    ] = None,
    *,
    every_project: Annotated[
        bool, typer.Option("--all", help="Every project of the organisation.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, as the API has it.")
    ] = False,
    created_after: Annotated[
        datetime | None,
        typer.Option(
            parser=parse_time,
            metavar="TIME",
            help="Stop before a project's first job created earlier: a date (midnight UTC), "
            "or a timestamp with an offset or Z.",
        ),
    ] = None,
    with_result_url: Annotated[
        bool,
        typer.Option(
            "--with-result-url", help="Keep resultUrl in the JSON. It is a secret: it has a token."
        ),
    ] = False,
    max_concurrency: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="With many projects: how many to fetch at once, at most."
        ),
    ] = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """List the jobs of projects, newest first; those of many projects as they arrive.

    A project of many that fails is named at the end on standard error, and the exit code is 1.

    The environment variable PLANGREP_API_KEY holds the API key, unless a file does.
    PLANGREP_BASE_URL, where it is set, says where the API is.
    """
    wanted = list(dict.fromkeys(project_ids or ()))
    if not wanted and not every_project:
        raise UsageError("Missing argument 'PROJECT_ID': give one or more, or --all.")
    if wanted and every_project:
        raise UsageError("Give either project ids or --all, not both.")
    if with_result_url and not as_json:
        raise typer.BadParameter("it needs --json.", param_hint="'--with-result-url'")
    is_one = len(wanted) == 1
    output: Output = (
        JsonOutput(with_result_url=with_result_url)
        if as_json
        else TableOutput(has_projects=not is_one)
    )
    if is_one:
        return fetch_one(wanted[0], output, access=access, created_after=created_after)
    return fetch_many(
        wanted or None,
        output,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )
