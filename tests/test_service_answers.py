"""What visitors of a service are answered: status, headers and body for each of our errors."""

import json

import pytest

from plangrep_async import (
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
from plangrep_async.service import http_answer

SECRETIVE = "GET https://inner.example/projects/p/jobs answered 500: it has said something"


def api(cls: type[ApiStatusError], status: int, wait: float | None = None) -> ApiStatusError:
    return cls(SECRETIVE, status=status, code="its_code", request_id="req_1", retry_after=wait)


ANSWERS: list[tuple[Exception, int, str]] = [
    (api(NotFound, 404), 404, "not_found"),
    (api(RateLimited, 429), 429, "rate_limited"),
    (api(AuthenticationError, 401), 500, "misconfigured"),
    (api(PermissionDenied, 403), 500, "misconfigured"),
    (ConfigurationError(SECRETIVE), 500, "misconfigured"),
    (ClientClosed(SECRETIVE), 503, "shutting_down"),
    (WaitTimeout(SECRETIVE), 504, "not_finished"),
    (RequestTimeout(SECRETIVE), 504, "upstream_timeout"),
    (api(ApiStatusError, 408), 504, "upstream_timeout"),
    (api(ServerError, 504), 504, "upstream_timeout"),
    (ConnectionFailed(SECRETIVE), 502, "upstream_unreachable"),
    (TlsFailed(SECRETIVE), 502, "upstream_unreachable"),
    (api(ServerError, 503), 503, "upstream_unavailable"),
    (api(ServerError, 500), 502, "upstream_failed"),
    (api(ApiStatusError, 422), 502, "upstream_failed"),
    (InvalidResponse(SECRETIVE), 502, "upstream_invalid"),
    (IncompleteResponse(SECRETIVE), 502, "upstream_invalid"),
    (InvalidJob(SECRETIVE, index=3), 502, "upstream_invalid"),
    (PlangrepError(SECRETIVE), 502, "upstream_failed"),
    (ZeroDivisionError(SECRETIVE), 500, "internal_error"),
]


@pytest.mark.parametrize(
    ("error", "status", "code"), ANSWERS, ids=[f"{type(e).__name__}-{s}" for e, s, _ in ANSWERS]
)
def test_each_error_has_an_answer(error: Exception, status: int, code: str) -> None:
    """The visitor learns whose fault it is and whether to come again, and no detail of ours."""
    answer = http_answer(error)
    assert (answer.status, answer.code) == (status, code)
    assert answer.body == {"error": {"code": code, "message": answer.message}}
    assert answer.headers == {"Cache-Control": "no-store"}
    said = json.dumps(answer.body)
    assert not any(word in said for word in ("inner.example", "said something", "its_code"))


def test_every_class_of_error_was_asked_for() -> None:
    """The table above names every error there is: a new one must be thought about."""
    asked = {type(error) for error, *_ in ANSWERS}
    found = [PlangrepError]
    for cls in found:
        found += cls.__subclasses__()
    assert set(found) <= asked


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (api(RateLimited, 429, 7), "7"),
        (api(RateLimited, 429, 7.2), "8"),
        (api(RateLimited, 429, 0), "0"),
        (api(RateLimited, 429, 1e9), "1000000000"),
        (api(ServerError, 503, 30), "30"),
        (api(ServerError, 500, 30), None),
        (api(ApiStatusError, 408, 30), None),
    ],
)
def test_the_wait_that_plangrep_asks_for_is_passed_on(
    error: ApiStatusError, expected: str | None
) -> None:
    """`Retry-After` is whole seconds, none of them cut off, where the answer asks to come again."""
    assert http_answer(error).headers.get("Retry-After") == expected
