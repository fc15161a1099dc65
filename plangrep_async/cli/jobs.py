"""`plangrep-async jobs`: the jobs of real projects, as a table or for other programs."""

from collections.abc import Coroutine
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from plangrep_async._endpoint import jobs_path
from plangrep_async.cli.access import Access
from plangrep_async.cli.fetch import fetch_many, fetch_one
from plangrep_async.cli.output import Format, Output, format_of
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


ProjectIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="PROJECT_ID", help="Such as proj_01hx9z4kqr8e7m3p5n6w2v0abc."),
]
EveryProject = Annotated[bool, typer.Option("--all", help="Every project of the organisation.")]
CreatedAfter = Annotated[
    datetime | None,
    typer.Option(
        parser=parse_time,
        metavar="TIME",
        help="Stop before a project's first job created earlier: a date (midnight UTC), "
        "or a timestamp with an offset or Z.",
    ),
]
MaxConcurrency = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="With many projects: how many to fetch at once, at most."
    ),
]


def wanted_projects(project_ids: list[str] | None, *, every_project: bool) -> list[str] | None:
    """Give each id once, or None for all projects there are.

    Refuses neither and both, and what can be no id before anything is fetched.
    """
    wanted = list(dict.fromkeys(project_ids or ()))
    if not wanted and not every_project:
        raise UsageError("Missing argument 'PROJECT_ID': give one or more, or --all.")
    if wanted and every_project:
        raise UsageError("Give either project ids or --all, not both.")
    for project_id in wanted:
        jobs_path(project_id)
    return wanted or None


def jobs(
    project_ids: ProjectIds = None,
    *,
    every_project: EveryProject = False,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="How to write the jobs; json is an object a line, as the API has it. If left out, "
            "the ending of FILE says it; without one it is a table.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write there instead of printing (- is for printing). The file is replaced at "
            "the end, and only when no project has failed.",
        ),
    ] = None,
    created_after: CreatedAfter = None,
    with_result_url: Annotated[
        bool,
        typer.Option(
            "--with-result-url",
            help="Keep resultUrl in json, csv and parquet. It is a secret: it has a token.",
        ),
    ] = False,
    max_concurrency: MaxConcurrency = 16,
    access: Access,
) -> Coroutine[Any, Any, int]:
    """List the jobs of projects, newest first.

    Those of many projects come as they arrive. A project of many that fails is named at the end on
    standard error, and the exit code is 1; a FILE is then left as it was.
    """
    wanted = wanted_projects(project_ids, every_project=every_project)
    if as_json and form not in (None, Format.JSON):
        raise UsageError(f"Give either --json or --format {form}, not both.")
    if output == Path("-"):
        output = None
    form = Format.JSON if as_json else form or format_of(output)
    if with_result_url and form is Format.TABLE:
        raise typer.BadParameter(
            "it needs --format json, csv or parquet.", param_hint="'--with-result-url'"
        )
    is_one = wanted is not None and len(wanted) == 1
    place = Output(form, output, has_projects=not is_one, with_result_url=with_result_url)
    if wanted is not None and is_one:
        return fetch_one(wanted[0], place, access=access, created_after=created_after)
    return fetch_many(
        wanted,
        place,
        access=access,
        created_after=created_after,
        max_concurrency=max_concurrency,
    )
