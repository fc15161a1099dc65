"""Answers that are no success: which error, what it tells, and what it must never tell."""

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plangrep_async._status import MAX_BODY_BYTES, read_retry_after, status_error
from plangrep_async.errors import (
    ApiStatusError,
    AuthenticationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)

WHAT = "GET https://plangrep.com/api/open/v1/projects/proj_1/jobs"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LONGEST = 1e9
BY_STATUS = {401: AuthenticationError, 403: PermissionDenied, 404: NotFound, 429: RateLimited}


def error_of(body: Any, status: int = 422) -> ApiStatusError:
    """Make the error of a body: bytes as they are, anything else as JSON."""
    return status_error(
        WHAT, status, body if isinstance(body, bytes) else json.dumps(body).encode()
    )


@pytest.mark.fault("H7", "H8")
@pytest.mark.parametrize("status", range(400, 600))
def test_each_status_has_its_class(status: int) -> None:
    """Four statuses have one of their own, 5xx is the server's, and the rest is the base class."""
    error = error_of(b"", status)
    assert type(error) is BY_STATUS.get(status, ServerError if status >= 500 else ApiStatusError)
    assert error.status == status
    assert str(error).startswith(f"{WHAT} answered {status}")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "check the API key"),
        (403, "the API key lacks the scope for this call"),
        (404, "check the id, and that it belongs to the API key's organisation"),
    ],
)
def test_the_message_says_what_to_do_next(status: int, advice: str) -> None:
    """Where the user can do something about it, the advice comes last."""
    error = error_of({"code": "some_code", "message": "Some text."}, status)
    assert str(error) == f"{WHAT} answered {status} some_code: Some text. ({advice})"


def test_the_error_keeps_what_it_is_given() -> None:
    """Request id, wait and project are attributes, also after pickling."""
    error = status_error(WHAT, 429, b"", request_id="req_1", retry_after=2.5)
    error.project_id = "proj_1"  # as who has asked for the project does
    for kept in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301  # our own bytes
        assert (kept.request_id, kept.retry_after, kept.project_id) == ("req_1", 2.5, "proj_1")
    bare = error_of(b"")
    assert (bare.request_id, bare.retry_after, bare.project_id) == (None, None, None)


@pytest.mark.fault("X9")
@pytest.mark.parametrize(
    ("sent", "kept"),
    [("", None), ("req\x1b[31m\r\nx: y", r"req\x1b[31m x: y"), ("r" * 9000, "r" * 200 + "…")],
    ids=["empty", "control characters", "long"],
)
def test_a_request_id_is_made_printable(sent: str, kept: str | None) -> None:
    """It is one short line, whatever the server sends."""
    assert status_error(WHAT, 500, b"", request_id=sent).request_id == kept


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"code": "c", "message": "m"}, "c", "c: m"),
        ({"error": {"code": "c", "message": "m"}}, "c", "c: m"),
        ({"code": "c", "error": {"message": "m"}}, "c", "c: m"),
        ({"message": "m", "error": {"code": "c"}}, "c", "c: m"),
        ({"code": "o", "message": "o", "error": {"code": "c", "message": "m"}}, "c", "c: m"),
        ({"code": "c", "message": "m", "error": None}, "c", "c: m"),
        ({"error": "m"}, None, ": m"),
        ({"error": "Not Found", "message": "m"}, None, ": m"),
        ({"error": "m", "message": " "}, None, ": m"),
        ({"code": "c", "error": {"code": 404, "message": "m"}}, "c", "c: m"),
        ({"message": "m", "error": {"message": None}}, None, ": m"),
        ({"error": "m", "code": "c"}, "c", "c: m"),
        ({"code": "c"}, "c", "c"),
        ({"message": "m"}, None, ": m"),
        ({"code": "", "message": ""}, None, ""),
        ({"code": 7, "message": 8}, None, ""),
        ({}, None, ""),
        ([{"code": "c"}], None, ""),
        (b"", None, ""),
        (b'{"code": "c"} x', None, ': {"code": "c"} x'),
        (b"<html><h1>502</h1>\n<p class='a'>Bad\nGateway</p></html>", None, ": 502 Bad Gateway"),
        (b"<b>Not closed: <i", None, ": Not closed: <i"),
        (b"\xff\xfebad\xc3", None, ": \ufffd\ufffdbad\ufffd"),
        (b'{"code": "\xff", "message": "m"}', "\ufffd", "\ufffd: m"),
        (b'\xef\xbb\xbf{"code": "rate", "message": "cut \\ud83d"}', "rate", "rate: cut \\ud83d"),
        (b'"Service unavailable"', None, ": Service unavailable"),
        (b'{"message": "https://u:canary@h/p#canary"}', None, ": https://…@h/p#…"),
    ],
    ids=ascii,
)
def test_code_and_message_are_found_where_they_are(body: Any, code: str | None, text: str) -> None:
    """At the top level, under "error" or as its text; what is no text, or no JSON, is no code."""
    error = error_of(body)
    said = f" {text}" if code else text
    assert (error.code, str(error)) == (code, f"{WHAT} answered 422{said}")


@pytest.mark.fault("H7", "X9")
@pytest.mark.parametrize(
    "body",
    [
        b"<" * (1 << 20),
        b"<a " * MAX_BODY_BYTES,
        b"[" * (1 << 20),
        b'{"error":' * (1 << 17),
        b"[" * 20_000 + b"]" * 20_000,
        b"9" * (1 << 20),
        json.dumps({"code": "c" * (1 << 20), "message": "m " * (1 << 19)}).encode(),
        json.dumps({"error": "\x1b" * (1 << 18)}).encode(),
    ],
    ids=lambda body: ascii(body[:10]),
)
def test_a_huge_or_deep_body_makes_a_short_message(body: bytes) -> None:
    """Of a body of any size and depth, at most 200 characters are in each part of the message."""
    error = error_of(body)
    assert len(str(error)) <= len(f"{WHAT} answered 422 : ") + 2 * 201
    assert len(error.code or "") <= 201


@pytest.mark.fault("X9", "X10")
@pytest.mark.parametrize("place", ["code", "message", "error"])
def test_control_characters_are_escaped(place: str) -> None:
    """A server can neither colour a terminal nor begin a line in a log."""
    error = error_of({place: "a\x1b[31mb\x00c\x07d\u202ee\u2028f%s{}"})
    expected = r"a\x1b[31mb\x00c\x07d\u202ee"
    assert expected in str(error)
    assert str(error).isprintable()
    assert (error.code or "").isprintable()
    assert str(error).endswith("f%s{}")


@pytest.mark.fault("X4")
@pytest.mark.parametrize(
    "text",
    [
        "see https://x.example/r?token=canary&b=canary#canary now",
        "https://x.example/a?b=1&sig=canary, https://x.example/c?d=1&sig=canary",
        '<a href="https://x.example/r?sig=canary&amp;b=canary">here</a>',
        "/r?sig=canary%2Fcanary(canary)?canary",
    ],
    ids=ascii,
)
def test_queries_are_left_out_of_a_message(text: str) -> None:
    """A pre-signed address carries its token there: as JSON, as text, and cut off."""
    for body in ({"message": text}, {"error": text}, text.encode(), {"error": {"message": text}}):
        assert "canary" not in repr(error_of(body))
    unfinished = json.dumps({"resultUrl": text, "error": text}).encode()[:-1]
    assert "canary" not in repr(error_of(unfinished))


@pytest.mark.fault("X4")
@pytest.mark.parametrize(
    "body",
    [
        {"code": "https://x.example/r?token=canary"},
        {"message": "see https://x.example/r?name='plan.pdf'&sig=canary"},
    ],
)
def test_queries_are_left_out_of_a_code_and_with_apostrophes(body: Any) -> None:
    """A code may hold an address too, and a query an apostrophe (RFC 3986, section 3.4)."""
    assert "canary" not in repr(error_of(body))


@pytest.mark.fault("X4")
def test_secrets_of_the_caller_are_hidden_in_all_that_was_said() -> None:
    """The given function goes over code, message, raw text and request id."""
    hide = {"canary": "[key]"}.get
    for body in (
        b'{"code": "canary"}',
        b'{"message": "canary"}',
        b'{"error": "canary"}',
        b"canary",
    ):
        error = status_error(
            WHAT, 403, body, request_id="canary", hide=lambda text: hide(text, text)
        )
        assert "canary" not in repr(error)
        assert "[key]" in str(error)
        assert error.request_id == "[key]"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["code", "message", "error"]), inner)
    ),
)


@pytest.mark.fault("X9", "X10")
@settings(derandomize=True, deadline=None)
@given(
    st.integers(400, 599), json_values | st.binary() | st.text().map(lambda t: t.encode("utf-16"))
)
def test_any_body_makes_one_short_printable_line(status: int, body: Any) -> None:
    """The status is never masked, and the message is always fit for a log."""
    error = error_of(body, status)
    assert error.status == status
    assert str(error).isprintable()
    assert len(str(error)) <= len(f"{WHAT} answered 422 : ") + 2 * 201 + 80


@pytest.mark.fault("H6")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2", 2.0),
        ("0", 0.0),
        (" 3\t", 3.0),
        ("1.5", 1.5),
        ("1" + "0" * 30, LONGEST),
        ("9" * 5000, LONGEST),
        ("-1", None),
        ("+1", None),
        ("NaN", None),
        ("inf", None),
        ("1e999", None),
        ("٣", None),
        ("", None),
        ("2 seconds", None),
        ("\udcff", None),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thursday, 01-Jan-26 00:01:00 GMT", 60.0),
        ("Thu Jan  1 00:01:00 2026", 60.0),
        ("Thu, 01 Jan 2026 00:01:00", 60.0),
        ("Thu, 01 Jan 2026 00:01:00 -0000", 60.0),
        ("Thu, 01 Jan 2026 02:01:00 +0200", 60.0),
        ("Wed, 31 Dec 2025 19:01:00 EST", 60.0),
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST),
        ("Thu, 01 Jan 2026 00:01:00 +9999", None),
        (f"Thu, 01 Jan {'9' * 5000} 00:00:00 GMT", None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_retry_after_by_value(value: str, expected: float | None) -> None:
    """Seconds and dates of every form of RFC 9110; past is 0, too long is cut, garbage is none."""
    assert read_retry_after([value], NOW) == expected


@pytest.mark.fault("H6")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["2", "5"], 5.0),
        (["soon", "2"], 2.0),
        (["0", "Thu, 01 Jan 2026 00:01:00 GMT"], 60.0),
        (["1e999", "1" + "0" * 30], LONGEST),
    ],
)
def test_of_several_retry_after_the_longest_counts(
    values: list[str], expected: float | None
) -> None:
    """Garbage beside a good value does not spoil it."""
    assert read_retry_after(values, NOW) == expected


nearly_dates = st.from_regex(
    r"(Thu, )?\d{1,3}[ -]Jan[ -]\d{1,5} \d+[:.]\d+([:.]\d+)? ?([+-]\d{1,5}|GMT)?", fullmatch=True
)


@pytest.mark.fault("H6")
@settings(derandomize=True, deadline=None)
@given(st.lists(st.text() | nearly_dates))
def test_any_retry_after_is_none_or_a_finite_wait(values: list[str]) -> None:
    """Nothing a server writes there raises, is negative or without end."""
    wait = read_retry_after(values, NOW)
    assert wait is None or 0 <= wait <= LONGEST
