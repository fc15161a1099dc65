"""What a visitor of a service is answered when the service could not get it from Plangrep."""

import math
from collections.abc import Mapping
from typing import Any

import attrs

from plangrep_async.errors import (
    ApiStatusError,
    ClientClosed,
    ConfigurationError,
    ConnectionFailed,
    InvalidResponse,
    PlangrepError,
    RequestTimeout,
    WaitTimeout,
)

_BY_STATUS = {
    401: (500, "misconfigured"),
    403: (500, "misconfigured"),
    404: (404, "not_found"),
    408: (504, "upstream_timeout"),
    429: (429, "rate_limited"),
    503: (503, "upstream_unavailable"),
    504: (504, "upstream_timeout"),
}
_BY_CLASS = {  # the first that fits
    ConfigurationError: (500, "misconfigured"),
    ClientClosed: (503, "shutting_down"),
    WaitTimeout: (504, "not_finished"),
    RequestTimeout: (504, "upstream_timeout"),
    ConnectionFailed: (502, "upstream_unreachable"),
    InvalidResponse: (502, "upstream_invalid"),
    PlangrepError: (502, "upstream_failed"),
    BaseException: (500, "internal_error"),
}
_MESSAGES = {
    "not_found": "There is no such project or job.",
    "not_finished": "The job is not finished yet. Try again later.",
    "rate_limited": "Too many requests are made at this moment. Try again later.",
    "misconfigured": "This service is not set up as it has to be.",
    "shutting_down": "This service is being restarted. Try again later.",
    "upstream_timeout": "Plangrep did not answer in time. Try again later.",
    "upstream_unreachable": "Plangrep could not be reached. Try again later.",
    "upstream_unavailable": "Plangrep is not available. Try again later.",
    "upstream_failed": "Plangrep answered with an error.",
    "upstream_invalid": "Plangrep answered with something that cannot be used.",
    "internal_error": "This service failed.",
}


@attrs.frozen(kw_only=True)
class HttpAnswer:
    """Status, headers and body, which hold nothing that the visitor must not know.

    What happened in detail (`str(error)`) is for the log of the service: it has the address of the
    API and words of its server.
    """

    status: int
    """The HTTP status, from 400 on."""
    code: str
    """What a program branches on, such as `rate_limited`."""
    message: str
    """One sentence for people."""
    headers: Mapping[str, str]
    """`Cache-Control`, and `Retry-After` where Plangrep asked for a wait."""

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object to send."""
        return {"error": self.facts}

    @property
    def facts(self) -> dict[str, str]:
        """Code and message alone."""
        return {"code": self.code, "message": self.message}


def http_answer(error: BaseException) -> HttpAnswer:
    """Say what a visitor is to be answered.

    - 404 for what is not there.
    - 429 for a `RateLimited`, and 503 where Plangrep itself said so, both with its `Retry-After`.
      429, although the limit is the organisation's and no visitor reached it alone (RFC 6585,
      section 4, leaves open who is counted): a 503 would count as an outage of the service with
      load balancers and alarms, and is sent again at once by many a proxy.
    - 500 for a key that is missing, refused or lacks a scope, and for arguments that cannot be
      used: this is the service's fault, and 401 or 403 would tell a visitor to log in.
    - 502 for no answer or an unusable one; 504 for none in time, or a job that was not terminal.
    - 503 when the client of the service is closed already.
    - 500 for any exception that is not one of ours.
    """
    if isinstance(error, ApiStatusError):
        status, code = _BY_STATUS.get(error.status, (502, "upstream_failed"))
    else:
        status, code = next(answer for cls, answer in _BY_CLASS.items() if isinstance(error, cls))
    headers = {"Cache-Control": "no-store"}  # RFC 9110, section 15.1: a 404 may be kept by default
    retry_after = getattr(error, "retry_after", None)
    if status in (429, 503) and retry_after is not None:
        headers["Retry-After"] = str(math.ceil(retry_after))  # RFC 9110: whole seconds
    return HttpAnswer(status=status, code=code, message=_MESSAGES[code], headers=headers)
