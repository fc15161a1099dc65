"""Where values begin and end: the scanner is exact, the guess right on balanced texts."""

import json
import os
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async import _jsonarray
from plangrep_async._boundaries import MAX_DEPTH, Mark, Scanner, end_of_space, guess
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async.errors import InvalidResponse
from tests.test_jsonarray import WHOLE, decoded, in_pieces, raws

# Set HYPOTHESIS_MAX_EXAMPLES to search longer, and elsewhere each time.
MORE = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "0"))
examples = settings(derandomize=not MORE, database=None, deadline=None, max_examples=MORE or 300)

NASTY = ["{", "}", "[", "]", '"', "\\", ",", "},{", "\\\\", 'a"b', "é", "", "\n", "ud83d"]


def marks_in(pieces: list[bytes]) -> list[tuple[Mark, int]]:
    """All marks that a scanner finds while the text arrives, and where."""
    scanner, buffer, marks = Scanner(), bytearray(), []
    for piece in pieces:
        buffer += piece
        while found := scanner.next(buffer):
            marks.append(found)
        assert len(buffer) - 1 <= scanner.position <= len(buffer)
    return marks


def at_cuts(text: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def refuse(constant: str) -> None:
    raise ValueError(constant)


def values(array: bytes) -> list[Any]:
    return json.loads(array.decode(), parse_constant=refuse)


def random_value(rng: random.Random, depth: int = 0) -> object:
    kind = rng.random()
    if kind < 0.4 or depth > 3:
        return rng.choice([0, -1.5e10, True, None, "".join(rng.choices(NASTY, k=3))])
    inner = [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {"".join(rng.choices(NASTY, k=2)): value for value in inner} if kind < 0.7 else inner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"{}", [(Mark.OPEN, 0), (Mark.CLOSE, 1)]),
        (b"[]]", [(Mark.OPEN, 0), (Mark.CLOSE, 1), (Mark.END, 2)]),
        (b"1, 2]", [(Mark.COMMA, 1), (Mark.END, 4)]),
        (b'"a,]}",{', [(Mark.COMMA, 6), (Mark.OPEN, 7)]),
        (b'{"a":[1,{}],"b":2},', [(Mark.OPEN, 0), (Mark.CLOSE, 17), (Mark.COMMA, 18)]),
        (rb'["\"]\\\"","\\"],', [(Mark.OPEN, 0), (Mark.CLOSE, 15), (Mark.COMMA, 16)]),
        (b'"a": {"b"', [(Mark.OPEN, 5)]),
        (b'"never closed, ]', []),
        (b'"never closed \\', []),
        (b'["never closed ]', [(Mark.OPEN, 0)]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_scanner_stops_at_what_separates_members(
    text: bytes, expected: list[tuple[Mark, int]], size: int
) -> None:
    """Outer brackets and commas are found by place, in any pieces; strings hide what they hold.

    CPython 3.11.0 to 3.11.4 fails here where a pattern repeats a group possessively that can match
    in part: a string without its end (https://github.com/python/cpython/issues/106052).
    """
    assert expected == marks_in(in_pieces(text, size))


@pytest.mark.parametrize("size", [1, 2, 5, 17, 10_000])
def test_the_scanner_finds_the_elements_of_any_list(size: int) -> None:
    """Cutting a list at its marks gives exactly the elements that went into it."""
    rng = random.Random(size)
    for _ in range(150):
        values = [[random_value(rng)] for _ in range(rng.randrange(1, 6))]
        text = json.dumps(values, indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.5)
        marks = marks_in(in_pieces(text[1:].encode(), size))
        opened = [at for mark, at in marks if mark is Mark.OPEN]
        closed = [at for mark, at in marks if mark is Mark.CLOSE]
        elements = [text[1:].encode()[a : b + 1] for a, b in zip(opened, closed, strict=True)]
        assert values == [json.loads(element) for element in elements]
        assert (Mark.END, len(text.encode()) - 2) == marks[-1]


def test_the_scanner_goes_forward_only() -> None:
    """No step goes back, so each byte is looked at once however many calls it takes."""
    text = json.dumps([{"a": ["},{"], "b": '"\\'}] * 50).encode()[1:]
    scanner, buffer, steps = Scanner(), bytearray(), [0]
    for byte in text:
        buffer.append(byte)
        while scanner.next(buffer):
            steps.append(scanner.position)
        steps.append(scanner.position)
    assert sorted(steps) == steps
    assert len(text) == steps[-1]
    assert len(steps) <= 2 * len(text) + 1


@pytest.mark.parametrize("start", [b"[", b"[ ", b"[ {}", b"[1,"])
def test_a_long_run_without_brackets_is_walked_in_several_steps(start: bytes) -> None:
    """Wherever one step of the pattern ends, a comma or string further down is no mark."""
    text = bytearray(start + b'"a","b\\"",' * 1000 + b'"c"],')
    scanner = Scanner()
    marks = [scanner.next(text) for _ in range(4)]
    end = len(text) - 2
    assert [(Mark.OPEN, 0), (Mark.CLOSE, end), (Mark.COMMA, end + 1), None] == marks


@pytest.mark.parametrize("opening", [b"[", b"{", b'{"a":[', b'"x":{'])
def test_the_scanner_is_lost_in_a_bomb_of_brackets(opening: bytes) -> None:
    """With more open brackets than `MAX_DEPTH` it goes no further; with as many it does."""
    deepest = MAX_DEPTH // (opening.count(b"[") + opening.count(b"{"))
    scanner, buffer = Scanner(), bytearray(opening * deepest)
    while scanner.next(buffer):
        pass
    assert (False, len(buffer)) == (scanner.is_lost, scanner.position)
    buffer += opening + b"]" * 2 * MAX_DEPTH
    assert scanner.next(buffer) is None
    assert scanner.is_lost


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"", 0), (b"x ", 0), (b" \t\r\n", 4), (b"  1 ", 2), (b" \x0b", 1), (b"\xc2\xa0", 0)],
)
def test_white_space_is_that_of_json_only(text: bytes, expected: int) -> None:
    """Blank, tab, line feed and carriage return count; what other languages call space doesn't."""
    assert expected == end_of_space(bytearray(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", ""),
        (b'1,[2],{"a"', ""),
        (b'{"a":1}', '{"a":1}'),
        (b'{"a":1} \r\n , \n', '{"a":1}'),
        (b'{"a":1},{"b":2}', '{"a":1},{"b":2}'),
        (b'{"a":1},{"b":{"c":[{}', '{"a":1}'),
        (b'{"a":1} ,\n {"b":2}\n,  {"c"', '{"a":1} ,\n {"b":2}'),
        (b'{"a":[{"b":1},{"b":2}]},{"a":[{"b":1},{"b"', '{"a":[{"b":1},{"b":2}]}'),
        (b'{"a":[{"b":1},{"b"', ""),
        (b'{"a":1},{"b":2}]}', '{"a":1},{"b":2}'),
        (b'{"a":1},{"b":2}\n  ]\n}\n', '{"a":1},{"b":2}\n  '),
        (b"1,2 ] } ", "1,2 "),
        (b'{"a":1}],"x":{"b"', ""),
        (b'{"a":1}' + b" " * 60 + b',{"b"', '{"a":1}'),
        (b'{"a":1}' + b" " * 100 + b',{"b"', ""),
    ],
)
def test_the_guess_is_the_last_boundary_of_a_balanced_text(text: bytes, expected: str) -> None:
    """Where no bracket is in a string: the end of the last whole object, 0 where there is none."""
    assert len(expected) == guess(bytearray(text), 0, 0)
    assert expected == text[: len(expected)].decode()


@pytest.mark.parametrize(
    ("seen", "new", "expected"),
    [
        (b'{"a":[{', b'}]},{"b":1},{"c"', b'{"a":[{}]},{"b":1}'),
        (b'{"a":[{', b"}]}", b'{"a":[{}]}'),
        (b'{"a":[{', b'},{},{},{"', b""),
        (b'{"a":[{', b"}]}]}", b'{"a":[{}]}'),
    ],
)
def test_the_guess_goes_on_where_the_scanner_stopped(
    seen: bytes, new: bytes, expected: bytes
) -> None:
    """With the depth at the end of the part already seen, only the new part is looked at."""
    scanner = Scanner()
    while scanner.next(bytearray(seen)):
        pass
    assert seen.count(b"{") + seen.count(b"[") == scanner.depth
    assert len(expected) == guess(bytearray(seen + new), len(seen), scanner.depth)


def test_the_guess_is_sometimes_wrong() -> None:
    """A stray bracket in a string misleads it, which is why nobody may use it without a proof."""
    assert guess(bytearray(b'{"a":"}'), 0, 0) == len(b'{"a":"}')
    assert guess(bytearray(b'{"a":"{"},{"b":1},{"c"'), 0, 0) == 0


# What the decoder makes of both.


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
        for name in ("is_cut_short", "members", "mend_surrogates"):
            monkeypatch.setattr(_jsonarray, name, counted(getattr(_jsonarray, name)))

    def of(self, document: bytes, size: int) -> int:
        """Decode the document in pieces of this size and count."""
        self.done = 0
        decoder = ArrayDecoder("jobs", self.decode, max_element_bytes=1 << 23)
        decoder._buffer = self.buffer()
        with suppress(InvalidResponse):
            for piece in in_pieces(document, size):
                list(decoder.feed(piece))
            decoder.close()
        return self.done


@pytest.mark.parametrize("size", [1, 100, 4096, 1 << 30])
@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [
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
    ],
)
def test_the_work_grows_as_the_document_does(
    monkeypatch: pytest.MonkeyPatch, before: str, repeated: str, after: str, size: int
) -> None:
    """Each byte is looked at a few times, whatever the pieces: no document takes square time."""
    small, large = (
        (before + repeated * (length // len(repeated)) + after).encode()
        for length in (10_000, 40_000)
    )
    work = Work(monkeypatch)
    once, again = work.of(small, size), work.of(large, size)
    assert again <= 24 * len(large)
    assert again <= 5 * once


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
    return root["jobs"] if [key for key, _ in pairs].count("jobs") == 1 else None


cuts = st.lists(st.integers(0, 1 << 16), max_size=8)


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
