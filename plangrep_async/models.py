"""Job and its parts, Project and its runtime: plain values, as the Plangrep API documents them.

The models know nothing of JSON: `converter.py` holds the rules of the wire. All of them are
frozen, compare by value and take keyword arguments only. Datetimes are aware and in UTC. What an
answer leaves out has its default; fields without one must be there.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import attrs


class JobStatus(StrEnum):
    """Where a job stands; compares equal to its wire text.

    The set is open: a status that this version does not know becomes a member of its own that
    keeps its text, with `is_known` and `is_terminal` both false.
    """

    PROVISIONING = "provisioning"
    AWAITING_UPLOADS = "awaiting_uploads"
    UPLOADING = "uploading"
    PREFLIGHTING = "preflighting"
    BLOCKED_INSUFFICIENT_CREDITS = "blocked_insufficient_credits"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        # Not registered with the enum: a server that invents statuses must not make it grow.
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        # By value: CPython before 3.11.4 looks members up by name, and not all have one.
        return type(self), (self.value,)

    @property
    def is_known(self) -> bool:
        """Whether this version of the library knows the status."""
        return self.value in _KNOWN

    @property
    def is_terminal(self) -> bool:
        """Whether the job is finished for good: it will not change from here on."""
        return self.value in _TERMINAL


_KNOWN = frozenset(status.value for status in JobStatus)
_TERMINAL = frozenset({"completed", "completed_with_errors", "failed", "cancelled", "expired"})


@attrs.frozen(kw_only=True)
class JobLimits:
    """What the job may take in."""

    max_declared_bytes: int = 0
    """Bytes that all files together may declare."""
    max_files: int = 0
    """How many files the job may have."""


@attrs.frozen(kw_only=True)
class JobBilling:
    """What the job has cost so far."""

    credits_debited: int = 0
    """Credits; pages that failed are not charged."""


@attrs.frozen(kw_only=True)
class JobFile:
    """One uploaded file of a job."""

    id: str = ""
    """Empty where the answer has none."""
    file_name: str = ""
    """The name that the uploader gave; any text."""
    status: str = ""
    """The API's own text, which is not documented; empty where the answer has none."""


@attrs.frozen(kw_only=True)
class JobError:
    """Why a job failed. The API does not document the shape, so `raw` keeps all of it."""

    code: str | None = None
    """`raw["code"]` where that is a string: what to branch on."""
    message: str | None = None
    """`raw["message"]` where that is a string: for people, may change."""
    raw: Any = attrs.field(default=None, repr=False, hash=False)
    """The decoded JSON value as it came."""


@attrs.frozen(kw_only=True)
class Job:
    """One processing job of a project."""

    id: str
    """`job_…`, what `get_job` takes."""
    external_id: str | None = None
    """The caller's own correlation id, at most 180 characters; None where none was given."""
    status: JobStatus
    """As of this answer; final once it `is_terminal`."""
    project_id: str
    """`proj_…`, the project that it belongs to."""
    limits: JobLimits = JobLimits()
    page_count: int = 0
    """Pages found in all files."""
    successful_page_count: int = 0
    """Pages processed without an error."""
    billing: JobBilling = JobBilling()
    files: tuple[JobFile, ...] = ()
    result_url: str | None = attrs.field(default=None, repr=False)
    """Pre-signed address of the result. A secret: its query carries a token."""
    error: JobError | None = None
    """None where the API tells of no error."""
    created_at: datetime
    """Lists are ordered by it, newest first."""
    updated_at: datetime
    """When the job changed last."""
    completed_at: datetime | None = None
    """None until the job is terminal."""
    expires_at: datetime | None = None
    """When job and result stop being accessible."""


@attrs.frozen(kw_only=True)
class ProjectRuntime:
    """The machinery behind a project."""

    status: str = ""
    """`starting` or `running`; other texts may come."""
    upgrade_status: str | None = None
    """The text `none`, or None; other texts may come."""


@attrs.frozen(kw_only=True)
class Project:
    """One project of the organisation."""

    id: str
    """`proj_…`, what all calls for a project take."""
    name: str = ""
    """For people; empty where the answer has none."""
    project_kind: str = ""
    """`open_api` for projects made through the API."""
    status: str
    """`provisioning` or `ready`; other texts may come."""
    runtime: ProjectRuntime = ProjectRuntime()
    created_at: datetime
    """When the project was made."""
    updated_at: datetime
    """When the project changed last."""
