"""The checks of the chaos run can fail: one wrong fact in a right story, and they say so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plangrep_async import IncompleteResponse
from tests.chaos_report import Totals
from tests.chaos_story import Attempt, Listed, Story, check

NOW = datetime(2024, 11, 2, tzinfo=UTC)


def listed(number: int, name: str | None = None, status: str = "completed") -> Listed:
    """Make a job; a higher number is an older one."""
    created = NOW - timedelta(milliseconds=number)
    return Listed(name or f"job_{number}", created, status, b"{}")


JOBS = [listed(number) for number in range(10)]
BORN = listed(-1, "born")


def whole_story() -> Story:
    """Four responses: cut after three jobs, refused, cut after six, and whole, with a birth."""
    later = [BORN, *JOBS]
    attempts = [
        Attempt(status=200, version=1, jobs=JOBS, broke="cut", read_bytes=21, got=JOBS[:3]),
        Attempt(status=503),
        Attempt(status=200, version=2, jobs=later, broke="stall", read_bytes=30, got=JOBS[3:6]),
        Attempt(status=200, version=2, jobs=later, got=JOBS[6:]),
    ]
    for attempt in attempts:
        attempt.got = attempt.got.copy()
    return Story("proj_1", 3, attempts)


def broken_story(**changes: Any) -> Story:
    """Tell the same, but nothing came after the second cut."""
    story = whole_story()
    story.attempts[3:] = [Attempt(status=200, version=2, jobs=JOBS, broke="reset")] * 2
    facts = {"project_id": "proj_1", "delivered": 6, "last_job_id": "job_5", "attempts": 3}
    story.error = IncompleteResponse("it broke", **{**facts, **changes})
    return story


def names(findings: list[str]) -> set[str]:
    """Give what the findings begin with."""
    return {finding.partition(":")[0] for finding in findings}


@pytest.mark.parametrize("story", [whole_story(), broken_story()])
def test_a_right_stream_gives_no_findings(story: Story) -> None:
    """The checks have nothing to say where all is as it was sent, to the end or to an error."""
    assert check(story) == []


def remove(story: Story, attempt: int, place: int) -> None:
    del story.attempts[attempt].got[place]


def insert(story: Story, attempt: int, place: int, job: Listed) -> None:
    story.attempts[attempt].got.insert(place, job)


def swap(story: Story, attempt: int) -> None:
    story.attempts[attempt].got.reverse()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda story: remove(story, 0, 0), "lost"),
        (lambda story: remove(story, 2, 0), "lost"),
        (lambda story: remove(story, 3, 1), "lost"),
        (lambda story: remove(story, 3, -1), "lost"),
        (lambda story: [one.got.clear() for one in story.attempts], "lost"),
        (lambda story: insert(story, 2, 0, JOBS[2]), "twice"),
        (lambda story: insert(story, 3, 1, JOBS[6]), "twice"),
        (lambda story: insert(story, 3, 1, listed(6, "foreign")), "foreign"),
        (lambda story: story.attempts[3].got.__setitem__(0, listed(6, status="new")), "foreign"),
        (lambda story: swap(story, 0), "order"),
        (lambda story: swap(story, 3), "order"),
        (lambda story: insert(story, 2, 0, BORN), "extra"),
    ],
)
def test_a_wrong_delivery_is_found(spoil: Callable[[Story], Any], expected: str) -> None:
    """One job lost, given twice, made up, changed, out of order, or not of the list."""
    story = whole_story()
    spoil(story)
    assert expected in names(check(story))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"delivered": 5}, "delivered"),
        ({"delivered": 7}, "delivered"),
        ({"last_job_id": "job_4"}, "last_job_id"),
        ({"last_job_id": None}, "last_job_id"),
        ({"project_id": "proj_2"}, "project_id"),
        ({"attempts": 2}, "attempts"),
    ],
)
def test_an_error_that_tells_something_wrong_is_found(changes: Any, expected: str) -> None:
    """The facts of an error are compared with what the consumer got."""
    assert names(check(broken_story(**changes))) == {expected}


@pytest.mark.parametrize(
    ("error", "expected"), [(ValueError("no"), "untyped"), (TimeoutError(), "hang")]
)
def test_an_end_that_is_none_of_our_errors_is_found(error: Exception, expected: str) -> None:
    """A stream ends in order, or in an error of the tree."""
    story = broken_story()
    story.error = error
    assert names(check(story)) == {expected}


def test_a_prefix_with_a_gap_is_found() -> None:
    """What came before an error has to be right as well."""
    story = broken_story(delivered=5)
    remove(story, 0, 1)
    assert check(story) == ["lost: job_1"]


@pytest.mark.parametrize(("patience", "expected"), [(4, "gave up"), (2, "2 requests in a row")])
def test_the_wrong_patience_is_found(patience: int, expected: str) -> None:
    """Neither fewer nor more requests without progress than the policy says."""
    story = broken_story(attempts=patience)
    story.patience = patience
    (finding,) = check(story)
    assert expected in finding


def test_an_end_in_order_that_was_none_is_found() -> None:
    """A refused request, or a response without the place, cannot be the end of the list."""
    story = whole_story()
    story.attempts[3:] = [Attempt(status=503)]
    assert "end" in names(check(story))
    story.attempts[3:] = [Attempt(status=200, version=3, jobs=[BORN])]
    assert names(check(story)) == {"unplaced"}


def test_going_on_without_the_place_is_found() -> None:
    """Older jobs may only follow in a response that has what was delivered last."""
    story = whole_story()
    story.attempts[3].jobs = [job for job in JOBS if job.id != "job_5"]
    assert names(check(story)) == {"unplaced"}


def test_what_may_differ_is_no_finding() -> None:
    """A job gone before its turn, one born in the millisecond of the cut, one from a stale list."""
    story = whole_story()
    twin, removed = listed(5, "twin"), listed(8, "removed")
    last = story.attempts[3]
    last.jobs = last.got = [twin, JOBS[6], JOBS[8], removed, JOBS[9]]
    last.jobs = [JOBS[5], *last.jobs]
    last.version = 0
    assert check(story) == []
    assert list(story.strangers()) == ["twin", "revived"]


def test_failures_have_their_names() -> None:
    """Each attempt that failed says of what, and the stream gave up because of the worst."""
    story = broken_story()
    assert story.failures() == ["cut", "503", "stall", "reset", "reset"]
    assert story.reason == "faults"
    story.attempts[4:] = [Attempt(status=200, version=1, jobs=[])]
    assert (story.failures()[-1], story.reason) == ("stale", "stale")
    story.attempts[4:] = [Attempt(status=200, version=2, jobs=[])]
    assert (story.failures()[-1], story.reason) == ("removed", "removed")


def test_what_was_held_before_a_cut_is_counted() -> None:
    """Of the jobs whose last byte had been read, those that were new; what was skipped is not."""
    assert list(whole_story().held()) == [("cut", 4, 3), ("stall", 3, 3)]


@pytest.mark.parametrize(
    ("held", "left", "early", "expected"),
    [(9, 0, 1, set()), (8, 0, 1, {"held"}), (9, 1, 1, {"left behind"}), (9, 0, 2, {"gave up"})],
)
def test_the_sums_are_judged(held: int, left: int, early: int, expected: set[str]) -> None:
    """Less than 90 % held, anything left behind, more than 1 % given up early: findings."""
    totals = Totals(seed=1)
    totals.cuts["reset"] = [(10, held, 7)]
    totals.left["sockets"] = left
    totals.counts.update(calm=100, early=early)
    totals.finish()
    assert names(totals.findings) == expected
