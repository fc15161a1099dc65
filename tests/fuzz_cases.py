"""What the fuzzing run feeds: valid documents, what becomes of them by damage, and plain noise.

All is drawn from a `Random`, of a seed or of hypothesis.
"""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

from tests.conftest import wire_job
from tests.test_boundaries import NASTY, random_value
from tests.test_elements import PATHS, RAW

TOKENS = [
    *RAW,
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b" ", b"\x00", b"\x1f", b"\x7f"),
    *(b"true", b"-", b"1e", b"-Infinity", b"/**/", b"\xef\xbb\xbf", b"\xf4\x90\x80\x80", b"\xfe"),
    *(b'"jobs":[', b'"jobs":[],', b'"\\u006aobs":', b"]}", b"],", b"},{", b"[,]", b'{"a":1,}'),
    *(rb"\ud83d", rb"\ude00", rb"\ud83d\ude00", rb"\\ud83d", rb"\u00", rb"\u12g4", rb"\u0000"),
]
UNITS = [
    *(b"[", b'{"a":', b'[{"":', b"]", b"}", b"{},", b"0,", b'"",', b" ", b"\r\n", b'"', b"\\"),
    *(b"7", b"0.", b"e9", b"a", b"\xff", "é".encode(), rb"\n", rb"\\", rb"\u00e9", rb"\ud83d"),
    *(b'"a":0,', b'"jobs":[],'),
]

_scalar = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null', re.DOTALL)


def draw_case(random: Random) -> tuple[bytes, list[bytes]]:
    """Draw a document, and pieces of it."""
    draw = random.choices([_valid, _damaged, _noise, _words], [15, 70, 5, 10])[0]
    document = draw(random)
    return document, in_any_pieces(random, document)


def in_any_pieces(random: Random, document: bytes) -> list[bytes]:
    """Cut a document at some places."""
    places = random.choices(range(len(document) + 1), k=random.choice([0, 1, 3, 9, 99, 999]))
    return [document[start:end] for start, end in pairwise([0, *sorted(places), len(document)])]


def damaged(random: Random, document: bytes) -> bytes:
    """Damage a document in a few places."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        document = random.choice(_DAMAGES)(random, document)
    return document


def _valid(random: Random) -> bytes:
    most = random.choices([0, 2, 5, 40, 400], [5, 40, 40, 14, 1])[0]
    jobs = [_element(random, number) for number in range(random.randint(0, most))]
    root = {**_others(random), "jobs": jobs, **_others(random)}
    text = json.dumps(
        root,
        ensure_ascii=random.random() < 0.5,
        indent=random.choice([None, None, 1, "\t", 70]),
        separators=random.choice([None, (",", ":"), (" ,\r\n", " : ")]),
    )
    return text.encode(errors="surrogatepass")


def _others(random: Random) -> dict[str, Any]:
    """Make other members of the root, mostly none."""
    names = ["".join(random.choices(NASTY, k=2)) for _ in range(random.choice([0, 0, 1, 3]))]
    return {name: random_value(random) for name in names}


def _element(random: Random, number: int) -> Any:
    if random.random() < 0.05:
        return random_value(random)
    job = wire_job(number)
    for path in random.sample(PATHS, k=random.choice([0, 0, 1, 2])):
        job[path] = random_value(random)  # a path with a dot is one more unknown field
    if random.random() < 0.2:
        job["externalId"] = "".join(random.choices([*NASTY, "\ud83d", "\ude00", "🙂"], k=4))
    return job


def _damaged(random: Random) -> bytes:
    return damaged(random, _valid(random))


def _noise(random: Random) -> bytes:
    return bytes(random.choices(range(256), k=random.randrange(99)))


def _words(random: Random) -> bytes:
    """Make a text of what JSON is made of, in no order, mostly with the right beginning."""
    beginning = random.choice([b"", b"{", b'{"jobs":[', b'{"jobs":[{},', b'{"jobs":[]'])
    return beginning + b"".join(random.choices(TOKENS, k=random.randrange(9)))


# Damages.


def _at(random: Random, document: bytes) -> int:
    return random.randint(0, len(document))


def _flipped(random: Random, document: bytes) -> bytes:
    at = _at(random, document)
    return document[:at] + bytes([random.randrange(256)]) + document[at + 1 :]


def _with_token(random: Random, document: bytes) -> bytes:
    at = _at(random, document)
    return document[:at] + random.choice(TOKENS) + document[at:]


def _with_value(random: Random, document: bytes) -> bytes:
    """Put a token, or a long run, in the place of a text or number."""
    places = [found.span() for found in _scalar.finditer(document)]
    start, end = random.choice(places) if places else (0, 0)
    new = _run(random) if random.random() < 0.2 else random.choice(TOKENS)
    if random.random() < 0.3:
        new = b'"' + new.replace(b'"', b"") + b'"'
    return document[:start] + new + document[end:]


def _with_run(random: Random, document: bytes) -> bytes:
    at = _at(random, document)
    return document[:at] + _run(random) + document[at:]


def _run(random: Random) -> bytes:
    unit = random.choice(UNITS)
    times = random.choices([9, 90, 900, 9_000, 30_000], [30, 30, 30, 8, 2])[0]
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"":': b"}]"}.get(unit, b"")
    return unit * times + random.choice([b"", b"0" + closing * times])


def _with_member_twice(random: Random, document: bytes) -> bytes:
    """Say a member again with another value, before or behind the first."""
    members = re.findall(rb'"\w+"\s*:\s*"[^"\\]*"', document) or [b'"jobs":[]']
    member = random.choice(members)
    name = member.split(b":")[0]
    other = name + b":" + random.choice(TOKENS[:-8])
    pair = [member, other] if random.random() < 0.5 else [other, member]
    return document.replace(member, b",".join(pair), 1)


def _without_span(random: Random, document: bytes) -> bytes:
    at = _at(random, document)
    return document[:at] + document[at + random.choice([1, 2, 9, 99, 999]) :]


def _with_span_twice(random: Random, document: bytes) -> bytes:
    at = _at(random, document)
    return document[: at + random.choice([1, 9, 99, 999])] + document[at:]


def _cut(random: Random, document: bytes) -> bytes:
    return document[: _at(random, document)]


_DAMAGES: list[Callable[[Random, bytes], bytes]] = [
    *(_flipped, _with_token, _with_value, _with_value, _with_run, _with_member_twice),
    *(_without_span, _with_span_twice, _cut),
]
