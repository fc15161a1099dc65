"""Texts and numbers that are no JSON, or JSON that few expect, wherever they stand (S1, S2).

What RFC 8259 refuses is refused everywhere, in fields that nobody reads too, and never waited for.
Half of a surrogate pair, which JavaScript writes for a cut emoji, is U+FFFD. A number too large for
a float is refused in a field that is read, and ignored elsewhere: it is valid JSON.
"""

import asyncio
import json
from typing import Any

import pytest

from plangrep_async import InvalidJob, InvalidResponse, Timeouts
from tests.conftest import wire_job
from tests.faults.answers import (
    IDS,
    LANES,
    PLACES,
    A,
    B,
    C,
    Connect,
    brief,
    consume,
    everywhere,
    outcomes,
    read,
)
from tests.raw_server import CHUNKED, Connection, RawServer, chunked, head
from tests.test_jsonarray import WHOLE
from tests.test_jsonarray_properties import refuse

CONSTANTS = [b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b'{"a":-Infinity}']
REFUSED = [
    *(b"", b"01", b"-01", b"1.", b".5", b"+1", b"- 1", b"1e", b"1e+", b"1.e1", b"0x1", b"1_0"),
    *(b"--1", b"1 2", b"nan", b"inf", b"-NaN", b"True", b"nul", b"truee", b"undefined"),
    *(b"-", b"/**/1", b"1//", b"#1", b"'a'", b'"a" "b"', b"\x00", b"\x0b1", b"\xff", b"\xc2\xa0"),
    *(b'"\x00"', b'"\x1f"', b'"\n"', b'"\t"', b'{"a\r":1}', b'"\\q"', b'"\\\n"', b'"\\u00g0"'),
    *(b'"\\u12"', b'"\\U0041"', b'"\\x41"', b'"\\ud83d\\u12"', b"\xef\xbb\xbf1", b"\xe2\x80\x9da"),
    *(b"[1,]", b"[,1]", b"[1}", b"{,}", b'{"a":1,}', b'{"a"}', b'{"a",1}', b"{1:2}", b"}"),
    *(b"{a:1}", b'{"a" 1}', b'{"a":}', b'{"a":1]', b'{"a":[}', b"]"),
]  # fmt: skip
ACCEPTED = [
    *(b"0", b"-0", b"-0.0", b"1.0", b"1E+2", b"-1.5e-10", b"1e-999", b"9" * 4000, b"true", b"null"),
    *(b"[]", b"{}", b"[[]   ]", b"[ \t\n\r1 ]", b'{"":{"":[]}}', b'""', b'"/*"'),
    *(b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\x7f"', b'"\\u00E9\\u00e9"', b'"\\uffff"', b'"\\\\ud83d"'),
    *('"\u2028\ufeff\uffff\U0010ffff"'.encode(), b'"\\ud83d\\ude00"', '"é\\u0022]}"'.encode()),
    *(b'{"a":1,"a":[2]}', b'{"\\u0061":1}', b"0." + b"1" * 999, b'"\\u0000\\u001f"'),
]  # fmt: skip
HALVES = {
    rb'"\ud83d"': "\ufffd",
    rb'"\ude00"': "\ufffd",
    rb'"\ude00\ud83d"': "\ufffd\ufffd",
    rb'"\uD83D\ud83d\ude00 "': "\ufffd\U0001f600 ",
    rb'"a\ud83d\n"': "a\ufffd\n",
    rb'{"\udbff":["\udc00"]}': {"\ufffd": ["\ufffd"]},
}


@pytest.mark.fault("S1", "S2")
@pytest.mark.parametrize("value", CONSTANTS + REFUSED, ids=brief)
def test_what_is_no_json_is_refused_wherever_it_stands(value: bytes) -> None:
    """Both lanes refuse it in any pieces, behind the jobs before it, and never ask for more."""
    with pytest.raises(ValueError):  # noqa: PT011  # of three classes, by any text
        json.loads(b'{"x":%b}' % value, parse_constant=refuse)
    assert everywhere(value) == {
        place: [(IDS[:count], InvalidResponse)] for place, (_, _, count) in PLACES.items()
    }


@pytest.mark.fault("S1", "S2")
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("value", CONSTANTS + REFUSED, ids=brief)
async def test_what_is_no_json_is_asked_for_once(connect: Connect, value: bytes, lane: str) -> None:
    """A field that nobody reads ends the stream, after the job before it, with its own error."""
    before, behind, _ = PLACES["in an unknown field"]
    outcome = await read(connect, before + value + behind, **LANES[lane])
    assert outcome.ids == IDS[:1]
    assert type(outcome.error) is InvalidResponse
    assert "after element 1 of its list" in str(outcome.error)


@pytest.mark.fault("S2")
@pytest.mark.parametrize("value", [*ACCEPTED, *HALVES], ids=brief)
def test_json_is_taken_wherever_it_stands(value: bytes) -> None:
    """What is odd, and JSON, hides no job from either lane; alone in the list it is a bad one."""
    json.loads(value, parse_constant=refuse)
    expected = {place: [(IDS, WHOLE)] for place in PLACES}
    assert everywhere(value) == {**expected, "as an element": [([IDS[0], "bad", IDS[2]], WHOLE)]}


@pytest.mark.fault("S2")
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(
    ("value", "expected"), [*((v, json.loads(v)) for v in ACCEPTED), *HALVES.items()], ids=brief
)
async def test_json_is_read_as_it_is(
    connect: Connect, value: bytes, expected: Any, lane: str
) -> None:
    """A field of any shape holds what was sent, half a surrogate pair as U+FFFD."""
    before, behind, _ = PLACES["in a known field"]
    outcome = await read(connect, before + value + behind, **LANES[lane])
    assert (outcome.ids, outcome.error) == (IDS, None)
    error = outcome.jobs[1].error
    assert repr(None if error is None else error.raw) == repr(expected)


# Numbers that no float holds.


@pytest.mark.fault("S1")
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1E400", b"7" * 400 + b".0"], ids=brief)
async def test_a_number_beyond_a_float(connect: Connect, number: bytes, lane: str) -> None:
    """Where a field is read it is refused, never infinity; where none is, it is valid JSON."""
    for place, (before, behind, _) in PLACES.items():
        if place not in ("in a known field", "as an element"):
            assert outcomes(before + number + behind) == [(IDS, WHOLE)]
    known = {"error": "expected finite numbers", "pageCount": "expected an integer, got a number"}
    for name, reason in known.items():
        for value in (number, b'[0,{"a":%b}]' % number) if name == "error" else (number,):
            job = json.dumps(wire_job(60, **{name: "@"})).encode().replace(b'"@"', value)
            outcome = await read(connect, b'{"jobs":[%b,%b,%b]}' % (A, job, C), **LANES[lane])
            assert outcome.ids == IDS[:1]
            assert isinstance(outcome.error, InvalidJob)
            assert f"element 1: {reason} @ $." in str(outcome.error)


# While it arrives.


@pytest.mark.fault("S1", "S2")
@pytest.mark.parametrize(
    "value", [b"NaN", b"01", b'"\n"', b'"\\q"', b"{,}", b"\xff", b"tru"], ids=brief
)
async def test_a_fault_is_not_waited_for(connect: Connect, value: bytes) -> None:
    """A server that stops behind the fault, and stays, is left at once and not asked again."""

    async def send(conn: Connection) -> None:
        before, behind, _ = PLACES["in an unknown field"]
        await conn.send(head(headers=[CHUNKED]))
        await conn.send(chunked([before + value + behind[: len(B)]], terminator=False))
        await conn.stall()

    patient = Timeouts(read=30)
    async with RawServer([send]) as server, connect(server.base_url, timeout=patient) as client:
        async with asyncio.timeout(10):
            outcome = await consume(client)
        assert (outcome.ids, type(outcome.error)) == (IDS[:1], InvalidResponse)
        await server.wait_closed_by_client()
        assert len(server.requests) == 1
