"""Bytes that are no UTF-8, in a job and elsewhere, and documents in another encoding (S2).

They make the job that holds them a bad one, in fields that nobody reads too; anywhere else they
are the end of the list.
"""

import codecs

import pytest

from plangrep_async import InvalidJob, InvalidResponse
from tests.faults.answers import (
    IDS,
    JOBS,
    LANES,
    PLACES,
    A,
    B,
    C,
    Connect,
    brief,
    everywhere,
    outcomes,
    read,
)
from tests.test_jsonarray import WHOLE

NOT_UTF8 = [
    b'"\xff"', b'"a\xc3"', b'"\xe2\x82"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"',
    b'"\x80"', b'{"\xfe":1}', b'[["\xf0\x9f\x98"]]', b'"\\n\xfc\xbf"',
]  # fmt: skip
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.fault("S2")
@pytest.mark.parametrize("value", NOT_UTF8, ids=brief)
def test_bytes_that_are_no_text(value: bytes) -> None:
    """In a job they make it a bad one, read or not; elsewhere they end the list."""
    assert everywhere(value) == {
        place: [([IDS[0], "bad", IDS[2]], WHOLE) if count == 1 else (IDS[:count], InvalidResponse)]
        for place, (_, _, count) in PLACES.items()
    }


@pytest.mark.fault("S2")
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("place", ["in an unknown field", "in a known field"])
@pytest.mark.parametrize("value", NOT_UTF8, ids=brief)
async def test_a_job_with_bytes_that_are_no_text(
    connect: Connect, value: bytes, place: str, lane: str
) -> None:
    """It is raised, or skipped, with its index and the reason, and the others are delivered."""
    before, behind, _ = PLACES[place]
    outcome = await read(connect, before + value + behind, **LANES[lane])
    assert outcome.ids == IDS[:1]
    assert isinstance(outcome.error, InvalidJob)
    assert (outcome.error.index, outcome.error.path) == (1, "$")
    assert "element 1: not valid UTF-8" in str(outcome.error)

    outcome = await read(connect, before + value + behind, skip=True, **LANES[lane])
    assert outcome.ids == [IDS[0], IDS[2]]
    assert [(bad.index, bad.reason) for bad in outcome.bad] == [(1, "not valid UTF-8 @ $")]
    assert value in outcome.bad[0].raw


@pytest.mark.fault("S2")
@pytest.mark.parametrize("half", [rb'"\ud83d"', rb'"\ude00"'])
@pytest.mark.parametrize("no_text", NOT_UTF8, ids=brief)
def test_half_a_character_beside_bytes_that_are_no_text(no_text: bytes, half: bytes) -> None:
    """Neither fault changes what becomes of the other, in one job or two, in any pieces."""
    with_half = A[:-1] + b',"x":%b}' % half
    with_bytes = B[:-1] + b',"x":%b}' % no_text
    for jobs, expected in [
        ([with_half, with_bytes, C], [IDS[0], "bad", IDS[2]]),
        ([with_bytes, with_half, C], ["bad", IDS[0], IDS[2]]),
        ([with_bytes[:-1] + b',"y":%b}' % half, C], ["bad", IDS[2]]),
        ([with_half[:-1] + b',"y":%b}' % no_text, C], ["bad", IDS[2]]),
    ]:
        assert outcomes(b'{"jobs":[' + b",".join(jobs) + b"]}") == [(expected, WHOLE)]


@pytest.mark.fault("S2")
@pytest.mark.parametrize(
    "document",
    [codecs.BOM_UTF8 + b"{" + JOBS + b"}"]
    + [(b"{" + JOBS + b"}").decode().encode(name) for name in ENCODINGS],
    ids=["BOM", *ENCODINGS],
)
async def test_no_other_encoding_is_guessed(connect: Connect, document: bytes) -> None:
    """RFC 8259, section 8.1: UTF-8, and nothing before it; a byte order mark is refused."""
    assert outcomes(document) == [([], InvalidResponse)]
    outcome = await read(connect, document)
    assert (outcome.ids, type(outcome.error)) == ([], InvalidResponse)
