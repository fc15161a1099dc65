"""The database: its tables, and how a file is found to be one, made into one, or refused.

    projects   one row for each project that was read completely at least once
    jobs       one row for each of its jobs, as the API showed it last; none is ever deleted

Columns are named as the fields of the models. Times are texts of one width in UTC,
`2024-11-02T09:00:00.000000Z`: they sort, compare with a mere `2024-11-02`, and SQLite's date
functions take them. `files` and `error` are JSON as the API has it. `is_terminal` is 0 or 1.
`result_url` is null unless it was asked for. `gone_at` says when a job, or a project, was first
found not to be listed any more; it is null for what is there, and again when it comes back.

The tables are not STRICT, which would need SQLite 3.37: CPython 3.11 is run with older ones, and
they could not even open the file. What is written has the types of the models, which are checked.
"""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from plangrep_async.errors import ConfigurationError, printable

VERSION = 1
"""Of the schema, kept in `PRAGMA user_version`."""

BUSY_TIMEOUT = 10.0  # seconds to wait for another writer

_APPLICATION_ID = 0x706C6772  # "plgr", in `PRAGMA application_id`: the file is ours
_LEAST_BYTES = 512  # the smallest page: https://www.sqlite.org/fileformat.html, section 1.3.2
_LOWEST_SQLITE = (3, 24, 0)  # has ON CONFLICT DO UPDATE

COLUMNS = {
    "project_id": "TEXT NOT NULL",
    "id": "TEXT NOT NULL",
    "external_id": "TEXT",
    "status": "TEXT NOT NULL",
    "is_terminal": "INTEGER NOT NULL CHECK (is_terminal IN (0, 1))",
    "max_declared_bytes": "INTEGER NOT NULL",
    "max_files": "INTEGER NOT NULL",
    "page_count": "INTEGER NOT NULL",
    "successful_page_count": "INTEGER NOT NULL",
    "credits_debited": "INTEGER NOT NULL",
    "files": "TEXT NOT NULL",
    "result_url": "TEXT",
    "error": "TEXT",
    "created_at": "TEXT NOT NULL",
    "updated_at": "TEXT NOT NULL",
    "completed_at": "TEXT",
    "expires_at": "TEXT",
}
"""What is known of a job, in the order of a row."""

_DEFINITIONS = ",\n    ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
_STATEMENTS = (
    """CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    synced_at TEXT NOT NULL,
    gone_at TEXT
)""",
    f"""CREATE TABLE jobs (
    {_DEFINITIONS},
    gone_at TEXT,
    PRIMARY KEY (id, project_id),
    FOREIGN KEY (project_id) REFERENCES projects (id)
)""",
    "CREATE INDEX jobs_by_time ON jobs (created_at)",
    "CREATE INDEX jobs_by_project_and_time ON jobs (project_id, created_at)",
    "CREATE INDEX jobs_by_external_id ON jobs (external_id) WHERE external_id IS NOT NULL",
    """CREATE INDEX jobs_in_progress ON jobs (project_id, created_at)
    WHERE is_terminal = 0 AND gone_at IS NULL""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
# Dropped with the connection, whatever ends it, and outside the write-ahead log.
_STAGED = f"""CREATE TEMP TABLE staged (
    {_DEFINITIONS},
    PRIMARY KEY (project_id, id)
)"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a mirror, or make one where there is no file, or an empty one.

    Raises `ConfigurationError` for what is no mirror, or is one of a newer version, and changes
    nothing in it then.
    """
    if sqlite3.sqlite_version_info < _LOWEST_SQLITE:
        needed = ".".join(map(str, _LOWEST_SQLITE))
        raise ConfigurationError(f"a mirror needs SQLite {needed}, not {sqlite3.sqlite_version}")
    if _is_too_short(path):
        raise ConfigurationError(f"{_name(path)} is no database: name another file")
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        with transaction(db, "DEFERRED"):  # one look, for another process may make it now
            is_empty = _is_empty(db, path)
        db.execute("PRAGMA synchronous = NORMAL")  # a loss of power may undo, never damage
        _use_write_ahead_log(db)
        if is_empty:
            with transaction(db):  # and look again: it may have done so
                if _is_empty(db, path):
                    for statement in _STATEMENTS:
                        db.execute(statement)
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA temp_store = FILE")
        db.execute(_STAGED)
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Do all of a block, or nothing; no other process writes meanwhile.

    The kind `DEFERRED` locks out others only when the file itself is touched.
    """
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _is_too_short(path: Path) -> bool:
    """Whether a file is shorter than any database: one of a single byte would be overwritten."""
    # Not by reading it: to close it would take the locks of all connections of this process
    # (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    try:
        return 0 < path.stat().st_size < _LEAST_BYTES
    except OSError:
        return False  # SQLite will say what is wrong, or make it


def _is_empty(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is nothing in it yet; raises `ConfigurationError` for what is not ours."""
    try:
        (application_id,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (objects,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise  # locked, or cannot be read
        problem = str(error)
    else:
        if application_id == _APPLICATION_ID and 0 < version <= VERSION:
            return False
        if application_id == _APPLICATION_ID and version > VERSION:
            raise ConfigurationError(
                f"{_name(path)} was made by a newer version of this library (its schema is "
                f"{version}, this version knows {VERSION}): upgrade plangrep-async"
            )
        if application_id == version == objects == 0:
            return True
        problem = "it belongs to another program"
    raise ConfigurationError(f"{_name(path)} is no mirror of jobs, {problem}: name another file")


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    # SQLite does not wait for others here: https://www.sqlite.org/wal.html, section 2.
    give_up = time.monotonic() + BUSY_TIMEOUT
    while db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                return  # a file system that cannot: its readers wait for writers then
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _name(path: Path) -> str:
    return printable(str(path))
