"""The incremental decoder on any document in any pieces: right as `json` is, in linear time."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate, count, cycle, pairwise, repeat, takewhile
from operator import mul
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import _jsonarray, _jsonhead
from plangrep_async._boundaries import Mark, Scanner
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async.errors import InvalidResponse
from tests.test_boundaries import NASTY
from tests.test_jsonarray import WHOLE, decoded, in_pieces, raws

# Set HYPOTHESIS_MAX_EXAMPLES to search longer, and elsewhere each time.
MORE = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "0"))
examples = settings(derandomize=not MORE, database=None, deadline=None, max_examples=MORE or 300)


def at_cuts(text: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def refuse(constant: str) -> None:
    raise ValueError(constant)


def values(array: bytes) -> list[list[Any]]:
    """Decode as `json` does, but for halves of surrogate pairs, which msgspec refuses."""
    elements = json.loads(array.decode(), parse_constant=refuse)
    json.dumps(elements, ensure_ascii=False).encode()
    return [elements]


def mended(text: str) -> str:
    """Replace halves of surrogate pairs."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# Any document, against `json`.

texts = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=3).map("".join)
scalars = texts | st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def documents(draw: Any) -> bytes:
    """Make a document with a list of jobs among other members, in any layout."""
    others = st.dictionaries(texts.filter(lambda key: key != "jobs"), anything, max_size=2)
    jobs = draw(st.lists(st.dictionaries(texts, anything, max_size=3) | anything, max_size=6))
    text = json.dumps(
        {**draw(others), "jobs": jobs, **draw(others)},
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 2, 4, "\t"])),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
    )
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))).encode()


def promised(document: bytes) -> list[Any] | None:
    """Find the jobs of a whole document; `None` where `json` refuses it or there is no one list."""
    try:
        root = json.loads(document.decode(), parse_constant=refuse)
    except ValueError:
        return None
    if not isinstance(root, dict) or not isinstance(root.get("jobs"), list):
        return None
    pairs = json.loads(document, object_pairs_hook=list)
    if [key for key, _ in pairs].count("jobs") != 1:
        return None
    jobs: list[Any] = json.loads(mended(json.dumps(root["jobs"], ensure_ascii=False)))
    return jobs


cuts = st.lists(st.integers(0, 1 << 16), max_size=8)


@pytest.mark.fault("B13")
@examples
@given(documents(), cuts)
def test_any_document_gives_what_json_gives(document: bytes, cuts: list[int]) -> None:
    """The same elements as `json.loads`, whole, byte by byte and at random cuts."""
    expected = json.loads(document)["jobs"], WHOLE
    for pieces in ([document], in_pieces(document, 1), at_cuts(document, cuts)):
        assert expected == decoded(pieces, values)
    assert expected[0] == [json.loads(element) for element in decoded([document])[0]]


changes = st.tuples(
    st.sampled_from(["replace", "insert", "delete", "cut", "double"]),
    st.integers(0, 1 << 16),
    st.sampled_from(list(b'{}[]",:\\ntfu01-+.eE \n\x00\x1f\xff\xc3')),
)


@pytest.mark.fault("S2", "B13")
@examples
@given(documents(), st.lists(changes, min_size=1, max_size=3), cuts)
def test_any_changed_document_ends_as_json_says(
    document: bytes, changes: list[tuple[str, int, int]], cuts: list[int]
) -> None:
    """The pieces change nothing; the end is normal if, and only if, `json` takes the document."""
    for kind, place, byte in changes:
        at = place % (len(document) + 1)
        new = {"delete": b"", "cut": b"", "double": document[at : at + 9] * 2}.get(
            kind, bytes([byte])
        )
        kept = {"insert": at, "cut": len(document), "double": at + 9}.get(kind, at + 1)
        document = document[:at] + new + document[kept:]
    outcome = decoded([document], values)
    assert outcome == decoded(in_pieces(document, 1), values)
    assert outcome == decoded(at_cuts(document, cuts), values)
    expected = promised(document)
    assert (expected is not None) is (outcome[1] == WHOLE)
    assert expected is None or expected == outcome[0]


# How much of it is looked at.


HARD = [  # how a document begins, what is repeated in it, how it ends
    ('{"jobs":[', '{"n":"plan {rev 2","f":[{},{"a":"},{"}]},', "{}]}"),
    ('{"jobs":[', '{"a":1},', "{}]}"),
    ('{"jobs":[', '1,"}",[{}],', "{}]}"),
    ('{"jobs":[', '"{",{"}":"}"},{},', "{}]}"),
    ('{"jobs":[', r'{"a":"\ud83d"},', "{}]}"),
    ('{"jobs":[', r'{"a":"\ude00"},', '{"a":x}]}'),
    ('{"jobs":[{"f":[', '{"a":"}"},', "{}]}]}"),
    ('{"jobs":[{"f":[', '{"a":1},', "{}]}]}"),
    ('{"jobs":[{"f":"', "},{", '"}]}'),
    ('{"jobs":[{"f":"', "}}},{}}},", '"}]}'),
    ('{"jobs":[{"f":"', r"\\\ud83d", '"}]}'),
    ('{"jobs":["', "a", '"]}'),
    ('{"jobs":[', " ", "]}"),
    ('{"jobs":[{}],"a":[', "{},", "{}]}"),
    ('{"a":[', '{"a":1},', '{}],"jobs":[{}]}'),
    ("{", '"a":{},', '"jobs":[{}]}'),
    ('{"a":', "[]", ',"jobs":[{}]}'),
]


def hard_document(before: str, repeated: str, after: str, size: int) -> bytes:
    return (before + repeated * (size // len(repeated)) + after).encode()


class Work:
    """Counts the bytes that a decoder looks at, in all the ways it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        work, self.done = self, 0

        class CountedScanner(Scanner):
            def next(self, buffer: bytearray) -> tuple[Mark, int] | None:
                before = self.position
                try:
                    return super().next(buffer)
                finally:
                    work.done += self.position - before

        class CountedBuffer(bytearray):
            def __getitem__(self, index: Any) -> Any:
                part = super().__getitem__(index)
                work.done += len(part) if isinstance(index, slice) else 1
                return part

        def counted(function: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
            def call(text: bytes) -> Any:
                work.done += len(text)
                return function(text)

            return call

        self.decode, self.buffer = counted(raws), CountedBuffer
        monkeypatch.setattr(_jsonarray, "Scanner", CountedScanner)
        monkeypatch.setattr(_jsonhead, "Scanner", CountedScanner)
        monkeypatch.setattr(_jsonhead, "members", counted(_jsonhead.members))
        for name in ("is_cut_short", "mend_surrogates"):
            monkeypatch.setattr(_jsonarray, name, counted(getattr(_jsonarray, name)))

    def of(self, document: bytes, size: int) -> int:
        """Decode the document in pieces of this size and count."""
        self.done = 0
        decoder = ArrayDecoder("jobs", self.decode, max_element_bytes=1 << 23)
        decoder._buffer = decoder._head._buffer = self.buffer()
        with suppress(InvalidResponse):
            for piece in in_pieces(document, size):
                list(decoder.feed(piece))
            decoder.close()
        return self.done


@pytest.mark.parametrize("size", [1, 100, 4096, 1 << 30])
@pytest.mark.parametrize(("before", "repeated", "after"), HARD)
def test_the_work_grows_as_the_document_does(
    monkeypatch: pytest.MonkeyPatch, before: str, repeated: str, after: str, size: int
) -> None:
    """Each byte is looked at a few times, whatever the pieces: no document takes square time."""
    small, large = (hard_document(before, repeated, after, size) for size in (10_000, 40_000))
    work = Work(monkeypatch)
    once, again = work.of(small, size), work.of(large, size)
    assert again <= 24 * len(large)
    assert again <= 5 * once


LARGE = 1 << 10  # small beside the document, as the last piece of a wrong one is decoded again


def doubling() -> Iterator[int]:
    """Each piece as large as all before it, over and over: a guess is made on every one of them."""
    return cycle(accumulate(repeat(2, LARGE.bit_length() - 1), mul, initial=1))


PIECES: dict[str, Callable[[], Iterator[int]]] = {
    "of 100 bytes": lambda: repeat(100),
    "of 1 KiB": lambda: repeat(LARGE),
    "doubling": doubling,
    "one byte and many": lambda: cycle([1, LARGE]),
    "ever a byte longer": lambda: count(1),
}


@pytest.mark.parametrize("sizes", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize(("before", "repeated", "after"), HARD)
def test_what_is_decoded_in_vain_is_a_share_of_the_document(
    before: str, repeated: str, after: str, sizes: Callable[[], Iterator[int]]
) -> None:
    """A document four times as long has no more bytes given to `decode` for each one it has."""
    shares = []
    for size in (40_000, 160_000):
        document = hard_document(before, repeated, after, size)
        given = decoded_bytes(document, sizes())
        shares.append(given / len(document))
    assert max(shares) <= 4
    assert shares[1] <= 1.05 * shares[0]


def decoded_bytes(document: bytes, sizes: Iterator[int]) -> int:
    """Count what a decoder hands to `decode` when the document comes in pieces of these sizes."""
    lengths: list[int] = []

    def decode(array: bytes) -> list[list[bytes]]:
        lengths.append(len(array))
        return raws(array)

    ends = takewhile(lambda end: end < len(document), accumulate(sizes))
    decoded(at_cuts(document, ends), decode)
    return sum(lengths)
