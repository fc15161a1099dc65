"""How many requests at once, and how many a second: learned from the answers (pure).

Every moment is an argument, so that the policy can be run against a model of a server.

At once: additive increase and multiplicative decrease, as TCP does it (RFC 5681, section 3.1). A
503 or a time-out halves the limit, once per congestion: the answers to requests that were sent
before the last cut say nothing new. Each good answer gives a little back.

A second: nothing is limited until the first 429, for no API says its limit. Then the pace is a
little below that of the answers just counted. Time counts in which an answer was waited for, and a
pause does not: a bucket of tokens fills in it, so what follows a pause would look slow. The first
count may be of a burst that nothing can be read from, so the pace grows fast until a second 429
has shown where the limit is, and from then on slowly, the faster the longer all is calm. Not every
429 is about the pace: one project may be refused for its own sake, and others must not pay for it.
So a few refusals that ask for no pause change nothing, and the pace keeps a part of the best one.
Where there is a cap the pace begins there, and does not grow above it.
"""

import math

_BELOW = 0.9  # of what was counted
_LEAST_COUNTED = 0.25  # seconds: a shorter burst says nothing of what lasts
_ONE_EVENT = 0.5  # seconds: so long the pace is not lowered again
_FEW = 0.03  # of the answers: so many refusals, that ask for no pause, slow nobody down
_LEAST_OF_BEST = 0.25  # of the best rate that was counted: the pace does not sink below
_HALF_LIFE = 60.0  # seconds, of that best rate
_FAST_GROWTH = 1.5  # per second, of the pace
_SLOWEST = 1.0  # requests a second: or it would take for ever to see that all is well again
_FASTEST = 1e5  # requests a second: as good as no limit
_SLOW_GROWTH = 0.003  # per second, for each second that all was calm
_LONGEST_STEP = 0.5  # seconds: who asks seldom learns slowly
_SLACK = 0.01  # seconds: how late timers are; what they make late is caught up with


class Pace:
    """Says when the next request may be sent. Moments and durations are seconds."""

    def __init__(self, most: int) -> None:
        self.limit: float = float(most)
        """How many requests may be in flight."""
        self.rate: float | None = None
        """How many may be sent a second; None: as many as will."""
        self.in_flight: int = 0
        self.answers: int = 0
        """How many requests were answered, throttling and congestion aside."""
        self.paused_until: float = -math.inf
        self._most = float(most)
        self._fastest = _FASTEST
        self._next = -math.inf  # when the rate allows another request
        self._cut_at = -math.inf
        self._slowed_at = -math.inf
        self._grown_at = -math.inf
        self._has_found_limit = False
        self._best = 0.0  # answers a second
        self._counted = 0  # answers since the pace was lowered
        self._refused = 0  # since then, what came of the lowering aside
        self._busy = 0.0  # seconds since then in which a request was in flight
        self._busy_since = 0.0

    def cap(self, per_second: float) -> None:
        """Let no more than so many be sent a second, whatever the answers say."""
        self.rate = self._fastest = per_second

    def delay(self, now: float) -> float:
        """Give how long a new request has to wait: infinity where one in flight must end first."""
        if self.in_flight >= int(self.limit):
            return math.inf
        return max(0.0, self._next - now, self.paused_until - now)

    def start(self, now: float) -> None:
        """Note that a new request is sent, whose turn it is."""
        self.enter(now)
        if self.rate is not None:
            self._next = max(self._next, now - _SLACK) + 1 / self.rate

    def enter(self, now: float) -> None:
        """Note that one more request is in flight, even above the limit."""
        if not self.in_flight:
            self._busy_since = now
        self.in_flight += 1

    def leave(self, now: float) -> None:
        """Note that one less is in flight."""
        self.in_flight -= 1
        if not self.in_flight:
            self._busy += now - self._busy_since

    def answered(self, now: float) -> None:
        """Note an answer that shows the server at ease."""
        self.answers += 1
        self._counted += 1
        self.limit = min(self.limit + 1 / self.limit, self._most)
        if self.rate is not None:
            growth = _SLOW_GROWTH * (now - self._slowed_at)
            if not self._has_found_limit:
                growth = max(growth, _FAST_GROWTH)
            step = min(now - max(self._grown_at, self.paused_until), _LONGEST_STEP)
            step = max(step, 0.0)  # an answer may come in the pause
            faster = self.rate * math.exp(min(growth, _FAST_GROWTH) * step)
            self.rate = min(faster, self._fastest)
            self._grown_at = now

    def throttled(self, sent: float, now: float, retry_after: float | None) -> None:
        """Note a 429 to a request that was sent at that moment."""
        if retry_after is not None:
            # All stop, and go on one after another: nobody needs to be told twice.
            self.paused_until = max(self.paused_until, now + retry_after)
        if sent <= self._slowed_at or now - self._slowed_at < _ONE_EVENT:
            return
        self._refused += 1
        if not retry_after and self._refused < _FEW * self._counted:
            return
        if self.rate is None:
            # With no answer at all nothing is known but that it must not be all at once.
            self.rate = _BELOW * self._counted_rate(now) if self._counted else self._most
        else:
            counted = self._counted_rate(now)
            forgotten = 0.5 ** ((now - self._slowed_at) / _HALF_LIFE)
            self._best = max(counted, self._best * forgotten)
            lower = _BELOW * min(self.rate, max(counted, self.rate / 2))
            self.rate = min(self.rate, max(lower, self._best * _LEAST_OF_BEST, _SLOWEST))
            self._has_found_limit |= self._counted > 0  # where nothing is answered none is seen
        self._slowed_at = self._grown_at = self._busy_since = now
        self._counted, self._refused, self._busy = 0, 0, 0.0

    def congested(self, sent: float, now: float) -> None:
        """Note a 503, or a time-out, of a request that was sent at that moment."""
        if sent > self._cut_at:
            self._cut_at = now
            self.limit = max(1.0, self.limit / 2)

    def _counted_rate(self, now: float) -> float:
        busy = self._busy + (now - self._busy_since if self.in_flight else 0.0)
        return self._counted / max(busy, _LEAST_COUNTED)
