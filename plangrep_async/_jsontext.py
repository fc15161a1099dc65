"""What can be said of a piece of JSON text: cut short or not, its members, its half characters."""

import json
import re
from typing import Any, NoReturn

import msgspec

NOT_JSON = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder raises on what is no JSON, or is nested too deeply."""
TELLING = ("error", "errors", "message", "code", "detail")
"""Names that say what an answer is instead; any other one may hold what must not be shown."""

_HIGH = rb"\\u[dD][89abAB][\da-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][\da-fA-F]{2}"
_half_of_pair = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
_MARK, _STUFF = b"\xff", b"\xfe"  # no bytes of any UTF-8 text: RFC 3629, section 1
_WORDS = b"+-.0123456789" + bytes(range(65, 91)) + bytes(range(97, 123))
_MORE = b" " * 8  # than the longest word that a decoder expects after its first letter


def mend_surrogates(text: bytes | bytearray) -> bytes | bytearray:
    """Replace halves of surrogate pairs by U+FFFD; the length stays the same."""
    if rb"\ud" not in text and rb"\uD" not in text:
        return text
    is_stuffed = _MARK in text or _STUFF in text  # which another part of a decoder will refuse
    if is_stuffed:
        text = text.replace(_STUFF, _STUFF + b"0").replace(_MARK, _STUFF + b"1")
    # With escaped backslashes out of the way, each one that is left begins an escape.
    text = text.replace(rb"\\", _MARK * 2)
    text = _half_of_pair.sub(rb"\\ufffd", text).replace(_MARK * 2, rb"\\")
    if is_stuffed:
        text = text.replace(_STUFF + b"1", _MARK).replace(_STUFF + b"0", _STUFF)
    return text


def is_cut_short(text: bytes | bytearray) -> bool:
    """Whether this is the beginning of a JSON value, right as far as it goes and not the whole."""
    # A word or number at the end may go on, an escape may be half of one: leave them out. The
    # blanks make a decoder look at what is there before it misses what is not.
    begun = text.rstrip(_WORDS)
    if (len(begun) - len(begun.rstrip(b"\\"))) % 2:
        begun = begun[:-1]
    # Halves of pairs become other characters, which is faster than to mend them.
    begun = begun.replace(rb"\ud", rb"\uc").replace(rb"\uD", rb"\uc")
    try:
        msgspec.json.decode(begun + _MORE, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except RecursionError:
        pass
    return False


def members(text: bytes | bytearray) -> list[tuple[str, Any]]:
    """Decode a JSON object into its members, duplicates included; objects in it likewise.

    Raises `ValueError` or `RecursionError` with a text that begins with a verb.
    """
    try:
        found: list[tuple[str, Any]] = _members(text.decode())
    except UnicodeDecodeError:
        fault: Exception = ValueError("is not valid UTF-8")
    except ValueError:
        fault = ValueError("is not valid JSON")
    except RecursionError:
        fault = RecursionError("is nested too deeply")
    else:
        return found
    raise fault


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity: RFC 8259, section 6


_members = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_constant=_refuse).decode
