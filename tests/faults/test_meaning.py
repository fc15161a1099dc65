"""Valid JSON with a wrong meaning: integers, equal keys, lists (S4 to S6)."""

import json
from typing import Any

import pytest

from plangrep_async import InvalidJob, InvalidResponse
from plangrep_async.models import JobBilling, JobError, JobLimits
from tests.conftest import TOKEN, wire_job
from tests.faults.answers import IDS, JOBS, LANES, A, B, C, Connect, brief, read

each_lane = pytest.mark.parametrize("lane", LANES)


def second(**texts: bytes) -> bytes:
    """Make a document of three jobs; `texts` are the JSON of some fields of the second one."""
    job = json.dumps(wire_job(60, **{name: f"@{name}@" for name in texts})).encode()
    for name, text in texts.items():
        job = job.replace(b'"@%b@"' % name.encode(), text)
    return b'{"jobs":[%b,%b,%b]}' % (A, job, C)


# S4: integers.


@pytest.mark.fault("S4")
@each_lane
@pytest.mark.parametrize(
    "value",
    [0, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**4299, -(10**4299)],
    ids=brief,
)
async def test_integers_are_exact(connect: Connect, value: int, lane: str) -> None:
    """An integer of any size that Python reads is that integer, in each field that is one."""
    number = b"%d" % value
    fields = dict.fromkeys(["pageCount", "successfulPageCount"], number)
    nested = {"billing": b'{"creditsDebited":%b}' % number, "limits": b'{"maxFiles":%b}' % number}
    outcome = await read(connect, second(**fields, **nested, error=number), **LANES[lane])
    assert (outcome.ids, outcome.error) == (IDS, None)
    job = outcome.jobs[1]
    assert job.error is not None
    counts = [job.page_count, job.successful_page_count, job.error.raw]
    found = [*counts, job.billing.credits_debited, job.limits.max_files]
    assert [(type(each), each == value) for each in found] == [(int, True)] * 5


@pytest.mark.fault("S4")
@each_lane
@pytest.mark.parametrize(
    "text",
    [
        *(b"1.0", b"1e2", b"1E0", b"-0.0", b"0.5", b"1e-999", b"9007199254740993.0", b"1e999"),
        *(b"7" * 5000, b"-" + b"7" * 5000, b'"7"', b"true", b"null", b"[7]"),
    ],
    ids=brief,
)
async def test_what_is_no_integer_is_refused(connect: Connect, text: bytes, lane: str) -> None:
    """A float is never an integer, whatever its value; nor is what no `int` is made of."""
    for name, value, path in [
        ("pageCount", text, "$.page_count"),
        ("billing", b'{"creditsDebited":%b}' % text, "$.billing.credits_debited"),
    ]:
        outcome = await read(connect, second(**{name: value}), **LANES[lane])
        assert outcome.ids == IDS[:1]
        assert isinstance(outcome.error, InvalidJob)
        assert (outcome.error.index, outcome.error.path) == (1, path)
        assert "expected an integer, got " in str(outcome.error)


# S5: keys that are said twice.


@pytest.mark.fault("S5")
@pytest.mark.parametrize("again", [b"[]", b"null", b"{}", b"[{}]", JOBS.partition(b":")[2]])
@pytest.mark.parametrize("key", [b'"jobs"', rb'"\u006a\u006Fbs"'])
async def test_a_second_list_is_refused(connect: Connect, key: bytes, again: bytes) -> None:
    """Which one is meant cannot be known; the jobs of the first were delivered by then."""
    outcome = await read(connect, b"{%b,%b:%b}" % (JOBS, key, again))
    assert (outcome.ids, type(outcome.error)) == (IDS, InvalidResponse)
    assert 'has "jobs" twice' in str(outcome.error)
    if again[:1] != b"[":
        outcome = await read(connect, b"{%b:%b,%b}" % (key, again, JOBS))
        assert (outcome.ids, type(outcome.error)) == ([], InvalidResponse)


@pytest.mark.fault("S5")
@each_lane
@pytest.mark.parametrize(
    ("members", "field", "expected"),
    [
        (b'"id":"first","id":"second"', "id", "second"),
        (rb'"id":"first","\u0069d":"second"', "id", "second"),
        (b'"id":7,"id":"second"', "id", "second"),
        (b'"pageCount":1,"pageCount":2', "page_count", 2),
        (b'"pageCount":1.0,"pageCount":2', "page_count", 2),
        (b'"status":"failed","status":"new"', "status", "new"),
        (b'"billing":{"creditsDebited":1},"billing":{}', "billing", JobBilling()),
        (b'"limits":{"maxFiles":1,"maxFiles":2}', "limits", JobLimits(max_files=2)),
        (b'"error":{"a":1,"a":{"b":1,"b":2}}', "error", JobError(raw={"a": {"b": 2}})),
        (b'"completedAt":"never","completedAt":null', "completed_at", None),
    ],
)
async def test_the_last_of_equal_keys_counts(
    connect: Connect, members: bytes, field: str, expected: Any, lane: str
) -> None:
    """In a job the last one wins, as in `json`, the first right or wrong."""
    body = b'{"jobs":[%b,%b,%b},%b]}' % (A, B[:-1], members, C)
    outcome = await read(connect, body, **LANES[lane])
    assert outcome.error is None
    found = getattr(outcome.jobs[1], field)
    assert getattr(found, "value", found) == expected


@pytest.mark.fault("S5")
@each_lane
async def test_a_wrong_last_of_equal_keys_is_refused(connect: Connect, lane: str) -> None:
    """A right value does not save a wrong one behind it."""
    body = b'{"jobs":[%b,%b,"pageCount":1,"pageCount":"1"},%b]}' % (A, B[:-1], C)
    outcome = await read(connect, body, **LANES[lane])
    assert outcome.ids == IDS[:1]
    assert isinstance(outcome.error, InvalidJob)
    assert outcome.error.path == "$.page_count"


# S6: where the list is.


@pytest.mark.fault("S6")
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{}", 'has no "jobs"'),
        (b'{"job":%b}' % JOBS.partition(b":")[2], 'has no "jobs"'),
        (b'{"Jobs":[]}', 'has no "jobs"'),
        (b'{"%b":[]}' % TOKEN.encode(), 'has no "jobs"'),
        (b'{"jobs":null}', 'has no list as "jobs"'),
        (b'{"jobs":0}', 'has no list as "jobs"'),
        (b'{"jobs":"[{}]"}', 'has no list as "jobs"'),
        (b'{"jobs":{"a":[{}]}}', 'has an object, not a list, as "jobs"'),
        (b'{"jobs":null,%b}' % JOBS, 'has no list as "jobs"'),
        (b'{"x":{%b}}' % JOBS, 'has no "jobs"'),
        (b'{"x":[{%b}]}' % JOBS, 'has no "jobs"'),
        (b'{"x":"\\"jobs\\":[{}]"}', 'has no "jobs"'),
        (b"[{%b}]" % JOBS, "is not a JSON object"),
        (b"[%b]" % A, "is not a JSON object"),
        (b'"jobs"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"x":"%b",%b}' % (b"a" * (1 << 20), JOBS), 'has no "jobs" in its first 1048576 bytes'),
        (b"{%b%b}" % (b'"x":0,' * 1001, JOBS), 'has no "jobs" among its first 1000 members'),
    ],
    ids=brief,
)
async def test_an_answer_without_the_list_is_refused(
    connect: Connect, body: bytes, fault: str
) -> None:
    """Only the root's own key counts, and only a list; what else there is has a limit."""
    outcome = await read(connect, body)
    assert (outcome.ids, type(outcome.error)) == ([], InvalidResponse)
    assert f"the answer {fault} (" in str(outcome.error)


@pytest.mark.fault("S6", "S9")
@each_lane
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b'"x":{%b},' % JOBS, b',"y":{%b}' % JOBS),
        (b'"x":[[{%b}]],"z":{"jobs":null},' % JOBS, b',"y":[{"jobs":null}]'),
        (b'"x":"\\"jobs\\":[{}],","jobs ":[],"job":{},', b',"y":"],\\"jobs\\":[{}]}"'),
        (b'"x":"%b","y":[%b],' % (b"]}" * 200_000, b"{}," * 99_000 + b"{}"), b',"x":[]'),
        (b'"x":0,' * 999, b',"x":0' * 999),
        (rb'"\"jobs\"":[{}],"\u006aobs2":[{}],"\\jobs":[{}],"jobs\":":[],', b',"\\\\jobs":[]'),
        (b'"page":{"next":null},"total":3,"ok":true,"":[],', b',"requestId":"r","took":1.5'),
    ],
    ids=brief,
)
async def test_the_list_is_found_among_others(
    connect: Connect, before: bytes, behind: bytes, lane: str
) -> None:
    """Big members, new ones, imitations in objects and in texts hide nothing on either side."""
    outcome = await read(connect, b"{%b%b%b}" % (before, JOBS, behind), **LANES[lane])
    assert (outcome.ids, outcome.error) == (IDS, None)
