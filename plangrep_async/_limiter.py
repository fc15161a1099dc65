"""Where requests wait for their turn: one queue a client, in order of arrival.

`_pace.py` decides, and nothing but waiting is done here, before any connection is asked for: so no
time-out counts it. A request holds a permit while the server is waited for. It lends the permit out
while its answer waits for the consumer, and takes it back without waiting: streams that are read
in any order, nested or in turn, cannot lock each other out.
"""

import asyncio
from collections import OrderedDict

from plangrep_async._pace import Pace
from plangrep_async.errors import RateLimited

_PATIENCE = 0.01  # seconds that a consumer may take before its stream's permit is lent out


class Limiter:
    """Bounds the requests of a client, in flight and a second.

    `most` are in flight at any time, fewer while the server is short of breath. A pause that the
    server asks for, and that is longer than `longest_pause` seconds, fails those who wait.
    """

    def __init__(self, most: int, *, longest_pause: float) -> None:
        self.pace = Pace(most)
        self._longest_pause = longest_pause
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()  # a queue
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of those who wait, which may be closed when the last of them is forgotten."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    async def enter(self) -> "Permit":
        """Wait for the turn of a new request. Raises `RateLimited` where that would be too long."""
        now = self.loop.time()
        if not self._waiting and self.pace.delay(now) <= 0:
            self.pace.start(now)
            return Permit(self)
        turn = self.loop.create_future()
        self._waiting[turn] = None
        self.admit()
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled() and turn.exception() is None:  # its turn came all the same
                Permit(self).leave()
            raise
        return Permit(self)

    def admit(self) -> None:
        """Let in whose turn it is; to be called when anything has changed."""
        if not self._waiting or self.loop.is_closed():
            return
        now = self.loop.time()
        self._refuse(self.pace.paused_until - now)
        delay = 0.0
        while self._waiting and (delay := self.pace.delay(now)) <= 0:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():  # or it was cancelled
                self.pace.start(now)
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._waiting and delay < float("inf"):
            self._timer = self.loop.call_at(now + delay, self.admit)

    def _refuse(self, pause: float) -> None:
        if pause <= self._longest_pause:
            return
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_exception(
                    RateLimited(
                        f"the API asked all requests to wait for {pause:.0f} s, which is longer "
                        "than RetryPolicy.budget",
                        status=429,
                        retry_after=pause,
                    )
                )


class Permit:
    """One request that is in flight. Its owner leaves it, at the latest, when all is over."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._sent = limiter.loop.time()
        self._is_held = True
        self._lending: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        """Wait for the server again, with the permit or without."""
        if self._lending is not None:
            self._lending.cancel()
            self._lending = None
        if not self._is_held:
            self._is_held = True
            self._limiter.pace.enter(self._now())

    def lend(self) -> None:
        """Wait for the consumer: if it takes long, others may have the permit."""
        if self._is_held:
            self._lending = self._limiter.loop.call_later(_PATIENCE, self.leave)

    def leave(self) -> None:
        """Give the permit up; any number of times."""
        if self._lending is not None:
            self._lending.cancel()
            self._lending = None
        if self._is_held:
            self._is_held = False
            self._limiter.pace.leave(self._now())
            self._limiter.admit()

    def answered(self) -> None:
        """Note an answer that shows the server at ease."""
        self._limiter.pace.answered(self._now())
        self._limiter.admit()  # the limit may have grown

    def throttled(self, retry_after: float | None) -> None:
        """Note a 429."""
        self._limiter.pace.throttled(self._sent, self._now(), retry_after)
        self._limiter.admit()

    def congested(self) -> None:
        """Note a 503 or a time-out."""
        self._limiter.pace.congested(self._sent, self._now())

    def _now(self) -> float:
        return self._limiter.loop.time()
