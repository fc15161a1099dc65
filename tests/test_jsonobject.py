"""One JSON object, whole or a member of it: what is decoded, and what is refused and how."""

import json
from itertools import pairwise
from typing import Any

import pytest

from plangrep_async._jsonobject import ObjectDecoder
from plangrep_async.errors import IncompleteResponse, InvalidResponse
from tests.faults.answers import brief
from tests.faults.test_texts import ACCEPTED, CONSTANTS, HALVES, REFUSED
from tests.secrets import leaks

CANARY = b'"canary"'
SIZES = [1, 7, 1 << 20]

PLACES = {
    "as a member": (b'{"a":', b"}"),
    "in a member": (b'{"a":1,"b":{"c":', b'},"d":[]}'),
    "in a list": (b'{"b":[1,', b',2],"a":{}}'),
}


def fed(text: bytes, *, size: int = 1 << 20, max_bytes: int = 1 << 30) -> ObjectDecoder:
    decoder = ObjectDecoder(max_bytes=max_bytes, limit="max_bytes: allow more")
    for start in range(0, len(text), size):
        decoder.feed(text[start : start + size])
    return decoder


def decoded(text: bytes, *, size: int = 1 << 20) -> dict[str, Any]:
    decoder = fed(text, size=size)
    for _ in decoder.decode():
        pass
    return decoder.document


def failure(text: bytes, member: str | None = None) -> InvalidResponse:
    """Give what a text is refused with; it shows nothing of the text."""
    with pytest.raises(InvalidResponse) as caught:
        decoded(text) if member is None else fed(text).member(member)
    assert caught.value.__context__ is None
    assert leaks(caught.value, "canary") == []
    return caught.value


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", ACCEPTED, ids=brief)
@pytest.mark.parametrize("place", PLACES)
def test_valid_json_is_decoded_as_json_loads_does(place: str, value: bytes, size: int) -> None:
    """Whole documents equal the oracle's, in pieces of any size; 4,000 digits stay an integer."""
    before, behind = PLACES[place]
    text = b" \r\n" + before + value + behind + b"\n"
    assert decoded(text, size=size) == json.loads(text)


@pytest.mark.fault("S1", "S2")
@pytest.mark.parametrize("value", REFUSED + CONSTANTS, ids=brief)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_json_is_refused(place: str, value: bytes) -> None:
    """Nowhere in a document, and in no member of one that is asked for or not."""
    before, behind = PLACES[place]
    text = b'{"x":' + CANARY + b"," + before[1:] + value + behind
    for member in (None, "a", "x"):
        assert type(failure(text, member)) is InvalidResponse


@pytest.mark.fault("S2")
@pytest.mark.parametrize(("text", "value"), HALVES.items(), ids=brief)
def test_half_of_a_surrogate_pair_is_a_replacement_character(text: bytes, value: Any) -> None:
    """In lists, in members and in names; a pair beside it stays whole."""
    pair = rb'"\ud83d\ude00"'
    document = b'{"a":%b,"b":[%b,%b],"\\ud83d":1}' % (text, text, pair)
    assert decoded(document) == {"a": value, "b": [value, "\U0001f600"], "\ufffd": 1}
    assert json.loads(fed(document).member("a")) == value


@pytest.mark.fault("S3")
@pytest.mark.parametrize("opening", [b"[", b'{"x":'], ids=["lists", "objects"])
@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_extreme_nesting_is_refused(opening: bytes, depth: int) -> None:
    """Closed or not, as a member or in a list; it is no error of the interpreter."""
    closing = b"]" if opening == b"[" else b"}"
    for inside in (opening * depth + b"1" + closing * depth, opening * depth):
        for before, behind in PLACES.values():
            assert type(failure(before + inside + behind)) is InvalidResponse
            assert type(failure(before + inside + behind, "a")) is InvalidResponse


@pytest.mark.fault("S4")
@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5_000], ids=brief)
def test_a_number_that_no_type_holds_is_refused(number: bytes) -> None:
    """Never rounded, never infinite."""
    for before, behind in PLACES.values():
        assert "out of range" in str(failure(before + number + behind))


@pytest.mark.fault("S5")
def test_names_that_occur_twice() -> None:
    """In a document the last one counts, as for `json.loads`; a member must be the only one."""
    text = b'{"a":1,"b":{"c":1,"c":2},"\\u0061":2}'
    assert decoded(text) == json.loads(text) == {"a": 2, "b": {"c": 2}}
    assert str(failure(text, "a")) == 'the answer has "a" twice'
    assert fed(text).member("b") == b'{"c":1,"c":2}'


@pytest.mark.fault("S6", "S8", "S9")
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"{}", 'has no "job"'),
        (b'{"canary":{"job":1}}', 'has no "job"'),
        (b'{"error":"canary"}', 'has no "job" but "error"'),
        (b'[{"job":1}]', "is not a JSON object"),
        (b'"job"', "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"<html>canary</html>", "is not a JSON object"),
        (b'\xef\xbb\xbf{"job":1}', "is not a JSON object"),
        (b'{"job":1}{"job":1}', "is not valid JSON"),
    ],
)
def test_a_member_that_is_not_there(text: bytes, fault: str) -> None:
    """Only the root's own counts, and what is there instead is named where that tells something."""
    assert str(failure(text, "job")) == f"the answer {fault}"


@pytest.mark.fault("B6")
@pytest.mark.parametrize("member", [None, "job"])
def test_what_ends_too_early_is_incomplete_wherever_it_ends(member: str | None) -> None:
    """At every byte; behind the end there may be white space."""
    text = rb'{"a":[1,{"b":"\ud83d\ude00"}],"job":{"c":true,"d":-1.5e3},"e":null}'
    for end in range(len(text)):
        assert type(failure(text[:end], member)) is IncompleteResponse, text[:end]
    for behind in (b"", b" \n"):
        assert decoded(text + behind) == json.loads(text)
        assert json.loads(fed(text + behind).member("job")) == {"c": True, "d": -1500.0}


@pytest.mark.fault("S10")
def test_more_than_the_limit_is_refused_at_once() -> None:
    """The limit is inclusive, and the message says what to do."""
    assert fed(b'{"a":1}', max_bytes=7).member("a") == b"1"
    decoder = fed(b'{"a":"' + CANARY[1:-1], max_bytes=12)
    with pytest.raises(InvalidResponse, match="exceeds max_bytes: allow more") as caught:
        decoder.feed(b"canary")
    assert leaks(caught.value, "canary") == []


@pytest.mark.fault("L9")
def test_a_large_document_is_decoded_in_many_steps() -> None:
    """No step makes more than about 64 KiB of a list, and the steps grow with the list."""
    element = {"text": "door", "box": [1.5] * 20}
    decoder = fed(json.dumps({"evidence": [element] * 20_000, "other": {}}).encode())
    steps = [len(decoder.document["evidence"]) for _ in decoder.decode()]
    assert max(b - a for a, b in pairwise(steps)) < 600
    assert decoder.document == {"evidence": [element] * 20_000, "other": {}}
