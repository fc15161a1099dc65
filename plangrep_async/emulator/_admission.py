"""Who may come in: what was let through so far, held against the `Limits` of the moment.

The two things to know live apart. A bucket belongs to a `Limits` object and is full when that is
first seen; the requests in flight are a fact about the server, whatever limits come and go.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ._limits import Bucket, Limits

Rules = Mapping[str | None, Limits]
"""What one request is held against: by its project's id, and by `None` for the organisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request does not come in."""

    status: int
    wait: float = 0.0
    """Seconds until it would."""
    retry_after: Literal["seconds", "date"] | None = None


class Admission:
    """The buckets and the requests in flight, of the organisation and of each project."""

    def __init__(self) -> None:
        self._buckets: dict[str | None, tuple[Limits, Bucket]] = {}
        self._in_flight = Counter[str | None]()

    def refill(self, scope: str | None) -> None:
        """Let the bucket begin full again."""
        self._buckets.pop(scope, None)

    def enter(self, rules: Rules, now: float) -> Refusal | None:
        """Count a request in, which then has to `leave`; or say why not, and count nothing."""
        buckets = []
        refusal = None
        for scope, limits in rules.items():
            bucket = self._bucket(scope, limits)
            if bucket is None:
                continue
            buckets.append(bucket)
            wait = bucket.wait(now)
            if wait > (refusal.wait if refusal else 0.0):
                refusal = Refusal(status=429, wait=wait, retry_after=limits.retry_after)
        if refusal:
            return refusal
        for scope, limits in rules.items():
            most = limits.max_concurrency
            if most is not None and self._in_flight[scope] >= most:
                return Refusal(status=503)
        for bucket in buckets:
            bucket.take(now)
        for scope in rules:
            self._in_flight[scope] += 1
        return None

    def leave(self, rules: Rules) -> None:
        """Give the places back, to be called once for each request that was let in."""
        for scope in rules:
            self._in_flight[scope] -= 1
            if not self._in_flight[scope]:
                del self._in_flight[scope]  # paths can name any number of projects

    def _bucket(self, scope: str | None, limits: Limits) -> Bucket | None:
        if limits.requests_per_second is None:
            self._buckets.pop(scope, None)
            return None
        known, bucket = self._buckets.get(scope, (None, None))
        if bucket is None or known is not limits:
            bucket = Bucket(per_second=limits.requests_per_second, burst=limits.burst)
            self._buckets[scope] = (limits, bucket)
        return bucket
