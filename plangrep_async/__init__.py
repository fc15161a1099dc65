"""Async client for the Plangrep API: streams every job of a project as typed objects."""

from plangrep_async._bulk import JobStream
from plangrep_async._progress import ProjectOutcome
from plangrep_async._retry import RetryPolicy
from plangrep_async._transport import Timeouts
from plangrep_async._version import __version__
from plangrep_async.client import AsyncPlangrep
from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    IncompleteResponse,
    InvalidJob,
    InvalidResponse,
    NotFound,
    PermissionDenied,
    PlangrepError,
    RateLimited,
    RequestTimeout,
    ServerError,
    TlsFailed,
    WaitTimeout,
)
from plangrep_async.models import (
    Job,
    JobBilling,
    JobError,
    JobFile,
    JobLimits,
    JobStatus,
    Project,
    ProjectRuntime,
)

__all__ = [
    "ApiStatusError",
    "AsyncPlangrep",
    "AuthenticationError",
    "ClientClosed",
    "ConfigurationError",
    "ConnectionFailed",
    "IncompleteResponse",
    "InvalidJob",
    "InvalidResponse",
    "Job",
    "JobBilling",
    "JobError",
    "JobFile",
    "JobLimits",
    "JobStatus",
    "JobStream",
    "NotFound",
    "PermissionDenied",
    "PlangrepError",
    "Project",
    "ProjectOutcome",
    "ProjectRuntime",
    "RateLimited",
    "RequestTimeout",
    "RetryPolicy",
    "ServerError",
    "Timeouts",
    "TlsFailed",
    "WaitTimeout",
    "__version__",
]
