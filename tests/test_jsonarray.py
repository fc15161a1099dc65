"""The incremental decoder: documents whole, in pieces, cut short, wrong and too large."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from plangrep_async._elements import array_decoder
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._jsonhead import MAX_ENVELOPE_BYTES, MAX_MEMBERS
from plangrep_async.converter import make_converter
from plangrep_async.errors import IncompleteResponse, InvalidResponse
from plangrep_async.models import Job
from tests.conftest import wire_job

WHOLE, INCOMPLETE, INVALID = "whole", IncompleteResponse, InvalidResponse
SIZES = [1, 2, 3, 7, 64, 1 << 30]  # bytes of a piece


def raws(array: bytes) -> list[list[bytes]]:
    return [[bytes(raw) for raw in msgspec.json.Decoder(list[msgspec.Raw]).decode(array)]]


def in_pieces(document: bytes, size: int) -> list[bytes]:
    return [document[at : at + size] for at in range(0, len(document), size)]


def batches(decoder: ArrayDecoder[Any], data: bytes) -> Iterator[Any]:
    for batch in decoder.feed(data):
        assert len(batch) > 0
        yield from batch


def decoded(
    pieces: Iterable[bytes],
    decode: Callable[[bytes], Iterable[Sequence[Any]]] = raws,
    max_element_bytes: int = 1 << 23,
) -> tuple[list[Any], Any]:
    """All elements that were given, and how it ended."""
    decoder = ArrayDecoder("jobs", decode, max_element_bytes=max_element_bytes)
    elements: list[Any] = []
    try:
        for piece in pieces:
            for element in batches(decoder, piece):
                elements.append(element)  # noqa: PERF402  # extend() would lose some to the error
        decoder.close()
    except InvalidResponse as error:
        chained = error.__context__ is not None  # one that may show the document
        return elements, error if chained else type(error)
    return elements, WHOLE


NAMES = ["plan.pdf", "plan {rev 2", "a},{b", "]}", '"', "\\", '\\"', '"jobs":[', "é🙂", "}, {", ""]
FILES = [
    {"id": n, "files": [{"fileName": NAMES[i % len(NAMES)], "n": i} for i in range(n)]}
    for n in (0, 1, 2, 5, 11, 50, 100)
]
DOCUMENTS = {
    "compact": json.dumps({"jobs": FILES}, separators=(",", ":")),
    "spaced": json.dumps({"jobs": FILES}, ensure_ascii=False),
    "2 blanks": json.dumps({"jobs": FILES}, indent=2),
    "4 blanks, CRLF": json.dumps({"jobs": FILES}, indent=4).replace("\n", "\r\n") + "\r\n",
    "deep indent": json.dumps({"jobs": [{"a": 1}, {"b": {}}, {}]}, indent=90),
    "scalars": '{"jobs":[1,"x",null,[1],{}, -1.5e+10 ,true , false,"},{",[[]],0]}',
    "scalars, pretty": json.dumps({"jobs": [1, "x", None, [1], {}, [], "]", {"a": 0}]}, indent=2),
    "names": json.dumps({"jobs": NAMES + [{name: name} for name in NAMES]}),
    "separators": '{"jobs":[{"f":[{},{},{}]},{"f":["},{","}, {"]},{"f":[{"a":"},{"},{"a":"}"}]}]}',
    "keys before": '{"a":{"jobs":[1]},"jobs2":[{}],"b":"\\"jobs\\":[","c":[],"d":-1.5,"jobs":[{}]}',
    "keys after": '{"jobs":[{}],"a":{"jobs":[1]},"b":"\\"jobs\\":[","c":[[]], "jobs2":null}',
    "escaped key": '{"j":{"\\u006aobs":[2]},"\\u006aob\\u0073" \n:\t[{}, 1]}',
    "like its parts": json.dumps({"jobs": [{"id": "same", "in": [{"id": "same"}] * 9}] * 9}),
    "empty": '{"jobs":[]}',
    "white space": ' \n{ "jobs" : [ \r\n\t ] } \n',
}


@pytest.mark.fault("S6", "S9", "B13")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_element_comes_in_any_pieces(document: str, size: int) -> None:
    """The elements are those that `json` finds, in order, whatever the pieces."""
    elements, end = decoded(in_pieces(document.encode(), size))
    assert end == WHOLE
    assert json.loads(document)["jobs"] == [json.loads(element) for element in elements]


@pytest.mark.fault("B13")
def test_a_piece_gives_one_batch_wherever_it_ends() -> None:
    """All elements that are complete in a piece are decoded together, also if one just began."""
    document = json.dumps({"jobs": [wire_job(n) for n in range(3)]}).encode()
    start = document.index(b"{", 3)
    for end in range(start + 1, len(document) - 1):  # but with half of the end of the list
        decoder = ArrayDecoder("jobs", raws, max_element_bytes=1 << 23)
        assert len(list(decoder.feed(document[:end]))) <= 1


def test_elements_like_their_parts_mislead_one_guess_only() -> None:
    """Where the beginning of an element does not tell it from its parts, it is not asked again."""
    elements = [{"id": "same", "parts": [{"id": "same", "n": n}] * 5} for n in range(200)]
    document = json.dumps({"jobs": elements}).encode()
    refused = 0

    def decode(array: bytes) -> list[list[bytes]]:
        nonlocal refused
        refused += 1
        found = raws(array)
        refused -= 1
        return found

    given, ending = decoded(in_pieces(document, 1_000), decode)
    assert [json.loads(element) for element in given] == elements
    assert ending == WHOLE
    assert refused == 1


def test_an_element_far_larger_than_a_piece() -> None:
    """A megabyte in one element, in pieces of 4 KiB, comes as one between its neighbours."""
    large = json.dumps({"files": [{"n": name} for name in NAMES * 4000], "t": "\\{" * 200_000})
    document = f'{{"jobs":[{{"a":1}},{large},{{"b":2}}]}}'.encode()
    expected = [b'{"a":1}', large.encode(), b'{"b":2}']
    assert (expected, WHOLE) == decoded(in_pieces(document, 4096))


@pytest.mark.fault("S2", "B13")
@pytest.mark.parametrize("size", SIZES)
def test_the_real_decoder_makes_jobs(size: int) -> None:
    """With the package's own decoder the elements are jobs; half a character is U+FFFD in them."""
    converter = make_converter()
    jobs = [wire_job(n, externalId=name) for n, name in enumerate([*NAMES, "\ud83d", "\ude00 \\"])]
    document = json.dumps({"jobs": jobs}).encode()
    found, end = decoded(in_pieces(document, size), array_decoder(converter, Job))
    mended = [{**job, "externalId": _mended(job["externalId"])} for job in jobs]
    assert ([converter.structure(job, Job) for job in mended], WHOLE) == (found, end)


def _mended(text: str) -> str:
    return text.replace("\ud83d", "\ufffd").replace("\ude00", "\ufffd")


# Half characters.

HALVES = [
    rb"\ud83d",
    rb"\ude00",
    rb"\ude00\ud83d",
    rb"\ud83d\ud83d\ude00",
    rb"\ud83d\n",
    rb"\\\ud83d",
]
KEPT = [rb"\ud83d\ude00", rb"\\ud83d", rb"\\\\ude00", rb"\uD83D\uDE00 \ud7ff"]


@pytest.mark.fault("S2", "B13")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 1 << 30])
@pytest.mark.parametrize("text", HALVES + KEPT)
def test_half_a_character_harms_nothing(text: bytes, size: int) -> None:
    """Half a surrogate pair is U+FFFD in keys and values, ignored elsewhere; pairs stay as sent."""
    element = b'{"%s":["%s"],"x":{"y":"a%s"}}' % (text, text, text)
    document = b'{"%s":"%s","jobs":[{},%s,"%s",%s],"%s":{"%s":"%s"}}' % (
        text, text, element, text, element, text, text, text,
    )  # fmt: skip
    elements, end = decoded(in_pieces(document, size))
    found = [json.loads(each) for each in elements]
    expected = _without_halves(json.loads(document)["jobs"])
    assert (expected, WHOLE) == (found, end)
    if text in KEPT:
        assert [b"{}", element, b'"%s"' % text, element] == elements


def _without_halves(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return json.loads("".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text))


# Delivery without delay.

TRICKLED = [b'{"id":1,"n":"a},{"}', b'{"id":2,"n":"plan {rev 2"}', b'{"id":3,"f":[{},{"a":"}]"}]}']


@pytest.mark.fault("B12")
@pytest.mark.parametrize(
    ("before", "after"),
    [(b",", b""), (b"", b","), (b"\n  ,", b"\r\n"), (b"\n", b" ,\n "), (b" , \n", b"  ")],
)
@pytest.mark.parametrize("cut", [0, 1, 9, 16, 18])
def test_a_job_is_given_by_the_piece_that_completes_it(
    before: bytes, after: bytes, cut: int
) -> None:
    """A server that pauses after each job, comma sent or not, has each given before the pause."""
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=1000)
    assert list(batches(decoder, b'{"jobs":[')) == []
    for number, job in enumerate(TRICKLED * 5):
        assert list(batches(decoder, (before if number else b"") + job[:cut])) == []
        assert [job] == list(batches(decoder, job[cut:] + after))


@pytest.mark.fault("B12")
@pytest.mark.parametrize("begun", [b",", b",{", b',{"n":"', b',{"n":"},{a', b', {"n":"}", "f":[{}'])
@pytest.mark.parametrize("job", TRICKLED)
def test_a_job_is_given_though_the_next_one_has_begun(job: bytes, begun: bytes) -> None:
    """All jobs that a piece completes are given by it, even with stray brackets in either."""
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=1000)
    assert [job] == list(batches(decoder, b'{"jobs":[' + job + begun))
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=1000)
    assert list(batches(decoder, b'{"jobs":[' + job[:5])) == []
    assert [job, job] == list(batches(decoder, job[5:] + b"," + job + begun))


# Cut short.

CUT = [  # what is before the elements, they and what is between them, and what is behind
    ['{"jobs":[', '{"a":1}', ",", '{"f":[{},{"n":"},{"}]}', ",", "[[]]", ',5,"x"', "]}"],
    ['\n{\n  "jobs": [\n    ', '{\n      "a": -1.5e+10\n    }', ",\n    ", "{}", "\n ] \n}\r\n"],
    ['{"jobs":[', r'{"\ud83d\ude00":"\\\"\u00e9\n"}', ", ", r'{"\ufffd":"\ufffd"}', "]}"],
    ['{"n":-1.5e+10,"jobs":[', '{"n":-0.5E-7}', ',12 ,-1.5e+10,0 ], "m":12.5e3}\n'],
    ['{"t":true,"jobs":[', "[true,false,null]", ",null, true", '],"f":false,"\\ude00":"\\ud83d"}'],
    ['{"a":{"jobs":[{}]},"é🙂":[{}, 1],"jobs":[', "{}", '],"b":{"jobs":[1]},"c":"\\u00e9 🙂"}'],
]


@pytest.mark.fault("B6")
@pytest.mark.parametrize("size", [1, 5, 1 << 30])
@pytest.mark.parametrize("parts", CUT)
def test_a_document_cut_anywhere_is_incomplete(parts: list[str], size: int) -> None:
    """After a cut at any byte every complete object was given, and the end is no normal one."""
    document = "".join(parts).encode()
    ends = [len("".join(parts[: n + 1]).encode()) for n in range(1, len(parts) - 1)]
    nested = [(p.encode(), e) for p, e in zip(parts[1:-1], ends, strict=True) if p[0] in "[{"]
    halves = document.replace(rb'"\ufffd":"\ufffd"', rb'"\ude00":"\ud83d"')
    for cut in range(len(document.rstrip())):
        elements, end = decoded(in_pieces(halves[:cut], size))
        assert end == INCOMPLETE
        assert [part for part, at in nested if at <= cut] == [e for e in elements if e[:1] in b"[{"]


@pytest.mark.fault("B6", "B15")
@pytest.mark.parametrize("cut", range(1, 5))
def test_only_white_space_behind_the_document_may_be_missing(cut: int) -> None:
    """A document that lacks nothing but white space at its end is whole."""
    assert decoded([b'{"jobs":[{}]} \r\n\t'[:-cut]]) == ([b"{}"], WHOLE)


# Wrong documents, and wrong parts of them.


UNFINISHED = [b"", b" \n", b"{", b'{"a":1,', b'{"a', b'{"jobs":[', b'{"jobs":[]', b'{"jobs":[],']
WRONG = [
    b'\xef\xbb\xbf{"jobs":[]}', b"<html><body>502</body></html>", b'[{"jobs":[]}]', b'"jobs"',
    b"null", b"{}", b'{"error":{"code":"x","message":"jobs"}}', b'{"jobs":null}',
    b'{"jobs":{"a":[]}}', b"{]", b'{"jobs":"[]"}', b'{"jobs":0,"a":1}', b'{"jobs":true}',
    b'{"jobs"}', b'{"jobs" []}', b'{"a":1,}', b'{,"jobs":[]}', b'{"a":1,,"jobs":[]}',
    b'{"a":1 "jobs":[]}', b'{"a":1]', b'{"a":NaN,"jobs":[]}', b'{"a":"\xff","jobs":[]}',
    b'{"a":"\t","jobs":[]}', b'{"a":[}', b'{"a":[}{]}', b'{"jobs":[,{}]}',
    b'{"a":{} ["jobs"],"jobs":[]}', b'{"jobs":[],"jobs":[]}', b'{"jobs":[],"\\u006aobs":null}',
    b'{"jobs":[],"a":n}', b'{"jobs":[],"a":tr}', b'{"jobs":[],"a":"\\u1"}', b'{"jobs":[\xa0]}',
]  # fmt: skip
FAULTS = [
    b'{"a":NaN}', b'{"a":-Infinity}', b"Infinity", b'{"a":"\x01"}', b'"\n"', b'"\\x"', b'"\\u00g0"',
    b'{"a":1,}', b"{,}", b"[1,]", b"[,1]", b"", b",", b'{"a" 1}', b'{"a":1 "b":2}', b"{1:2}",
    b"{'a':1}", b'{"a":[1}', b"[1}]", b"{]}", b"[01]", b"[1.]", b"[.5]", b"[+1]", b"[- 1]", b"[1e]",
    b"[0x1]", b"[tru]", b"[nulll]", b"\xff", b"\x00", b"/**/{}", b"[\x0b1]", b"[1 2]", b'["a" "b"]',
    b"n", b"1x",
]  # fmt: skip
BEHIND = [
    b"] }x", b"]}{", b']}{"jobs":[]}', b"]}]", b"]}\x00", b"],}", b'],"a":}', b"]]", b"],,",
    b'] "a":1}', b'],"jobs":[3]}', b'],"a":{"b":Infinity}}', b'],"a":"\xe9"}', b'],"a":"\n"}',
    b"{}]}", b"{}", b"[1]]}", b'"a"]}', b'],"a":[}]', b"}]", b"\x0b]}", b'],"a":1e}', b"]} 0",
    b']}"',
]  # fmt: skip


@pytest.mark.fault("B6")
@pytest.mark.parametrize("size", [1, 5, 1 << 30])
@pytest.mark.parametrize("document", UNFINISHED)
def test_a_document_that_may_go_on_is_incomplete(document: bytes, size: int) -> None:
    """An end before all brackets are closed is an early end, even at the very first byte."""
    assert decoded(in_pieces(document, size)) == ([], INCOMPLETE)


@pytest.mark.fault("S1", "S2", "S5", "S6", "S8")
@pytest.mark.parametrize("size", [1, 5, 1 << 30])
@pytest.mark.parametrize("document", WRONG)
def test_what_is_not_an_object_with_one_list_of_jobs_is_invalid(document: bytes, size: int) -> None:
    """A wrong document is invalid and not incomplete: to ask again would not help."""
    assert decoded(in_pieces(document, size)) == ([], INVALID)


@pytest.mark.fault("S1", "S2", "S5", "B15")
@pytest.mark.parametrize("size", [1, 4, 1 << 30])
@pytest.mark.parametrize("fault", [b"," + fault + b",{}]}" for fault in FAULTS] + BEHIND)
def test_all_elements_before_a_fault_are_given(fault: bytes, size: int) -> None:
    """A fault in an element, or behind it, is an error after every good element before it."""
    good = [b'{"a":"}"}', b"[]", b'{"b":{}}']
    document = b'{"jobs":[' + b",".join(good) + fault
    assert (good, INVALID) == decoded(in_pieces(document, size))


@pytest.mark.fault("S2")
@pytest.mark.parametrize("size", [2, 9999])
def test_a_fault_in_an_unfinished_element_is_an_error_at_once(size: int) -> None:
    """What nothing can repair is not waited for: a connection left open would hide it."""
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=1 << 23)
    element = b'{"a":"' + b"a" * size + b'"}'
    assert list(batches(decoder, b'{"jobs":[' + element[:-1])) == []
    assert list(batches(decoder, b"}")) == [element]
    with pytest.raises(InvalidResponse, match="after element 1 of its list"):
        list(decoder.feed(b',{"a": oops, "b":['))


def test_no_message_shows_an_element() -> None:
    """Elements may hold secrets: messages name the place only."""
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=99)
    with pytest.raises(InvalidResponse) as caught:
        list(decoder.feed(b'{"jobs":[{"canary":"secret"]'))
    assert "canary" not in repr(caught.value)
    assert "secret" not in repr(caught.value)


@pytest.mark.fault("S3")
@pytest.mark.parametrize("size", [4096, 1 << 30])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_a_bomb_of_brackets_is_invalid(
    depth: int, brackets: tuple[str, str], closed: bool, size: int
) -> None:
    """Nesting without end is an error wherever it is, after the elements before it."""
    bomb = (brackets[0] * depth + ("0" + brackets[1] * depth if closed else "")).encode()
    for before, after, good in [
        (b'{"a":', b',"jobs":[]}', []),
        (b'{"jobs":[{"a":1},', b"]}", [b'{"a":1}']),
        (b'{"jobs":[{"a":1}],"a":', b"}", [b'{"a":1}']),
    ]:
        document = before + bomb + (after if closed else b"")
        assert (good, INVALID) == decoded(in_pieces(document, size))


@pytest.mark.fault("S3")
@pytest.mark.parametrize("size", [1, 100, 1 << 30])
@pytest.mark.parametrize("where", ['{"a":%s,"jobs":[]}', '{"jobs":[%s]}', '{"jobs":[],"a":%s}'])
def test_a_depth_that_some_interpreters_take(where: str, size: int) -> None:
    """A thousand levels are whole or invalid as `json` says here; never another exception."""
    document = (where % ("[" * 1000 + "]" * 1000)).encode()
    try:
        json.loads(document)
        expected = WHOLE
    except RecursionError:
        expected = INVALID
    assert expected == decoded(in_pieces(document, size))[1]


# Limits.


@pytest.mark.fault("S10")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gap", [b",", b",\n" + b" " * 50, b" " * 50 + b","])
def test_the_limit_is_for_one_element(gap: bytes, size: int) -> None:
    """Neither several elements nor white space count; one byte too many in one is an error."""
    element = b'{"a":"}{"}'
    document = b'{"jobs":[' + gap.join([element] * 20) + b"]}"
    limit = len(element)
    assert ([element] * 20, WHOLE) == decoded(in_pieces(document, size), max_element_bytes=limit)
    document = document.replace(b"]}", gap + b'{"a":"}{."}' + gap + element + b"]}")
    assert ([element] * 20, INVALID) == decoded(in_pieces(document, size), max_element_bytes=limit)
    assert decoded(in_pieces(document, size), max_element_bytes=limit - 1) == ([], INVALID)


@pytest.mark.fault("S10")
@pytest.mark.parametrize("size", [1, 64, 1 << 30])
@pytest.mark.parametrize("element", [b'"' + b"a" * 99, b'{"a":[' + b"{}," * 50, b"1" * 101])
def test_an_element_without_end_is_too_large(element: bytes, size: int) -> None:
    """The limit holds while the element arrives; it does not wait for its end."""
    pieces = in_pieces(b'{"jobs":[[],' + element, size)
    assert decoded(pieces, max_element_bytes=99) == ([b"[]"], INVALID)
    assert decoded(pieces, max_element_bytes=200) == ([b"[]"], INCOMPLETE)


@pytest.mark.parametrize("size", [4096, 65_537, 1 << 20])
@pytest.mark.parametrize(
    ("before", "pad", "after", "room"),
    [
        (b"", b" ", b'{"jobs":[{}]}', 9),
        (b'{"', b"a", b'":0,"jobs":[{}]}', 14),
        (b'{"a":0,"', b"a", b'":{},"jobs":[{}]}', 21),
        (b'{"a":0,"a":"', b"[", b'","jobs":[{}]}', 22),
        (b'{"jobs":[', b" ", b"{}]}", 0),
        (b'{"jobs":[{}', b" ", b",{}]}", 0),
        (b'{"jobs":[{},', b" ", b"{}]}", 1),
        (b'{"jobs":[{}]', b" ", b"}", 2),
        (b'{"jobs":[{}],"', b"a", b'":0}', 7),
    ],
)
def test_what_is_not_an_element_has_a_limit(
    before: bytes, pad: bytes, after: bytes, room: int, size: int
) -> None:
    """Head, tail and white space end at `MAX_ENVELOPE_BYTES`, in any pieces alike."""
    fits = before + pad * (MAX_ENVELOPE_BYTES - room) + after
    elements, end = decoded(in_pieces(fits, size))
    assert end == WHOLE
    assert set(elements) == {b"{}"}
    too_large = before + pad * (MAX_ENVELOPE_BYTES - room + 1) + after
    assert decoded(in_pieces(too_large, size))[1] == INVALID


def test_tiny_elements_are_given_in_bounded_batches() -> None:
    """However many elements a piece holds, a bounded number of them is looked for at once."""
    count = 50_000
    decoder = ArrayDecoder("jobs", raws, max_element_bytes=1000)
    sizes = [len(batch) for batch in decoder.feed(b'{"jobs":[0' + b",0" * (count - 1) + b"]}")]
    assert sum(sizes) == count
    assert max(sizes) <= 1000


@pytest.mark.parametrize("size", [7, 1 << 30])
def test_what_stands_before_the_list_has_few_members(size: int) -> None:
    """Each of them is decoded by itself, and nothing gives way to others meanwhile."""
    fits = b"{" + b'"a":[0],' * MAX_MEMBERS + b'"jobs":[7]}'
    assert decoded(in_pieces(fits, size)) == ([b"7"], WHOLE)
    assert decoded(in_pieces(b'{"b":{},' + fits[1:], size)) == ([], INVALID)
