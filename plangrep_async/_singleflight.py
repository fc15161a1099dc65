"""Identical calls share one answer: those in flight, and later ones that take it a little old.

Goals: one request for any number of callers; none of them hurts another by leaving; nothing goes
on that nobody waits for. So the work is done by a task of its own, which ends with its last caller,
and whoever began it is a caller like the others. It runs in that one's context (`contextvars`).
"""

import asyncio
import copy
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from plangrep_async._interrupt import all_done
from plangrep_async._lifetime import Lifetime
from plangrep_async.errors import PlangrepError

T = TypeVar("T")

_MOST_KEPT = 128  # answers, the least recently used ones go first


class _Flight(Generic[T]):
    """A call that is under way, or has just ended."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.begun = time.monotonic()
        self.callers = 0
        self.is_kept = False  # for those who come later
        self.answers: list[T] = []  # one at most
        self.error: Exception | None = None


class SingleFlight(Generic[T]):
    """Answers by key, for callers in one event loop.

    An answer is kept once somebody has asked for its key with a `max_age`: whoever never does so
    has nothing kept for them. Errors are not kept.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._flights: dict[str, _Flight[T]] = {}
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    async def get(
        self, key: str, fetch: Callable[[], Coroutine[Any, Any, T]], *, max_age: float
    ) -> T:
        """Give an answer that was asked for less than `max_age` seconds ago, or is in flight."""
        self._lifetime.session.get()  # refuses another loop, where no flight could be waited for
        if max_age > 0 and key in self._kept:
            begun, answer = self._kept[key]
            if time.monotonic() - begun < max_age:
                self._kept.move_to_end(key)
                return answer
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = self._lifetime.start(self._fly(key, flight, fetch))
        flight.is_kept |= max_age > 0
        flight.callers += 1
        try:
            await asyncio.wait([flight.task])
        except asyncio.CancelledError:
            if flight.callers == 1 and not flight.task.done():
                self._end(key, flight)
                flight.task.cancel()
                await all_done([flight.task])
            raise
        finally:
            flight.callers -= 1
        if flight.error is not None:
            raise _own(flight.error)
        flight.task.result()  # raises where it was cancelled
        return flight.answers[0]

    async def _fly(
        self, key: str, flight: _Flight[T], fetch: Callable[[], Coroutine[Any, Any, T]]
    ) -> None:
        try:
            answer = await fetch()
        except Exception as error:  # noqa: BLE001  # whatever it is, all callers get it
            flight.error = error
        else:
            flight.answers.append(answer)
            if self._flights.get(key) is flight and (flight.is_kept or key in self._kept):
                self._keep(key, flight.begun, answer)
        finally:
            self._end(key, flight)

    def _end(self, key: str, flight: _Flight[T]) -> None:
        """Let the next call begin anew."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _keep(self, key: str, begun: float, answer: T) -> None:
        self._kept[key] = begun, answer
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)


def _own(error: Exception) -> Exception:
    """Copy an error for one caller: to raise it changes its traceback and context.

    Only the copy's: the original's traceback, which says where it happened, is the end of both.
    """
    try:
        own = copy.copy(error)
        # A class of the caller's may take what it likes, and make another text of what it has.
        is_same = isinstance(error, PlangrepError) or own.args == error.args
    except Exception:  # noqa: BLE001
        is_same = False
    if not is_same:
        own = error
    own.__cause__, own.__context__ = error.__cause__, error.__context__
    own.__suppress_context__ = error.__suppress_context__  # which a cause sets
    return own.with_traceback(error.__traceback__)
