"""A local copy of all jobs in SQLite, kept up to date by downloading what can have changed.

    report = await sync(client, "jobs.db", project_ids)   # or no ids: every project
    print(report.new, report.changed, report.bytes, report.failures)

`plangrep-async sync` is the same as a command. What is in the file, and what can be relied on, is
said in `_schema.py`; why an incremental run misses nothing, in `_store.py`.
"""

from ._errors import MirrorError
from ._sync import SyncReport, sync

__all__ = ["MirrorError", "SyncReport", "sync"]
