"""What is in a mirror, read by plain SQL, and whether it can be after a run that may have ended."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from plangrep_async import Job
from plangrep_async.converter import make_converter

CONVERTER = make_converter()

State = dict[str, dict[str, tuple[Job, bool]]]
"""By project and job id: the job, without its `result_url`, and whether it is gone."""


def rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql, values).fetchall()


def read(path: Path) -> State:
    """Give what is stored; nothing if there are no tables yet."""
    if not path.exists() or not rows(path, "SELECT * FROM sqlite_master"):
        return {}
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("BEGIN")  # both as they are at the same moment, whatever a run is doing
        state: State = {name: {} for (name,) in db.execute("SELECT id FROM projects")}
        for row in db.execute("SELECT * FROM jobs"):
            state[row["project_id"]][row["id"]] = job_of(row), row["gone_at"] is not None
    return state


def job_of(row: sqlite3.Row) -> Job:
    """Make the job of a row, of the names that the API has for its columns."""
    facts: dict[str, Any] = {
        "id": row["id"],
        "externalId": row["external_id"],
        "status": row["status"],
        "projectId": row["project_id"],
        "limits": {"maxDeclaredBytes": row["max_declared_bytes"], "maxFiles": row["max_files"]},
        "pageCount": row["page_count"],
        "successfulPageCount": row["successful_page_count"],
        "billing": {"creditsDebited": row["credits_debited"]},
        "files": json.loads(row["files"]),
        "resultUrl": row["result_url"],
        "error": None if row["error"] is None else json.loads(row["error"]),
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "completedAt": row["completed_at"],
        "expiresAt": row["expires_at"],
    }
    job = CONVERTER.structure(facts, Job)
    assert job.status.is_terminal == bool(row["is_terminal"])
    return job


def truth_of(wire: Iterable[Mapping[str, Any]]) -> dict[str, Job]:
    """Make the jobs that a server has of its JSON objects, by id, without their result URLs."""
    jobs = (CONVERTER.structure(dict(one), Job) for one in wire)
    return {job.id: attrs.evolve(job, result_url=None) for job in jobs}


def mark_of(stored: Mapping[str, tuple[Job, bool]]) -> datetime | None:
    """Find by the rule, and slowly, how old a job must be for not being looked at again."""
    listed = [job for job, is_gone in stored.values() if not is_gone]
    if not listed:
        return None
    newest = max(job.created_at for job in listed)
    bound = min([newest, *(job.created_at for job in listed if not job.status.is_terminal)])
    return max((job.created_at for job in listed if job.created_at < bound), default=None)


def fault_of_project(
    before: Mapping[str, tuple[Job, bool]],
    after: Mapping[str, tuple[Job, bool]],
    truth: Mapping[str, Job],
    *,
    full: bool = False,
) -> str | None:
    """Say what is wrong with what a whole reading made of a project; None if nothing is."""
    mark = None if full else mark_of(before)
    for job_id, job in truth.items():
        if after.get(job_id) != (job, False):
            return f"{job_id} is listed and not stored as it is"
    for job_id, (job, is_gone) in before.items():
        if job_id in truth:
            continue
        if job_id not in after:
            return f"{job_id} was stored and is not any more"
        is_seen = mark is None or job.created_at > mark
        if after[job_id] != (job, is_gone or is_seen):
            return f"{job_id} is not listed any more, and is stored otherwise than it should be"
    if extra := after.keys() - truth.keys() - before.keys():
        return f"{min(extra)} was never there"
    return None


def damage(path: Path) -> list[str]:
    """Say what SQLite finds wrong with a file."""
    if not path.exists():
        return []
    checks = [*rows(path, "PRAGMA integrity_check"), *rows(path, "PRAGMA foreign_key_check")]
    return [str(one) for one in checks if one != ("ok",)]
