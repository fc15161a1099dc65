"""Async client for the Plangrep API: streams every job of a project as typed objects.

The library is loaded when one of its names is asked for, and not with the package: each run of
pytest loads the package where it is installed, for its plugin. PYTEST_DONT_REWRITE: pytest would
warn where it was loaded before.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from plangrep_async._version import __version__

if TYPE_CHECKING:
    from plangrep_async._bulk import JobStream
    from plangrep_async._progress import ProjectOutcome
    from plangrep_async._retry import RetryPolicy
    from plangrep_async._transport import Timeouts
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


if not TYPE_CHECKING:
    _HOMES = ("client", "models", "errors", "_bulk", "_progress", "_retry", "_transport")

    _MODULES = ("converter", "errors", "models")  # `import plangrep_async` is enough for them, too

    def __getattr__(name):
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            for home in map(import_module, [f"{__name__}.{home}" for home in _HOMES]):
                if hasattr(home, name):
                    return globals().setdefault(name, getattr(home, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
