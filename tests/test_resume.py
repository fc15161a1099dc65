"""Where to go on after a cut, by value and against an oracle."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async._resume import MAX_TIES, OrderBroken, PlaceNotFound, ResumePoint
from plangrep_async.models import Job, JobStatus

START = datetime(2024, 11, 2, tzinfo=UTC)


def job(job_id: object, age: int) -> Job:
    """Make a job; a higher age is an older one."""
    created = START - timedelta(milliseconds=age)
    return Job(
        id=f"job_{job_id}",
        project_id="proj_1",
        status=JobStatus.COMPLETED,
        created_at=created,
        updated_at=created,
    )


def read(point: ResumePoint, response: Sequence[Job], upto: int | None = None) -> list[Job]:
    """Read a response, or its beginning, one job at a time; give what is to be delivered."""
    point.begin_response()
    got = []
    for one in response[:upto]:
        if point.is_new(one):
            point.deliver([one])
            got.append(one)
    if upto is None:
        point.end_response()
    return got


A, B, C, D, E = (job(name, age) for age, name in enumerate("ABCDE"))


@pytest.mark.parametrize("cut", range(6))
def test_a_list_that_did_not_change_goes_on_where_it_was_cut(cut: int) -> None:
    """What was delivered before a cut, and after it, is the list, once."""
    point = ResumePoint()
    before = read(point, [A, B, C, D, E], cut)
    assert before + read(point, [A, B, C, D, E]) == [A, B, C, D, E]


def test_jobs_born_since_are_skipped() -> None:
    """A job newer than what was delivered was not in the list that the stream began with."""
    point = ResumePoint()
    read(point, [B, C, D], 2)
    assert read(point, [A, B, C, D]) == [D]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=6),
    st.integers(0, 4),
)
def test_many_at_once_are_taken_as_one_by_one(batches: list[list[int]], cut: int) -> None:
    """Whatever comes after a cut, in whatever order, `takes_all` leads to the same jobs."""

    def deliver(*, at_once: bool) -> list[int]:
        point, got = ResumePoint(), list[int]()
        read(point, [job(age, age) for age in range(cut)])
        point.begin_response()
        try:
            for ages in [list(range(cut)), *batches]:
                jobs = [job(age, age) for age in ages]
                if not jobs or (at_once and point.takes_all(jobs)):
                    new = jobs
                else:
                    new = [one for one in jobs if point.is_new(one)]
                if new:
                    point.deliver(new)
                got += [ages[jobs.index(one)] for one in new]
        except (OrderBroken, PlaceNotFound) as error:
            return [*got, -1 if isinstance(error, OrderBroken) else -2]
        return got

    assert deliver(at_once=True) == deliver(at_once=False)


def test_before_the_first_delivery_any_response_is_the_list() -> None:
    """Nothing delivered, nothing to find: the next response counts."""
    point = ResumePoint()
    read(point, [B, C], 0)
    assert read(point, [A, B, C]) == [A, B, C]
    assert point.is_found


def test_several_cuts_in_one_stream() -> None:
    """Each response goes on from all that was delivered so far."""
    point = ResumePoint()
    got = [read(point, [A, B, C, D, E], 2), read(point, [A, B, C, D, E], 4)]
    assert [*got, read(point, [A, B, C, D, E])] == [[A, B], [C, D], [E]]


def test_jobs_of_one_moment_are_told_by_their_ids() -> None:
    """A cut among jobs with the same time gives the others of that time, in any order."""
    one, two, three = (job(name, 1) for name in ("x", "y", "z"))
    point = ResumePoint()
    read(point, [A, one, two, three, D], 3)
    assert read(point, [A, three, two, one, D]) == [three, D]


def test_a_removed_job_is_not_missed_while_another_of_its_moment_is_there() -> None:
    """One known id at the last time is enough to know the place."""
    one, two = job("x", 1), job("y", 1)
    point = ResumePoint()
    read(point, [A, one, two, D], 3)
    assert read(point, [A, one, D]) == [D]


def test_a_stale_response_is_no_place_for_itself() -> None:
    """What it gave of the last moment, before it was seen to be stale, is known and no anchor."""
    one, two, three, four = (job(name, 1) for name in "wxyz")
    point = ResumePoint()
    read(point, [one, two, three, four], 2)
    point.begin_response()
    assert point.is_new(four)
    point.deliver([four])
    with pytest.raises(PlaceNotFound):
        point.end_response()
    with pytest.raises(PlaceNotFound):
        read(point, [four])
    assert read(point, [one, two, three, four, D]) == [three, D]


@pytest.mark.parametrize("response", [[A, D], [A], [], [D, E]])
def test_a_response_without_the_place_is_of_no_use(response: list[Job]) -> None:
    """The last delivered job is missing: a stale replica or a removal, nobody can tell."""
    point = ResumePoint()
    read(point, [A, B, C], 2)
    with pytest.raises(PlaceNotFound):
        read(point, response)
    assert read(point, [A, B, C]) == [C]


@pytest.mark.parametrize(
    "response",
    [
        [C, A, D],  # rising behind the place
        [B, A, C, D],  # rising in the part that is skipped
        [A, job("C", 9), D],  # the same id at another time
        [A, job("C", 1), D],
        [A, C, D, B],  # rising later on
    ],
)
def test_a_broken_order_ends_it(response: list[Job]) -> None:
    """Where the list is not ordered as promised, going on would be a guess."""
    point = ResumePoint()
    read(point, [A, B, C], 3)
    with pytest.raises((OrderBroken, PlaceNotFound)) as caught:
        read(point, response)
    assert caught.type is OrderBroken


def test_a_first_response_out_of_order_cannot_be_continued() -> None:
    """It is delivered as it comes; after a cut there is no telling what was delivered."""
    point = ResumePoint()
    assert read(point, [B, A, C], 3) == [B, A, C]
    with pytest.raises(OrderBroken):
        point.begin_response()


def test_a_response_that_gave_nothing_leaves_the_next_one_the_first() -> None:
    """What was only begun before is no reason to refuse a list that is out of order."""
    point = ResumePoint()
    point.begin_response()
    assert read(point, [B, A, C], 3) == [B, A, C]


def test_too_many_jobs_of_one_moment_cannot_be_told_apart() -> None:
    """The memory for ids is bounded: a cut in a longer tie ends the stream."""
    point = ResumePoint()
    point.begin_response()
    point.deliver([job(number, 1) for number in range(MAX_TIES)])
    point.begin_response()
    point.deliver([job("one more", 1)])
    with pytest.raises(OrderBroken, match="same creation time"):
        point.begin_response()


def batches(jobs: Sequence[Job], random: Random) -> list[Sequence[Job]]:
    rest, found = list(jobs), []
    while rest:
        size = random.randint(1, 5)
        found.append(rest[:size])
        rest = rest[size:]
    return found


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    ages=st.lists(st.integers(0, 12), max_size=25),
    cuts=st.lists(st.integers(0, 25), max_size=4),
    seed=st.integers(0, 10_000),
)
def test_every_job_of_the_first_response_exactly_once(
    ages: list[int], cuts: list[int], seed: int
) -> None:
    """With births, ties and cuts anywhere, the list of the first response comes exactly once.

    Jobs born in the very millisecond of a cut may come, too, and are the only ones that may.
    """
    random = Random(seed)
    listed = sorted((job(n, age) for n, age in enumerate(ages)), key=by_age)
    snapshot: list[Job] | None = None
    point = ResumePoint()
    got: list[Job] = []
    for number, cut in enumerate([*cuts, None]):
        point.begin_response()
        response = listed if cut is None else listed[:cut]
        for batch in batches(response, random):
            new = [one for one in batch if point.is_new(one)]
            if new:
                snapshot = listed if snapshot is None else snapshot
                point.deliver(new)
                got += new
        if cut is None:
            point.end_response()
        newest = max((one.created_at for one in listed), default=START)
        births = [job(f"b{number}{n}", -random.randint(0, 3)) for n in range(random.randint(0, 2))]
        listed = sorted([*(b for b in births if b.created_at >= newest), *listed], key=by_age)
    expected = listed if snapshot is None else snapshot
    ids = [one.id for one in got]
    assert len(set(ids)) == len(ids)
    if snapshot is not None:
        times = [one.created_at for one in got]
        assert times == sorted(times, reverse=True)
        assert {one.id for one in expected} <= set(ids)
        assert all(one.id.startswith("job_b") for one in got if one not in expected)


def by_age(one: Job) -> timedelta:
    return START - one.created_at
