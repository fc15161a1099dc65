"""Trying again: backoff does what `_retry.py` says.

Around one coroutine, such as that of a list's next batch, and never around an iteration: decorated
by backoff, an async generator is not retried at all.
"""

import time
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar, TypeVarTuple

import backoff

from plangrep_async._pace import Pace
from plangrep_async._retry import Expenses, RetryBudget, RetryPolicy, is_transient, waits
from plangrep_async._transport import log
from plangrep_async.errors import PlangrepError, RateLimited

A = TypeVarTuple("A")
T = TypeVar("T")

_CAUSE = "_cause"  # where an error keeps its cause while backoff raises it


class Retries:
    """Tries again for one client."""

    def __init__(self, policy: RetryPolicy, pace: Pace) -> None:
        self._policy = policy
        self._pace = pace
        self._random = Random()  # noqa: S311  # jitter, no secret
        self._budget = RetryBudget()

    def note_success(self) -> None:
        """Note a request that was answered as it should be."""
        self._budget.give_back(1)

    async def run(self, attempt: Callable[[*A], Coroutine[Any, Any, T]], *args: *A) -> T:
        """Await `attempt(*args)`; after transient errors again, as the policy says."""
        answers = self._pace.answers
        try:
            return await attempt(*args)  # mostly it succeeds, and costs nothing more
        except PlangrepError as error:
            failures = [error]  # which is taken out of it
        expenses = Expenses(self._budget)
        longest = time.monotonic() + self._policy.budget

        def is_spared(error: Exception) -> bool:
            # Where others were answered since the last try it is the pace that is to blame. Waits
            # may be short, and a turn in the queue is none of them: hence a clock of its own.
            nonlocal answers
            before, answers = answers, self._pace.answers
            is_others = answers > before and time.monotonic() < longest
            return isinstance(error, RateLimited) and is_others

        @backoff.on_exception(
            waits,
            PlangrepError,
            policy=self._policy,
            random=self._random,
            afford=expenses.afford,
            is_spared=is_spared,
            jitter=None,
            giveup=lambda error: not is_transient(error),
            on_backoff=log.retry,
            on_success=lambda _: expenses.refund(),
            on_giveup=_note_attempts,
            logger=None,
        )
        async def go_on() -> T:
            if failures:
                raise failures.pop()
            return await attempt(*args)

        try:
            result: T = await go_on()
        except PlangrepError as error:
            failure = error
        else:
            return result
        # The fork of backoff raises its last error `from None`.
        failure.__cause__ = vars(failure).pop(_CAUSE, failure.__cause__)
        failure.__context__ = None  # backoff's StopIteration, whose frames have the error
        try:
            raise failure
        finally:
            del failure  # whose traceback has this frame: else both wait for the collector


def _note_attempts(details: Any) -> None:
    error = details["exception"]
    error.attempts = details["tries"]
    setattr(error, _CAUSE, error.__cause__)
