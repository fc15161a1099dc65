"""Whether to try again, and how long to wait before: values only, nothing waits here.

Exponential waits with jitter of our own: `backoff`'s would shrink a `Retry-After`, which is a
floor (RFC 9110, section 10.2.3).
"""

from collections.abc import Callable, Generator
from random import Random
from typing import Any

import attrs

from plangrep_async._checks import check_count, check_seconds
from plangrep_async.errors import (
    ApiStatusError,
    ConnectionFailed,
    IncompleteResponse,
    RateLimited,
    TlsFailed,
)

_MOST_TOKENS = 500
_RETRY_COST = 14
_THROTTLED_COST = 5

_TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How patient a client is. Waits are seconds."""

    attempts: int = 5
    """Tries since the last progress, the first one included; 1 means never to try again."""
    first_wait: float = 0.5
    """The wait before the second try; it doubles from try to try."""
    max_wait: float = 30.0
    """The longest wait that is not asked for by the server."""
    budget: float = 300.0
    """All waits since the last progress together. A longer `Retry-After` raises at once."""

    def __attrs_post_init__(self) -> None:
        check_count("RetryPolicy.attempts", self.attempts, least=1)
        for name in ("first_wait", "max_wait", "budget"):
            check_seconds(f"RetryPolicy.{name}", getattr(self, name))


def is_transient(error: Exception) -> bool:
    """Whether the same request may well succeed a little later."""
    match error:
        case TlsFailed():
            return False
        case ConnectionFailed() | IncompleteResponse():
            return True
        case ApiStatusError():
            return error.status in _TRANSIENT_STATUSES
    return False


class RetryBudget:
    """What all retries of one client may cost together: a bucket of tokens.

    It keeps a client whose requests all fail from multiplying them: with 1,000 requests failing,
    about 35 more are sent, not thousands. The figures are those of the AWS SDKs' standard mode.
    """

    def __init__(self) -> None:
        self._tokens = _MOST_TOKENS

    def take(self, tokens: int) -> bool:
        """Take some; false where there are not so many."""
        if self._tokens < tokens:
            return False
        self._tokens -= tokens
        return True

    def give_back(self, tokens: int) -> None:
        """Fill some in: one for each success, besides what trying again had cost it."""
        self._tokens = min(self._tokens + tokens, _MOST_TOKENS)


class Expenses:
    """What one call takes out of the budget."""

    def __init__(self, budget: RetryBudget) -> None:
        self._budget = budget
        self._tokens = 0

    def afford(self, error: object) -> bool:
        """Pay for trying again after this error; false where there is not enough."""
        cost = _THROTTLED_COST if isinstance(error, RateLimited) else _RETRY_COST
        if not self._budget.take(cost):
            return False
        self._tokens += cost
        return True

    def refund(self) -> None:
        """Note that it has helped in the end: what helps every time must not run out."""
        self._budget.give_back(self._tokens)
        self._tokens = 0


def waits(
    policy: RetryPolicy,
    random: Random,
    afford: Callable[[Any], bool],
    is_spared: Callable[[Any], bool] = lambda _: False,
) -> Generator[float, Any, None]:
    """Give the wait after each failed try, whose error is sent in; end where patience ends.

    A spared error costs time, but neither an attempt nor what `afford` would take, unless
    `first_wait` or `max_wait` is 0.
    `afford` is asked last, with the error, before a wait is given. In the form of `backoff`'s wait
    generators: the first value is no wait.
    """
    spent = wait = 0.0
    least_wait = min(policy.first_wait, policy.max_wait)
    tries = failures = 0
    while policy.attempts > 1:
        error = None  # which would be kept here for as long as is waited
        error = yield wait
        spared = least_wait > 0 and is_spared(error)
        tries += 1
        failures += not spared
        if failures == policy.attempts:
            return
        longest = min(policy.max_wait, policy.first_wait * 2.0 ** min(tries - 1, 64))
        floor = getattr(error, "retry_after", None) or 0.0
        least = max(longest / 2, floor)
        if spent + least > policy.budget or not (spared or afford(error)):
            return
        # A little above the floor, too: clients that were told the same must not come back as one.
        wait = max(random.uniform(longest / 2, longest), floor * random.uniform(1.0, 1.1))
        wait = min(wait, policy.budget - spent)
        spent += wait
    yield wait
