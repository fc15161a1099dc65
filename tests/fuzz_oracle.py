"""What `json` and the converter say of a document: what a fuzzing run holds the library to.

What the library documents to differ from `json` is known here: NaN and Infinity are refused, half
of a surrogate pair is U+FFFD, bytes that are no UTF-8 make the element that holds them a bad one.
"""

import codecs
import json
import math
import re
from typing import Any

from plangrep_async._jsonhead import MAX_ENVELOPE_BYTES, MAX_MEMBERS
from plangrep_async.converter import make_converter
from plangrep_async.models import Job

NORMAL, INVALID, INCOMPLETE = "normal", "InvalidResponse", "IncompleteResponse"
_SHALLOW = 150  # levels of nesting that every interpreter takes

_NOT_UTF8 = "☠☠"  # in the place of such bytes; nothing that is drawn holds it
_rules = make_converter()

# Ends with what may be half a word or an escape: more text may still make JSON of it.
_half = re.compile(r"[\w.+\-\\ \t\n\r]*+", re.ASCII)


def promised(document: bytes) -> list[Job | None] | set[str]:
    """Give the jobs (`None` for a bad one) of a whole document, else the ends that may be."""
    text = document.decode(errors="tests.fuzz")
    try:
        root = json.loads(
            text, object_pairs_hook=_Members, parse_constant=_refuse, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        return {INVALID} if _is_final(error) else {INVALID, INCOMPLETE}
    except ValueError:
        return {INVALID, INCOMPLETE}
    except RecursionError:
        return {INVALID, INCOMPLETE, NORMAL}
    if _depth(text) > _SHALLOW or len(document) > MAX_ENVELOPE_BYTES:
        return {INVALID, NORMAL}
    jobs = root.only_list("jobs") if isinstance(root, _Members) else None
    return {INVALID} if jobs is None else [_job(job) for job in jobs]


class _Members(dict[str, Any]):
    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs
        if _NOT_UTF8 in str(pairs):
            self[_NOT_UTF8] = True  # though another member of the same name may have hidden it

    def only_list(self, key: str) -> list[Any] | None:
        """Give the list of this name if the library takes it as the root's one list."""
        names = [name for name, _ in self._pairs]
        others = [pair for pair in self._pairs if pair[0] != key]
        if names.count(key) != 1 or names.index(key) > MAX_MEMBERS or _NOT_UTF8 in str(others):
            return None
        return self[key] if isinstance(self[key], list) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits.lstrip("-")) <= 4300 else math.inf


def _is_final(error: json.JSONDecodeError) -> bool:
    """Whether no more text could mend this."""
    if error.msg.startswith("Unterminated string"):
        return False
    return "control character" in error.msg or _half.fullmatch(error.doc, error.pos) is None


def _depth(text: str) -> int:
    """Find the depth as if no bracket stood in a string, which is never less."""
    deepest = depth = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = max(0, depth + (1 if bracket in "[{" else -1))
        deepest = max(deepest, depth)
    return deepest


def _job(value: Any) -> Job | None:
    if _NOT_UTF8 in str(value):
        return None
    try:
        return _rules.structure(_mended(value), Job)
    except Exception:  # noqa: BLE001  # a bad element, whatever cattrs makes of it
        return None


def _mended(value: Any) -> Any:
    if isinstance(value, dict):
        return {_mended(key): _mended(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


codecs.register_error("tests.fuzz", lambda error: (_NOT_UTF8, error.end))  # type: ignore[attr-defined]
