"""Everything that can go wrong, as one tree.

PlangrepError
├── ConfigurationError (also a ValueError)   fix the call or the environment
├── ClientClosed                             fix the order of calls
├── ConnectionFailed                         no usable answer came
│   ├── RequestTimeout
│   └── TlsFailed
├── ApiStatusError                           the API said no
│   ├── AuthenticationError                  401
│   ├── PermissionDenied                     403
│   ├── NotFound                             404
│   ├── RateLimited                          429
│   └── ServerError                          5xx
├── InvalidResponse                          an answer came that is not the promised JSON
│   ├── IncompleteResponse                   it ended too early
│   └── InvalidJob                           one element of it is not a job
└── WaitTimeout                              a job took longer than it was waited for

No error holds an API key, a `result_url` or raw bytes of an answer. All of them pickle.
"""

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from plangrep_async.models import Job


def _rebuild(cls: "type[PlangrepError]", message: str, facts: dict[str, Any]) -> "PlangrepError":
    return cls(message, **facts)


@attrs.define(slots=False, str=False)
class PlangrepError(Exception):
    """Raised when a call cannot give what it promises; the base of every error here."""

    message: str
    """What happened and what to do next, for people."""
    project_id: str | None = attrs.field(default=None, kw_only=True)
    """The project that was asked for, where one was."""
    job_id: str | None = attrs.field(default=None, kw_only=True)
    """The job that was asked for, where one was."""
    delivered: int = attrs.field(default=0, kw_only=True)
    """How many jobs the stream had handed out before."""
    last_job_id: str | None = attrs.field(default=None, kw_only=True)
    """The id of the last of them."""
    attempts: int = attrs.field(default=1, kw_only=True)
    """How often it was tried since the last progress."""

    def __str__(self) -> str:
        facts = []
        if self.project_id is not None:
            facts.append(f"project {printable(self.project_id)}")
        if self.job_id is not None:
            facts.append(f"job {printable(self.job_id)}")
        if self.attempts > 1:
            facts.append(f"{self.attempts} attempts")
        if self.delivered:
            last = printable(self.last_job_id or "unknown")
            jobs = "1 job" if self.delivered == 1 else f"{self.delivered} jobs"
            facts.append(f"after {jobs}, the last one {last}")
        return self.message + (f" ({', '.join(facts)})" if facts else "")

    def __reduce__(self) -> tuple[Any, ...]:
        facts = attrs.asdict(self, recurse=False)
        return _rebuild, (type(self), facts.pop("message"), facts)


class ConfigurationError(PlangrepError, ValueError):
    """Raised when an argument or an environment variable cannot be used."""


class ClientClosed(PlangrepError):
    """Raised when a client, or a stream of it, is used after `aclose()`."""


class ConnectionFailed(PlangrepError):
    """Raised when no usable answer came: refused, reset, unknown host, broken protocol."""


class RequestTimeout(ConnectionFailed):
    """Raised when connecting took longer, or too little arrived, than `Timeouts` allows."""


class TlsFailed(ConnectionFailed):
    """Raised when the server's certificate or its TLS cannot be trusted; never retried."""


@attrs.define(slots=False, str=False)
class ApiStatusError(PlangrepError):
    """Raised when the API answers with a status of 400 or more."""

    status: int = attrs.field(kw_only=True)
    """The HTTP status."""
    code: str | None = attrs.field(default=None, kw_only=True)
    """The machine-readable code of the answer: branch on this and on `status` only."""
    request_id: str | None = attrs.field(default=None, kw_only=True)
    """What to tell Plangrep's support, where the server sent it."""
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    """Seconds that the server asked to wait, where it did."""


class AuthenticationError(ApiStatusError):
    """Raised on 401: the API key is missing, invalid, revoked or expired."""


class PermissionDenied(ApiStatusError):
    """Raised on 403: the API key lacks the scope for this call."""


class NotFound(ApiStatusError):
    """Raised on 404: there is no such project or job in this organisation."""


class RateLimited(ApiStatusError):
    """Raised on 429 after the last attempt, or where the wait asked for is too long."""


class ServerError(ApiStatusError):
    """Raised on 5xx: all but 500, 502, 503 and 504 at once, those after the last attempt."""


class InvalidResponse(PlangrepError):
    """Raised when the answer is not the promised JSON, is too large, or redirects elsewhere."""


class IncompleteResponse(InvalidResponse):
    """Raised when the answer ended too early and could not be continued."""


@attrs.define(slots=False, str=False)
class InvalidJob(InvalidResponse):
    """Raised when one element of the list is not a job; `message` says what is wrong with it."""

    index: int = attrs.field(kw_only=True)
    """Its place in the response, counted from 0."""
    path: str = attrs.field(default="$", kw_only=True)
    """Where the first fault is, by the names of the models: `$.billing.credits_debited`."""


@attrs.define(slots=False, str=False)
class WaitTimeout(PlangrepError):
    """Raised when a job was not terminal by the end of the time given to wait for it."""

    job: "Job | None" = attrs.field(default=None, kw_only=True, repr=False)
    """As it was seen last, without a `result_url`; None where it was never seen."""


_LONGEST_EXCERPT = 200


def printable(text: str) -> str:
    """Make foreign text safe for one line of a message or log: escaped, and cut when long."""
    if len(text) <= _LONGEST_EXCERPT and text.isprintable():
        return text
    cut = text[: _LONGEST_EXCERPT + 1]
    escaped = _escape(cut)
    if len(escaped) > _LONGEST_EXCERPT:
        return escaped[:_LONGEST_EXCERPT] + "…"
    return escaped


def _escape(text: str) -> str:
    """Write what is not printable as Python's escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
