"""Which jobs are wanted of which list, and where reading it may stop (pure)."""

from collections.abc import Callable
from datetime import datetime

import attrs

from plangrep_async.converter import InvalidElement
from plangrep_async.models import Job

OnInvalid = Callable[[InvalidElement], None]


@attrs.frozen(kw_only=True)
class JobQuery:
    """Which jobs are wanted of which list."""

    path: str
    project_id: str
    after_job: str | None = None
    """Stop before this job."""
    oldest: datetime | None = None
    """Stop before the first job that was created earlier."""
    on_invalid: OnInvalid | None = None
    """Takes what is no job; without it the stream fails there."""
    wants_current: bool = False
    """Whether a job that is not terminal is what was looked for, also one born after a cut."""

    def stops_at(self, job: Job) -> bool:
        """Whether this job, and so all that follow it in a list from new to old, is not wanted."""
        is_too_old = self.oldest is not None and job.created_at < self.oldest
        return is_too_old or job.id == self.after_job

    @property
    def takes_all(self) -> bool:
        """Whether no job needs a look."""
        return self.after_job is None and self.oldest is None

    @property
    def has_stop(self) -> bool:
        """Whether the list will hardly be read to its end."""
        return self.wants_current or not self.takes_all
