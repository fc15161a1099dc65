"""Where values begin and end: the scanner is exact, the guesses right on ordinary texts."""

import json
import random

import pytest

from plangrep_async._boundaries import (
    MAX_DEPTH,
    Mark,
    Scanner,
    end_of_space,
    guess,
    guess_by_beginning,
)
from tests.test_jsonarray import in_pieces

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


JOB = b'{"id":"job_1","files":[{"id":"file_1"},{"id":"file_2"}],"limits":{}}'
PRETTY = b'{\n  "id": "job_1",\n  "files": [\n    {\n      "id": "file_1"\n    }\n  ],\n  "n": 1\n}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b""),
        (JOB[:5], b""),
        (JOB[:-1], b""),
        (JOB + b"," + JOB[:-4], JOB),
        (JOB + b" ,\n" + JOB + b"," + JOB[:35], JOB + b" ,\n" + JOB),
        (PRETTY + b",\n" + PRETTY[:-3], PRETTY),
        (JOB + b"," + JOB + b"]}", JOB + b"," + JOB),
        (PRETTY + b"\n] \n}\n", PRETTY + b"\n"),
        (JOB + b'],"more":' + JOB[:-4], b""),
        (JOB, b""),  # which may be of an element, or in one
        (JOB + b"," + JOB + b"," + JOB[:6], b""),  # likewise
        (PRETTY + b"," + PRETTY[:9], b""),
        (b'[1],{"id":"job_1","n', b""),
        (b'{"id":1},{"id":2,"n', b""),
    ],
)
def test_the_last_element_is_found_by_how_the_first_one_begins(
    text: bytes, expected: bytes
) -> None:
    """Its first key and the first bytes of its value tell an element from what is in one."""
    assert expected == text[: guess_by_beginning(bytearray(text), 0)]


def test_a_beginning_is_looked_for_in_what_is_new_only() -> None:
    """A buffer whose first element is still arriving costs a look at each byte once."""
    text = bytearray(JOB + b"," + JOB[:-4])
    assert guess_by_beginning(text, len(JOB)) == len(JOB)
    assert guess_by_beginning(text, len(JOB) + 2) == 0


def test_the_guess_by_the_beginning_is_sometimes_wrong() -> None:
    """Where parts of an element begin as it does, the last one of them is taken."""
    text = b'{"id":"0001","parts":[{"id":"0001"},{"id":"0001"'
    assert guess_by_beginning(bytearray(text), 0) == text.rindex(b",")
