"""What is stored, and how a list that was read becomes part of it: plain SQLite, in one thread.

The jobs of a list, which may be read beside others, are staged outside the database. At its end
they are moved in by one transaction, with all that follows from them. So of each project there is
at any moment all that one reading showed, or nothing.

A reading stops at the project's mark: the newest stored job that is listed, older than every
listed one that is not terminal, and older than the newest one. Then nothing below can be missed:

* All jobs below the mark were stored, as the transaction that stored it read to the end, or to an
  earlier mark.
* All of them are terminal, so frozen (the API's documentation, Job statuses).
* Those born since are no older than the newest listed job was (the API's documentation, List Jobs:
  newest first), so above the mark. Jobs created in one moment have no promised order: so the mark
  is older than the newest job, and than those not terminal, by its time and not by its place.

A job that was stored, is above the mark, and was not read is not listed any more. It is kept, for
audits and bills need it, and `gone_at` is set. Below the mark nobody looks, unless a reading is
told to go to the end. Should a server answer from an old state, then the mark is that of the old
state, and the next reading puts all right.
"""

import contextlib
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import attrs

from plangrep_async.errors import printable

from ._rows import Row
from ._schema import COLUMNS, connect, transaction

_NAMES = ", ".join(COLUMNS)
_KEY = ("project_id", "id")

_MARK = """
SELECT id, created_at FROM jobs
WHERE project_id = :project AND gone_at IS NULL
AND created_at < (
    SELECT max(created_at) FROM jobs WHERE project_id = :project AND gone_at IS NULL
)
AND created_at < coalesce(
    (
        SELECT min(created_at) FROM jobs
        WHERE project_id = :project AND is_terminal = 0 AND gone_at IS NULL
    ),
    ':'  -- which is behind all digits
)
ORDER BY created_at DESC LIMIT 1"""

_STAGE = f"""
INSERT OR REPLACE INTO temp.staged ({_NAMES}) VALUES ({", ".join("?" * len(COLUMNS))})"""  # noqa: S608  # constants

_STORE_PROJECT = """
INSERT INTO projects (id, revision, synced_at) VALUES (?, 1, ?)
ON CONFLICT (id) DO UPDATE
SET revision = revision + 1, synced_at = excluded.synced_at, gone_at = NULL"""

_COUNT_NEW = """
SELECT count(*) FROM temp.staged AS new WHERE project_id = ?
AND NOT EXISTS (SELECT 1 FROM jobs WHERE project_id = new.project_id AND id = new.id)"""

_STORE_JOBS = f"""
INSERT INTO main.jobs ({_NAMES}) SELECT {_NAMES} FROM temp.staged WHERE project_id = ?
ON CONFLICT (id, project_id) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _KEY)}, gone_at = NULL
WHERE ({", ".join(f"jobs.{name}" for name in COLUMNS)}, jobs.gone_at)
IS NOT ({", ".join(f"excluded.{name}" for name in COLUMNS)}, NULL)"""  # noqa: S608  # constants

_NOTE_GONE_JOBS = """
UPDATE main.jobs SET gone_at = :now
WHERE project_id = :project AND created_at > :mark AND gone_at IS NULL
AND NOT EXISTS (
    SELECT 1 FROM temp.staged WHERE project_id = jobs.project_id AND id = jobs.id
)"""


@attrs.frozen
class Known:
    """What is stored of a project before it is read."""

    revision: int | None = None
    """How often it was stored; None if never."""
    mark_id: str | None = None
    """Where a reading may stop; None if it must go to the end."""
    mark_time: str = ""
    """When the mark was created; before all times if there is none."""

    def without_mark(self) -> "Known":
        """Give the same for a reading to the end."""
        return Known(self.revision)


@attrs.frozen
class Stored:
    """What a list made of the database."""

    new: int
    changed: int
    gone: int


class Store:
    """An open database; made, used and closed by one thread, but for `interrupt`."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)

    def close(self) -> None:
        """Close it, with all that was stored in one file; what was staged is dropped."""
        # An interruption holds until the next statement begins, and closing is none: the
        # write-ahead log would be left where it is.
        with contextlib.closing(self._db):
            self._db.execute("SELECT 1")

    def interrupt(self) -> None:
        """Make the statement that runs now, if any, fail; to be called from another thread."""
        with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
            self._db.interrupt()

    def look_up(self, project_id: str) -> Known:
        """Say what is stored of a project."""
        # The revision first: what another process stores in between is noticed at the end.
        revision = self._revision(project_id)
        mark = self._db.execute(_MARK, {"project": project_id}).fetchone()
        return Known(revision, *(mark or ()))

    def stage(self, rows: Sequence[Row]) -> dict[str, str]:
        """Keep rows until their projects are stored; gives the projects with a bad row, and why."""
        try:
            with transaction(self._db, "DEFERRED"):
                self._db.executemany(_STAGE, rows)
        except sqlite3.OperationalError:
            raise  # about the disk, and no row
        except (sqlite3.Error, OverflowError, UnicodeError):
            return self._stage_one_by_one(rows)
        return {}

    def store(self, project_id: str, known: Known, now: str) -> Stored | None:
        """Move what was staged of a project into the database, all or nothing.

        Gives None, and stores nothing, if another process has stored the project since it was
        looked up: that may be newer.
        """
        with transaction(self._db):
            is_superseded = self._revision(project_id) != known.revision
            stored = None if is_superseded else self._move(project_id, known.mark_time, now)
        self.drop(project_id)
        return stored

    def drop(self, project_id: str) -> None:
        """Forget what was staged of a project."""
        with transaction(self._db, "DEFERRED"):
            self._db.execute("DELETE FROM temp.staged WHERE project_id = ?", (project_id,))

    def note_gone(self, project_ids: Iterable[str], now: str) -> None:
        """Note that these projects are not there any more; unknown ones are ignored."""
        sql = "UPDATE projects SET gone_at = ? WHERE id = ? AND gone_at IS NULL"
        with transaction(self._db):
            self._db.executemany(sql, ((now, project_id) for project_id in project_ids))

    def note_listed(self, listed: Collection[str], now: str) -> None:
        """Note that these projects are all there are."""
        known = dict(self._db.execute("SELECT id, gone_at FROM projects"))
        back = [(one,) for one, gone_at in known.items() if gone_at is not None and one in listed]
        self.note_gone(known.keys() - listed, now)
        with transaction(self._db):
            self._db.executemany("UPDATE projects SET gone_at = NULL WHERE id = ?", back)

    def _move(self, project_id: str, mark_time: str, now: str) -> Stored:
        self._db.execute(_STORE_PROJECT, (project_id, now))
        (new,) = self._db.execute(_COUNT_NEW, (project_id,)).fetchone()
        written = self._db.execute(_STORE_JOBS, (project_id,)).rowcount
        facts = {"project": project_id, "mark": mark_time, "now": now}
        gone = self._db.execute(_NOTE_GONE_JOBS, facts).rowcount
        return Stored(new=new, changed=written - new, gone=gone)

    def _revision(self, project_id: str) -> int | None:
        sql = "SELECT revision FROM projects WHERE id = ?"
        found = self._db.execute(sql, (project_id,)).fetchone()
        return found and int(found[0])

    def _stage_one_by_one(self, rows: Iterable[Row]) -> dict[str, str]:
        problems: dict[str, str] = {}
        with transaction(self._db, "DEFERRED"):
            for row in rows:
                try:
                    self._db.execute(_STAGE, row)
                except sqlite3.OperationalError:
                    raise
                except (sqlite3.Error, OverflowError, UnicodeError) as error:
                    reason = type(error).__name__ if isinstance(error, UnicodeError) else str(error)
                    problems[str(row[0])] = f"job {printable(str(row[1]))}: {reason}"
        return problems
