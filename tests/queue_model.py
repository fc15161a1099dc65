"""Models of rate-limited servers, and a client that sends by `Pace`: no network, no waiting.

Moments are numbers. A model is asked whether it takes a request that arrives at a moment, and says
None, or how long to wait as a server's `Retry-After` would.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from plangrep_async._pace import Pace

Server = Callable[[float], float | None]


@dataclass
class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` of them."""

    rate: float
    burst: float
    says: float | None = 1.0  # what a refusal asks to wait: seconds, or nothing
    _level: float = field(default=math.inf)
    _at: float = 0.0

    def __call__(self, now: float) -> float | None:
        """Take a token, or refuse."""
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level >= 1:
            self._level -= 1
            return None
        return self.says or 0.0


@dataclass
class Window:
    """A counter that begins anew with each second."""

    rate: float
    says: float | None = 1.0
    _window: int = -1
    _count: int = 0

    def __call__(self, now: float) -> float | None:
        """Count, or refuse until the next second."""
        if int(now) != self._window:
            self._window, self._count = int(now), 0
        self._count += 1
        if self._count <= self.rate:
            return None
        return 0.0 if self.says is None else float(math.ceil(int(now) + 1 - now))


@dataclass
class Sliding:
    """As many in any second as the rate says."""

    rate: float
    says: float | None = 1.0
    _taken: deque[float] = field(default_factory=deque)

    def __call__(self, now: float) -> float | None:
        """Take it, or refuse."""
        while self._taken and self._taken[0] <= now - 1:
            self._taken.popleft()
        if len(self._taken) < self.rate:
            self._taken.append(now)
            return None
        return self.says or 0.0


@dataclass
class Moody:
    """Refuses a share of all requests, at whatever pace they come."""

    share: float
    says: float | None = None
    _chance: random.Random = field(default_factory=lambda: random.Random(3))

    def __call__(self, now: float) -> float | None:
        """Take it, or not."""
        return (self.says or 0.0) if self._chance.random() < self.share else None


@dataclass
class Run:
    """What came of a fetch."""

    seconds: float = 0.0
    sent: int = 0
    refused: int = 0
    arrivals: list[float] = field(default_factory=list)


def fetch(
    server: Server,
    pace: Pace,
    *,
    requests: int,
    workers: int = 64,
    latency: float = 0.003,
    cost: float = 0.0006,
    begin: float = 0.0,
    seed: int = 1,
) -> Run:
    """Let workers fetch, each one thing at a time: what is refused waits, and queues again.

    `latency` is the way there and back, `cost` what a request takes of the client's one thread.
    """
    chance, run, now = random.Random(seed), Run(), begin
    numbers = itertools.count()
    events: list[tuple[float, int, str, float, float | None]] = []
    queue, left, done = min(workers, requests), requests, 0
    left -= queue
    thread_free, alarm = begin, math.inf

    def plan(when: float, what: str, sent: float = 0.0, wait: float | None = None) -> None:
        heapq.heappush(events, (when, next(numbers), what, sent, wait))

    while done < requests:
        while queue and pace.delay(now) <= 0:
            queue -= 1
            pace.start(now)
            run.sent += 1
            thread_free = max(thread_free, now) + cost
            plan(thread_free + latency / 2, "arrival", now)
        if queue and (delay := pace.delay(now)) < math.inf and now + delay < alarm:
            alarm = now + max(delay, 0.0005) + chance.random() * 0.001  # timers are a little late
            plan(alarm, "alarm")
        now, _, what, sent, wait = heapq.heappop(events)
        if what == "alarm":
            alarm = math.inf if now == alarm else alarm
        elif what == "arrival":
            run.arrivals.append(now)
            plan(now + latency / 2, "answer", sent, server(now))
        elif what == "again":
            queue += 1
        elif wait is None:
            pace.answered(now)
            pace.leave(now)
            done += 1
            if left:
                left -= 1
                queue += 1
        else:
            run.refused += 1
            pace.throttled(sent, now, wait or None)
            pace.leave(now)
            plan(now + max(chance.uniform(0.25, 0.5), wait * chance.uniform(1.0, 1.1)), "again")
    run.seconds = now - begin
    return run
