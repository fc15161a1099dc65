"""What can be said of a piece of JSON text: cut short or not, its members, its half characters."""

import json
import re
from typing import Any, NoReturn

import msgspec

_surrogate = re.compile(rb"(?<!\\)\\++u[dD][89a-fA-F][\da-fA-F]{2}")
_second_half = re.compile(rb"\\u[dD][c-fC-F][\da-fA-F]{2}")
_WORDS = b"+-.0123456789" + bytes(range(65, 91)) + bytes(range(97, 123))
_MORE = b" " * 8  # than the longest word that a decoder expects after its first letter


def mend_surrogates(text: bytes | bytearray) -> bytearray:
    """Replace halves of surrogate pairs by U+FFFD; the length stays the same."""
    mended = bytearray(text)
    position = 0
    while found := _surrogate.search(mended, position):
        start, position = found.span()
        if (position - start) % 2 == 0:  # five characters behind an odd number of backslashes
            is_first = mended[position - 3] in b"89abAB"
            if is_first and _second_half.match(mended, position):
                position += 6
            else:
                mended[position - 4 : position] = b"fffd"
    return mended


def is_cut_short(text: bytes | bytearray) -> bool:
    """Whether this is the beginning of a JSON value, right as far as it goes and not the whole."""
    # A word or number at the end may go on, an escape may be half of one: leave them out. The
    # blanks make a decoder look at what is there before it misses what is not.
    begun = text.rstrip(_WORDS)
    if (len(begun) - len(begun.rstrip(b"\\"))) % 2:
        begun = begun[:-1]
    try:
        msgspec.json.decode(mend_surrogates(begun) + _MORE, type=msgspec.Raw)
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
        found: list[tuple[str, Any]] = json.loads(
            text.decode(), object_pairs_hook=list, parse_int=str, parse_constant=_refuse
        )
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
