"""The policy of the limiter, by value: single steps, and whole fetches from models of servers."""

import math
from itertools import pairwise

import pytest

from plangrep_async._pace import Pace
from tests.queue_model import Bucket, Moody, Run, Sliding, Window, fetch


def busy(pace: Pace, *, answers: int, seconds: float, begin: float = 0.0) -> float:
    """Let one request after another be answered; give the end."""
    for number in range(answers):
        now = begin + number * seconds / answers
        pace.start(now)
        pace.answered(now + seconds / answers)
        pace.leave(now + seconds / answers)
    return begin + seconds


def test_as_many_as_are_allowed_start_at_once() -> None:
    """Until the server complains there is no rate, and only the limit makes a request wait."""
    pace = Pace(3)
    for _ in range(3):
        assert pace.delay(0.0) == 0.0
        pace.start(0.0)
    assert pace.rate is None
    assert pace.delay(0.0) == math.inf
    pace.leave(0.0)
    assert pace.delay(0.0) == 0.0


def test_the_first_429_sets_the_rate_below_that_of_the_answers() -> None:
    """100 answers in a second, then a 429: nine tenths of 100 a second."""
    pace = Pace(8)
    now = busy(pace, answers=100, seconds=1.0)
    pace.start(now)
    pace.throttled(now, now, 0.001)
    assert pace.rate == pytest.approx(90.0)


def test_a_short_burst_counts_as_a_quarter_of_a_second() -> None:
    """What came in a few milliseconds says nothing of what lasts."""
    pace = Pace(8)
    now = busy(pace, answers=50, seconds=0.01)
    pace.start(now)
    pace.throttled(now, now, 0.001)
    assert pace.rate == pytest.approx(0.9 * 50 / 0.25)


def test_without_any_answer_the_rate_is_the_limit_a_second() -> None:
    """Where nothing is known the requests are still not sent all at once."""
    pace = Pace(16)
    pace.start(0.0)
    pace.throttled(0.0, 0.1, 2.0)
    assert pace.rate == 16.0
    assert pace.paused_until == 2.1


def test_answers_to_what_was_sent_before_do_not_slow_down_again() -> None:
    """Twenty refusals of one burst are one event; one that is sent later is another."""
    pace = Pace(64)
    busy(pace, answers=100, seconds=1.0)
    for number in range(20):
        pace.start(1.0)
        pace.throttled(1.0, 1.01 + number / 1000, 0.001)
    assert pace.rate == pytest.approx(0.9 * 100 / 1.01)
    before = pace.rate
    pace.throttled(1.9, 2.0, 0.001)
    assert pace.rate == pytest.approx(before * 0.9 / 2)


def test_no_event_more_than_halves_the_rate() -> None:
    """A server that is silent for a moment does not stop the client."""
    pace = Pace(8)
    busy(pace, answers=100, seconds=1.0)
    pace.throttled(0.9, 1.0, 0.001)
    pace.throttled(5.0, 5.1, 0.001)
    assert pace.rate == pytest.approx(90.0 / 2 * 0.9)


def test_requests_are_spread_after_a_pause() -> None:
    """Nobody starts before the end of a `Retry-After`; then one after another, at the rate."""
    pace = Pace(8)
    busy(pace, answers=100, seconds=1.0)
    pace.throttled(0.9, 1.0, 2.0)
    assert pace.delay(1.0) == pytest.approx(2.0)
    assert pace.delay(3.0) == 0.0
    starts = []
    now = 3.0
    for _ in range(4):
        now += pace.delay(now)
        pace.start(now)
        starts.append(now)
    # The slack makes the first one free; those behind keep their distance.
    assert [b - a for a, b in pairwise(starts)][1:] == pytest.approx([1 / 90] * 2)


def test_a_pause_is_never_shortened() -> None:
    """The longest of several `Retry-After`s counts."""
    pace = Pace(8)
    pace.throttled(0.0, 1.0, 10.0)
    pace.throttled(0.0, 1.1, 1.0)
    assert pace.paused_until == 11.0


def test_the_rate_grows_while_all_is_calm() -> None:
    """Fast until a second 429 has shown the limit, then slowly; an idle client learns nothing."""
    pace = Pace(8)
    busy(pace, answers=100, seconds=1.0)
    pace.throttled(0.9, 1.0, 0.001)
    first = pace.rate
    now = busy(pace, answers=50, seconds=1.0, begin=1.0)
    assert first is not None
    assert pace.rate == pytest.approx(first * math.exp(1.5), rel=0.05)
    pace.throttled(1.9, now, 0.001)
    second = pace.rate
    assert second is not None
    busy(pace, answers=50, seconds=1.0, begin=now)
    assert second < pace.rate < second * 1.01
    third = pace.rate
    pace.answered(now + 1000.0)
    assert pace.rate <= third * math.exp(1.5 * 0.5)


def test_congestion_halves_the_limit_once() -> None:
    """All answers to what was sent before the cut belong to one congestion."""
    pace = Pace(16)
    for _ in range(16):
        pace.start(0.0)
    for _ in range(16):
        pace.congested(0.0, 1.0)
    assert pace.limit == 8
    pace.congested(1.1, 1.2)
    assert pace.limit == 4
    for moment in range(2, 9):
        pace.congested(float(moment), moment + 0.5)
    assert pace.limit == 1


def test_good_answers_give_the_limit_back_and_no_more() -> None:
    """About as many answers as the limit raise it by one, up to where it began."""
    pace = Pace(16)
    for _ in range(16):
        pace.start(0.0)
    pace.congested(0.0, 1.0)
    for _ in range(8):
        pace.answered(1.0)
    assert 8.9 < pace.limit < 9.1
    for _ in range(1000):
        pace.answered(1.0)
    assert pace.limit == 16


def test_a_stream_that_comes_back_does_not_wait_but_counts() -> None:
    """Above the limit nothing new begins until enough have left."""
    pace = Pace(1)
    pace.start(0.0)
    pace.enter(0.0)
    assert pace.in_flight == 2
    pace.leave(0.0)
    assert pace.delay(0.0) == math.inf
    pace.leave(0.0)
    assert pace.delay(0.0) == 0.0


SERVERS = {
    # The time over the ideal, and the share of refusals, that the policy stays below.
    "bucket of a second": (lambda rate, says: Bucket(rate, rate, says), 1.05, 0.15),
    "bucket of a fifth": (lambda rate, says: Bucket(rate, rate / 5, says), 1.7, 0.06),
    "window": (Window, 1.25, 0.18),
    "sliding window": (Sliding, 1.4, 0.16),
}


def fetched(kind: str, says: float | None, *, rate: float = 200, requests: int = 2000) -> Run:
    return fetch(SERVERS[kind][0](rate, says), Pace(64), requests=requests)


@pytest.mark.parametrize("says", [1.0, None], ids=["Retry-After", "no header"])
@pytest.mark.parametrize("kind", SERVERS)
def test_it_settles_near_the_capacity_of_a_server(kind: str, says: float | None) -> None:
    """2,000 requests at 200 a second take little more than ten seconds, with few refusals."""
    run = fetched(kind, says)
    _, slowest, most_refused = SERVERS[kind]
    assert 0.85 < run.seconds / 10 < slowest
    assert 0 < run.refused / run.sent < most_refused


def test_it_comes_back_when_capacity_does() -> None:
    """A limit that is raised from 50 to 200 a second is used within some twenty seconds."""
    pace = Pace(64)
    slow = fetch(Bucket(50, 50), pace, requests=500)
    assert pace.rate is not None
    assert pace.rate < 150
    begin = slow.seconds
    fast = fetch(Bucket(200, 200, _at=begin), pace, requests=8000, begin=begin)
    last = [moment for moment in fast.arrivals if moment > begin + fast.seconds - 5]
    assert 150 < len(last) / 5 < 230
    assert fast.seconds < 8000 / 200 * 1.4


@pytest.mark.parametrize("says", [1.0, None], ids=["Retry-After", "no header"])
def test_nobody_is_sent_during_a_pause(says: float | None) -> None:
    """After the first `Retry-After` there is a second without arrivals, but for what was sent."""
    run = fetched("bucket of a second", says)
    gaps = [b - a for a, b in pairwise(run.arrivals)]
    assert (max(gaps) > 0.9) == (says is not None)


def test_the_limit_settles_where_a_server_takes_no_more() -> None:
    """A server that takes 10 at once is found within a few congestions, and used."""
    pace = Pace(64)
    in_flight = 0
    now = 0.0
    limits = []
    for _ in range(400):
        now += 0.01
        sent = now
        while pace.delay(now) <= 0:
            pace.start(now)
            in_flight += 1
        now += 0.01
        for number in range(in_flight):
            pace.leave(now)
            if number < 10:
                pace.answered(now)
            else:
                pace.congested(sent, now)
        in_flight = 0
        limits.append(pace.limit)
    settled = limits[20:]
    assert min(settled) > 4.5
    assert max(settled) < 12
    assert sum(settled) / len(settled) > 6


def test_a_few_refusals_that_ask_for_no_pause_slow_nobody_down() -> None:
    """One in fifty is refused for its own sake: the fetch takes hardly longer than without."""
    free = fetch(lambda _: None, Pace(64), requests=4000)
    moody = fetch(Moody(0.02), Pace(64), requests=4000)
    assert moody.refused > 50
    assert moody.seconds < 4 * free.seconds


def test_the_pace_keeps_a_part_of_the_best_one() -> None:
    """Refused again and again, it sinks to a quarter of what was counted, and no further."""
    pace = Pace(64)
    now = 0.0
    for answers in (100, 100, *[8] * 10):
        now = busy(pace, answers=answers, seconds=1.0, begin=now)
        pace.throttled(now - 0.001, now, 0.001)
    # The best one is forgotten slowly: by half in a minute.
    assert pace.rate == pytest.approx(100 / 4 * 0.5 ** (10 / 60), rel=0.05)


def test_one_refusal_among_many_answers_says_nothing() -> None:
    """Without a `Retry-After` it takes three in a hundred to be slower."""
    pace = Pace(64)
    now = busy(pace, answers=100, seconds=1.0)
    for rate in (None, None, pytest.approx(90.0, rel=0.01)):
        pace.throttled(now, now + 0.001, None)
        assert pace.rate == rate


def test_a_cap_is_where_the_pace_begins_and_what_it_never_exceeds() -> None:
    """From the first request on; a 429 lowers the pace, and calm brings it back to the cap."""
    pace = Pace(4)
    pace.cap(10.0)
    pace.start(0.0)
    assert pace.delay(0.0) == pytest.approx(0.1, abs=0.011)  # timers may be late
    pace.leave(0.0)
    now = busy(pace, answers=100, seconds=50.0, begin=1.0)
    assert pace.rate == 10.0
    pace.start(now)
    pace.throttled(now, now + 0.1, 0.001)
    pace.leave(now + 0.1)
    assert pace.rate is not None
    assert pace.rate < 5.0
    busy(pace, answers=1_000, seconds=500.0, begin=now + 1)
    assert pace.rate == 10.0
