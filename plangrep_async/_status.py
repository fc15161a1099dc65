"""What an answer that is no success means: status, headers and body to one of our errors."""

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    printable,
)

MAX_BODY_BYTES = 64 << 10  # of an error's body, the rest is left unread
_LONGEST_WAIT = 1e9

_CLASSES = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    429: RateLimited,
}
_ADVICE = {
    401: "check the API key",
    403: "the API key lacks the scope for this call",
    404: "check the id, and that it belongs to the API key's organisation",
}


def status_error(
    what: str,
    status: int,
    body: bytes,
    *,
    hide: Callable[[str], str] = str,
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ApiStatusError:
    """Make the error for a status. `what` names the request; of the body a short text is kept.

    `hide` takes secrets out of what the server said.
    """
    code, text = (_excerpt(hide(said)) for said in _read_body(body))
    cls = _CLASSES.get(status, ServerError if status >= 500 else ApiStatusError)
    said = f"{status} {code}".rstrip() + (f": {text}" if text else "")
    advice = f" ({_ADVICE[status]})" if status in _ADVICE else ""
    return cls(
        f"{what} answered {said}{advice}",
        status=status,
        code=code or None,
        request_id=_excerpt(hide(request_id)) if request_id else None,
        retry_after=retry_after,
    )


def _read_body(body: bytes) -> tuple[str, str]:
    """Find code and message at the top level or under "error": where is not documented."""
    text = body.decode("utf-8-sig", errors="replace")
    try:
        problem: Any = json.loads(text)
    except (ValueError, RecursionError):
        # JSON that was cut, say: its escapes must not hide a secret from those who look for it.
        return "", re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    outer = problem if isinstance(problem, dict) else {"message": problem}
    error = outer.get("error")
    places: tuple[dict[str, Any], ...] = (
        error if isinstance(error, dict) else {},
        outer,
        {"message": error},
    )
    code, message = (
        next((place[key] for place in places if _is_text(place.get(key))), "")
        for key in ("code", "message")
    )
    return code, message


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _excerpt(text: str) -> str:
    """Make one short line of it, without markup, and without what may be a secret in a URL."""
    text = re.sub(r"<[^>]{0,1000}>", " ", text[:4000])
    text = re.sub(r"(?<=\S)([?#])[^\s\"<>]+", r"\1…", text)
    text = re.sub(r"//[^\s/@]{1,1000}@", "//…@", text)
    return printable(" ".join(text.split()))


def read_retry_after(values: Sequence[str], now: datetime) -> float | None:
    """Read `Retry-After` as seconds from now (RFC 9110, section 10.2.3), the longest of several.

    `None` for what is neither a number of seconds nor a date; no less than 0, and finite.
    """
    waits = [wait for wait in (_read_wait(value.strip(), now) for value in values) if wait >= 0]
    return min(max(waits), _LONGEST_WAIT) if waits else None


def _read_wait(value: str, now: datetime) -> float:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):  # fractions are not in the RFC, but in use
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return -math.inf
