"""The retry policy by value: what is tried again, how long the waits are, where patience ends."""

import inspect
import math
from collections.abc import Iterable
from itertools import islice
from random import Random
from typing import Any

import attrs
import backoff
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import errors
from plangrep_async._retry import Expenses, RetryBudget, RetryPolicy, is_transient, waits
from plangrep_async._status import status_error
from plangrep_async._transport.timeouts import Timeouts
from plangrep_async.errors import ConfigurationError, PlangrepError, RateLimited, ServerError

FAILED = ServerError("failed", status=503)


def asked_to_wait(seconds: float | None) -> RateLimited:
    return RateLimited("wait", status=429, retry_after=seconds)


def all_waits(policy: RetryPolicy, sent: Iterable[Any], *, seed: int = 7) -> list[float]:
    """Send in the errors one by one; the waits until they or the policy's patience ended."""
    steps = waits(policy, Random(seed), lambda _: True)
    assert next(steps) == 0.0
    given = []
    for error in sent:
        try:
            given.append(steps.send(error))
        except StopIteration:
            break
    return given


@pytest.mark.parametrize("attempts", [1, 2, 3, 5, 50])
def test_there_is_one_wait_less_than_attempts(attempts: int) -> None:
    """Between n tries there are n - 1 waits, so one attempt gives none."""
    policy = RetryPolicy(attempts=attempts, first_wait=0.001, max_wait=0.002)
    assert len(all_waits(policy, [FAILED] * 100)) == attempts - 1


@pytest.mark.parametrize("seed", range(20))
def test_waits_double_up_to_the_longest(seed: int) -> None:
    """Each wait lies between half and all of the exponential one, which ends at max_wait."""
    policy = RetryPolicy(attempts=8, first_wait=1.0, max_wait=10.0)
    given = all_waits(policy, [FAILED] * 10, seed=seed)
    assert len(given) == 7
    for wait, longest in zip(given, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize("first_wait", [1e-9, 1.0, 1e308])
def test_a_huge_number_of_attempts_does_not_overflow(first_wait: float) -> None:
    """The 2,000th wait is still finite and at most max_wait."""
    policy = RetryPolicy(attempts=10**30, first_wait=first_wait, max_wait=2.0, budget=1e9)
    given = all_waits(policy, [FAILED] * 2000)
    assert len(given) == 2000
    assert 1.0 <= given[-1] <= 2.0


@pytest.mark.fault("H6")
@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("floor", [0.001, 2.0, 45.0])
def test_retry_after_is_a_floor(floor: float, seed: int) -> None:
    """No jitter and no max_wait makes a wait shorter than the server asked, nor much longer."""
    policy = RetryPolicy(attempts=2, first_wait=0.002, max_wait=0.5)
    (wait,) = all_waits(policy, [asked_to_wait(floor)], seed=seed)
    assert floor <= wait <= max(floor * 1.1, 0.002)


def test_those_who_were_told_the_same_do_not_come_back_as_one() -> None:
    """Twenty clients with one Retry-After wait twenty different times."""
    policy = RetryPolicy(attempts=2)
    given = {all_waits(policy, [asked_to_wait(60.0)], seed=seed)[0] for seed in range(20)}
    assert len(given) == 20


@pytest.mark.fault("H6")
@pytest.mark.parametrize(
    ("floors", "expected"),
    [
        ([10.001], 0),
        ([math.inf], 0),
        ([10.0], 1),
        ([9.9, 9.9], 1),
        ([4.0, 4.0, 4.0], 2),
        ([None] * 4, 4),
    ],
)
def test_a_retry_after_beyond_the_budget_ends_at_once(
    floors: list[float | None], expected: int
) -> None:
    """A wait that does not fit into what is left of the budget is not begun."""
    policy = RetryPolicy(attempts=9, first_wait=0.01, max_wait=0.01, budget=10.0)
    given = all_waits(policy, map(asked_to_wait, floors))
    assert len(given) == expected
    assert sum(given) <= 10.0


@pytest.mark.fault("H6")
def test_jitter_above_the_floor_is_cut_at_the_budget() -> None:
    """A Retry-After of the whole budget waits that long, whatever the jitter adds."""
    policy = RetryPolicy(budget=10.0)
    given = [all_waits(policy, [asked_to_wait(10.0)], seed=seed) for seed in range(20)]
    assert given == [[10.0]] * 20


seconds = st.floats(0, 1e308) | st.floats(0, 100) | st.integers(0, 10**300)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 20),
    first_wait=seconds,
    max_wait=seconds,
    budget=seconds,
)
floors = st.none() | st.just(0.0) | st.floats(1e-6, 1e9) | st.floats(1e-6, 10)


@pytest.mark.fault("H6")
@settings(derandomize=True, deadline=None)
@given(policies, st.lists(floors, max_size=30), st.integers())
def test_every_wait_is_finite_above_its_floor_and_within_the_budget(
    policy: RetryPolicy, asked: list[float | None], seed: int
) -> None:
    """Whatever policy and servers there are: finite, at least Retry-After, in sum the budget."""
    given = all_waits(policy, map(asked_to_wait, asked), seed=seed)
    assert len(given) <= policy.attempts - 1
    rounding = policy.budget * 1e-12  # of the sum
    for wait, floor in zip(given, asked, strict=False):
        assert math.isfinite(wait)
        assert wait >= (floor or 0.0) - rounding
    assert sum(given) <= policy.budget + rounding


BAD_SECONDS = [-1, -1e-9, math.nan, math.inf, -math.inf, True, False, "1", None, 1j, [1.0]]


@pytest.mark.parametrize("value", BAD_SECONDS, ids=repr)
@pytest.mark.parametrize("name", ["first_wait", "max_wait", "budget"])
def test_a_policy_takes_finite_seconds_only(name: str, value: Any) -> None:
    """Anything but a finite number of at least 0 is refused, and the field is named."""
    with pytest.raises(ConfigurationError, match=rf"^RetryPolicy\.{name} must be"):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, math.nan, math.inf, True, "3", None], ids=repr)
def test_a_policy_takes_a_whole_number_of_attempts(value: Any) -> None:
    """Attempts are an integer of at least 1, and the refusal names the field."""
    with pytest.raises(ConfigurationError, match=r"^RetryPolicy\.attempts must be"):
        RetryPolicy(attempts=value)


@pytest.mark.parametrize("value", [*BAD_SECONDS, 0, 0.0, -0.0], ids=repr)
@pytest.mark.parametrize("name", ["connect", "read"])
def test_time_outs_are_finite_seconds_above_zero(name: str, value: Any) -> None:
    """A time-out of 0 is refused like any other value that cannot be one."""
    with pytest.raises(ConfigurationError, match=rf"^Timeouts\.{name} must be .* above 0$"):
        Timeouts(**{name: value})


@pytest.mark.parametrize(
    ("options", "name"),
    [(RetryPolicy, "first_wait"), (RetryPolicy, "budget"), (Timeouts, "read")],
)
def test_an_integer_too_large_for_a_float_is_refused(options: Any, name: str) -> None:
    """Seconds that no float can hold are a ConfigurationError like infinity."""
    with pytest.raises(ConfigurationError, match=name):
        options(**{name: 10**400})


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (RetryPolicy(), "RetryPolicy(attempts=5, first_wait=0.5, max_wait=30.0, budget=300.0)"),
        (Timeouts(), "Timeouts(connect=10.0, read=60.0)"),
    ],
    ids=["RetryPolicy", "Timeouts"],
)
def test_options_are_frozen_keyword_only_values(options: Any, shown: str) -> None:
    """They show their defaults, compare by value, and neither change nor take positions."""
    assert repr(options) == shown
    assert options == attrs.evolve(options)
    assert hash(options) == hash(attrs.evolve(options))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(options, attrs.fields(type(options))[0].name, 1)
    with pytest.raises(TypeError):
        type(options)(1)


TRANSIENT = {"ConnectionFailed", "RequestTimeout", "IncompleteResponse"}
CLASSES = [cls for cls in vars(errors).values() if inspect.isclass(cls)]
TREE = [cls for cls in CLASSES if issubclass(cls, PlangrepError)]
BY_STATUS = [cls for cls in TREE if issubclass(cls, errors.ApiStatusError)]
OTHERS = [cls for cls in TREE if cls not in BY_STATUS]


@pytest.mark.parametrize("cls", OTHERS)
def test_which_failures_without_a_status_are_transient(cls: type[PlangrepError]) -> None:
    """Broken connections and answers that ended early are, everything else is not."""
    facts: dict[str, Any] = {"index": 0} if cls is errors.InvalidJob else {}
    assert is_transient(cls("text", **facts)) == (cls.__name__ in TRANSIENT)


@pytest.mark.fault("H7", "H8")
@pytest.mark.parametrize("cls", BY_STATUS)
def test_which_statuses_are_transient(cls: type[errors.ApiStatusError]) -> None:
    """Six of the statuses from 400 to 599 are, and the class of the error plays no part."""
    transient = [status for status in range(400, 600) if is_transient(cls("", status=status))]
    assert transient == [408, 429, 500, 502, 503, 504]
    assert is_transient(status_error("GET x", 429, b""))


@pytest.mark.parametrize("error", [TimeoutError(), OSError(), ValueError()], ids=repr)
def test_foreign_errors_are_not_transient(error: Exception) -> None:
    """Only our own errors are tried again."""
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("options", "asked", "calls"),
    [
        ({"attempts": 1}, None, 1),
        ({"attempts": 4}, None, 4),
        ({"attempts": 4}, 0.002, 4),
        ({"attempts": 4, "budget": 1.0}, 1.1, 1),
        ({"attempts": 99, "first_wait": 0.004, "max_wait": 0.004, "budget": 0.005}, None, 3),
    ],
)
async def test_backoff_calls_as_often_as_the_policy_says(
    options: dict[str, Any], asked: float | None, calls: int
) -> None:
    """Under backoff the last error is the one raised, after as many calls as there is patience."""
    raised: list[RateLimited] = []
    slept: list[float] = []
    policy = RetryPolicy(**{"first_wait": 0.001, "max_wait": 0.002, **options})

    @backoff.on_exception(
        waits,
        PlangrepError,
        policy=policy,
        random=Random(3),
        afford=lambda _: True,
        jitter=None,
        on_backoff=lambda details: slept.append(details["wait"]),
        logger=None,
    )
    async def fail() -> None:
        raised.append(asked_to_wait(asked))
        raise raised[-1]

    with pytest.raises(RateLimited) as caught:
        await fail()
    assert len(raised) == calls
    assert caught.value is raised[-1]
    assert slept == all_waits(policy, islice(raised, calls - 1), seed=3)


def test_the_budget_of_a_client_lets_few_retries_through_when_all_fails() -> None:
    """A full bucket pays for 35 retries of failures, or for 100 of throttled requests."""
    for error, most in [(FAILED, 35), (asked_to_wait(None), 100)]:
        budget = RetryBudget()
        paid = [Expenses(budget).afford(error) for _ in range(most + 1)]
        assert paid == [True] * most + [False]


def test_successes_fill_the_budget_up_again_to_its_brim() -> None:
    """Fourteen successes pay for one retry; a client that never failed saves up no more."""
    budget = RetryBudget()
    failing = Expenses(budget)
    while failing.afford(FAILED):
        pass
    for _ in range(14):
        budget.give_back(1)
    assert [failing.afford(FAILED), failing.afford(FAILED)] == [True, False]
    for _ in range(10_000):
        budget.give_back(1)
    assert sum(failing.afford(FAILED) for _ in range(100)) == 35


def test_a_retry_that_cannot_be_afforded_ends_the_waits() -> None:
    """The policy's own patience is asked first: what it refuses costs nothing."""
    asked: list[Any] = []
    steps = waits(RetryPolicy(attempts=9), Random(1), lambda error: bool(asked.append(error)))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(FAILED)
    assert asked == [FAILED]
    steps = waits(RetryPolicy(attempts=1), Random(1), lambda error: bool(asked.append(error)))
    next(steps)
    with pytest.raises(StopIteration):
        steps.send(FAILED)
    assert asked == [FAILED]


def spared_waits(policy: RetryPolicy, errors: int) -> list[float]:
    """Send in errors that cost no attempt; the waits until patience ended."""
    steps = waits(policy, Random(7), lambda _: False, lambda _: True)
    next(steps)
    given = []
    for _ in range(errors):
        try:
            given.append(steps.send(asked_to_wait(None)))
        except StopIteration:
            break
    return given


def test_what_is_spared_backs_off_and_is_bounded_by_the_budget() -> None:
    """A project that is always throttled costs neither attempts nor tokens, but ever more time."""
    policy = RetryPolicy(attempts=3, first_wait=0.05, max_wait=30.0, budget=2.0)
    given = spared_waits(policy, 1000)
    assert 3 < len(given) < 8
    assert sum(given) <= 2.0
    assert given[-2] > given[0]


def test_without_waits_nothing_is_spared() -> None:
    """Where waiting takes no time it would go on for ever."""
    assert spared_waits(RetryPolicy(attempts=3, first_wait=0.0), 1000) == []
    assert spared_waits(RetryPolicy(attempts=3, max_wait=0.0), 1000) == []


@pytest.mark.parametrize("errors", [[FAILED], [FAILED] * 4, [FAILED, asked_to_wait(None)]])
def test_retries_that_help_do_not_run_out(errors: list[PlangrepError]) -> None:
    """What the retries of a call took comes back with its success, and no more than that."""
    budget = RetryBudget()
    for _ in range(1000):
        helped = Expenses(budget)
        assert all(map(helped.afford, errors))
        helped.refund()
        helped.refund()
    failing = Expenses(budget)
    assert [failing.afford(FAILED) for _ in range(36)] == [True] * 35 + [False]
