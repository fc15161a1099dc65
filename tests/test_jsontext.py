"""Pieces of JSON text: half characters mended, a text cut short told from a wrong one, members."""

import json
import tracemalloc

import msgspec
import pytest

from plangrep_async._jsontext import is_cut_short, members, mend_surrogates

DOCUMENT = (
    rb'{"a" : [0, -1.5e+10, 1E-7, true, false, null, "", "\"\\\/\b\u00e9\ud83d\ude00\ud83d\\u"]'
    rb', "\ude00\u005d": {"\ud83d": [[], {}, {"x": -0}]}, '
    b'"\xc3\xa9\xf0\x9f\x98\x80":[\r\n\t1 ]}'
)


@pytest.mark.fault("S2")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb"", rb""),
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\ude00"', rb'"\ufffd"'),
        (rb'"\uD83D \uDE00"', rb'"\ufffd \ufffd"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude00\ude00"', rb'"\ufffd\ud83d\ude00\ufffd"'),
        (rb'"\ud83d\n\ude00"', rb'"\ufffd\n\ufffd"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'{"\udbff":"\udc00"}', rb'{"\ufffd":"\ufffd"}'),
    ],
)
def test_half_of_a_pair_becomes_the_replacement_character(text: bytes, expected: bytes) -> None:
    """A high or a low surrogate without its partner is replaced, in keys and values alike."""
    assert expected == mend_surrogates(text)
    assert expected == mend_surrogates(bytearray(text))


@pytest.mark.parametrize(
    "text",
    [
        rb'"\ud83d\ude00"',
        rb'"\uDBFF\uDFFF\uD800\uDC00"',
        rb'"\\ud83d"',
        rb'"\\\\ude00"',
        rb'"\ud7ff\ue000"',
        rb'"ud83d \u00e9 \ud83"',
        rb'"\n\"\\"',
        b'"\\',
        "🙂 \\u0064\\u0038".encode(),
    ],
)
def test_everything_but_half_a_pair_stays_as_it_is(text: bytes) -> None:
    """Whole pairs, escaped backslashes, escapes cut short and other characters are not touched."""
    assert text == mend_surrogates(text)


@pytest.mark.parametrize("escape", [rb"\n", rb"\\", rb"\u00e9"])
def test_mending_takes_little_memory(escape: bytes) -> None:
    """Text full of other escapes costs a few copies of it, not an object for each of them."""
    text = escape * 100_000
    tracemalloc.start()
    try:
        mend_surrogates(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 4 * len(text)


@pytest.mark.parametrize("end", range(len(DOCUMENT)))
def test_every_beginning_of_a_document_is_cut_short(end: int) -> None:
    """Wherever a valid document is cut, in an escape or a number too, the text is cut short."""
    assert is_cut_short(DOCUMENT[:end])
    assert is_cut_short(bytearray(b"[") + DOCUMENT[:end])


@pytest.mark.parametrize(
    "text", ["", " ", "[", "[1", "[-", "[1.", "[1e+", "[tru", '["\\u00', "[1,"]
)
def test_a_text_that_can_go_on_is_cut_short(text: str) -> None:
    """A value that may still become complete is cut short, an empty text as well."""
    assert is_cut_short(text.encode())


@pytest.mark.fault("S1", "S2", "S3")
@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        b"{}",
        b"[1] ",
        b"[1]]",
        b"[1}",
        b"[,",
        b"[1,]",
        b"[1 2,",
        b'{"a" 1}',
        b'{"a":1,}',
        b"{1:",
        b"[trux, ",
        b"[01, ",
        b"[NaN, ",
        b'["\x01',
        b'["\\x"',
        b'["\\u00g0 ',
        b"<html>",
        b"\xef\xbb\xbf[",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_whole_or_wrong_is_not_cut_short(text: bytes) -> None:
    """A complete value and a text that nothing can repair are not cut short, nor is a bomb."""
    assert not is_cut_short(text)


@pytest.mark.parametrize("text", [b"", b"[", b'["a', b'{"a":', b'["\\u00', b"[tr", b'{"a":{}'])
def test_msgspec_calls_a_text_that_ends_too_early_truncated(text: bytes) -> None:
    """The word is all by which msgspec tells missing bytes from wrong ones, so we rely on it."""
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        msgspec.json.decode(text, type=msgspec.Raw)


@pytest.mark.parametrize("text", [b"[1}", b"[tru]    ", b'["\x01"]', b"[] []"])
def test_msgspec_calls_no_wrong_text_truncated(text: bytes) -> None:
    """What can't become right has another message, which is why the word decides."""
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(text, type=msgspec.Raw)
    assert "truncated" not in str(caught.value)


@pytest.mark.fault("S5")
def test_members_keep_order_and_duplicates() -> None:
    """All members come as pairs, repeated names included, with their escapes decoded."""
    text = rb'{"a": 1, "\u0061": {"b": [], "b": null}, "": "\ud83d"}'
    assert members(text) == [("a", "1"), ("a", [("b", []), ("b", None)]), ("", "\ud83d")]
    assert members(bytearray(b" {} ")) == []


@pytest.mark.fault("S4")
def test_members_take_integers_of_any_length() -> None:
    """Python converts at most 4,300 digits; a longer integer is still valid JSON."""
    digits = "9" * 5000
    assert members(f'{{"a": {digits}}}'.encode()) == [("a", digits)]


@pytest.mark.fault("S1", "S2", "S3")
@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (b'{"a": "\xff"}', ValueError, "is not valid UTF-8"),
        (b'{"a": 1', ValueError, "is not valid JSON"),
        (b'{"a": NaN}', ValueError, "is not valid JSON"),
        (b'{"a": [-Infinity]}', ValueError, "is not valid JSON"),
        (b'{"a": "\x00"}', ValueError, "is not valid JSON"),
        (b"{} {}", ValueError, "is not valid JSON"),
        (b'{"a":' + b"[" * 1_000_000, RecursionError, "is nested too deeply"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_members_refuse_with_a_text_that_shows_nothing_of_the_document(
    text: bytes, error: type[Exception], message: str
) -> None:
    """The error says what is wrong; neither it nor a chained one holds the text."""
    with pytest.raises(error) as caught:
        members(text)
    assert message == str(caught.value)
    assert caught.value.__context__ is None


def test_the_document_of_this_file_is_valid() -> None:
    """The document whose beginnings are cut short is itself JSON."""
    assert list(json.loads(DOCUMENT)) == ["a", "\ude00]", "é😀"]
