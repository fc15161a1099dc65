"""Elements that are no jobs, answers that are no list, and all that may be new (S7 to S9)."""

import json
from typing import Any

import pytest

from plangrep_async import InvalidJob, InvalidResponse
from plangrep_async.converter import make_converter
from plangrep_async.models import Job
from tests.conftest import TOKEN, document, wire_job
from tests.faults.answers import IDS, LANES, Connect, brief, read
from tests.secrets import leaks
from tests.test_elements import BAD

each_lane = pytest.mark.parametrize("lane", LANES)

JOBS = [wire_job(number * 60) for number in range(3)]
WIRE = [json.dumps(job).encode() for job in JOBS]


@pytest.mark.fault("S7")
@each_lane
@pytest.mark.parametrize(("bad", "reason", "path"), BAD, ids=brief)
async def test_a_bad_element(
    connect: Connect, bad: bytes, reason: str, path: str, lane: str
) -> None:
    """Raised or skipped: its index in the list, the path, the reason, and never its content."""
    body = b'{"jobs":[%b,%b,%b]}' % (WIRE[0], bad, WIRE[2])
    outcome = await read(connect, body, **LANES[lane])
    assert outcome.ids == IDS[:1]
    assert isinstance(outcome.error, InvalidJob)
    assert (outcome.error.index, outcome.error.path) == (1, path)
    assert outcome.error.message == f"element 1: {reason} @ {path}"
    assert leaks(outcome.error, "canary") == []

    outcome = await read(connect, body, skip=True, **LANES[lane])
    assert (outcome.ids, outcome.error) == ([IDS[0], IDS[2]], None)
    (element,) = outcome.bad
    assert (element.index, element.path, element.raw) == (1, path, bad)
    assert element.reason == f"{reason} @ {path}"
    assert "canary" not in repr(element) + str(element)


@pytest.mark.fault("S7")
@each_lane
@pytest.mark.parametrize("places", [[0], [999], [0, 1, 31, 32, 33, 500, 998, 999], range(1000)])
async def test_bad_elements_among_many(connect: Connect, places: list[int], lane: str) -> None:
    """Each is counted in the whole list, however its bytes arrive; all others are delivered."""
    jobs: list[Any] = [wire_job(number) for number in range(1000)]
    ids = [job["id"] for number, job in enumerate(jobs) if number not in places]
    for place in places:
        jobs[place] = {**jobs[place], "createdAt": TOKEN}
    outcome = await read(connect, document(jobs), skip=True, **LANES[lane])
    assert (outcome.ids, outcome.error) == (ids, None)
    assert [bad.index for bad in outcome.bad] == list(places)
    assert {bad.path for bad in outcome.bad} == {"$.created_at"}
    outcome = await read(connect, document(jobs), **LANES[lane])
    assert len(outcome.jobs) == places[0]
    assert isinstance(outcome.error, InvalidJob)
    assert outcome.error.index == places[0]


# S8: other answers with a status of 200.

ERROR = {"code": "unavailable", "message": f"try {TOKEN}"}
PAGE = f"<!DOCTYPE html><html><body>{TOKEN}</body></html>"


@pytest.mark.fault("S8")
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (json.dumps({"error": ERROR}), 'has no "jobs" but "error"'),
        (json.dumps({"success": False, "error": TOKEN}), 'has no "jobs" but "error"'),
        (json.dumps({"error": ERROR, "jobs": None}), 'has no list as "jobs"'),
        (json.dumps({"jobs": {"error": ERROR}}), 'has an object, not a list, as "jobs"'),
        (json.dumps([ERROR]), "is not a JSON object"),
        (json.dumps(TOKEN), "is not a JSON object"),
        (PAGE, "is not a JSON object"),
        ("\r\n" + PAGE, "is not a JSON object"),
        (TOKEN, "is not a JSON object"),
    ],
)
async def test_an_error_with_status_200_is_no_empty_list(
    connect: Connect, body: str, fault: str
) -> None:
    """It is refused at once, by the name of what came in the place of jobs, without its text."""
    outcome = await read(connect, body.encode())
    assert (outcome.ids, type(outcome.error)) == ([], InvalidResponse)
    assert f"the answer {fault} (" in str(outcome.error)


# S9: what this version does not know.


@pytest.mark.fault("S9")
@each_lane
async def test_what_is_new_harms_nothing(connect: Connect, lane: str) -> None:
    """Fields that are unknown are ignored at every level, and a status that is unknown is kept."""
    new = {"new": {"id": None, "jobs": [{}]}, "": [1.5, "}{"], "page_count": "x"}
    jobs = [
        {
            **job,
            **new,
            "status": "paused",
            "limits": {**job["limits"], **new},
            "billing": {**job["billing"], **new},
            "files": [{**file, **new, "status": "shredded"} for file in job["files"]],
        }
        for job in JOBS
    ]
    outcome = await read(
        connect, json.dumps({**new, "jobs": jobs, "x": new}).encode(), **LANES[lane]
    )
    assert outcome.error is None
    converter = make_converter()
    known = [converter.structure({**job, "status": "paused"}, Job) for job in JOBS]
    assert [converter.unstructure(job) for job in outcome.jobs] == [
        {**converter.unstructure(job), "files": [{**JOBS[0]["files"][0], "status": "shredded"}]}
        for job in known
    ]
    assert {(job.status.value, job.status.is_known) for job in outcome.jobs} == {("paused", False)}
