"""Where the values of a JSON text begin and end: an exact scanner, and two fast guesses.

The scanner walks over strings and brackets, each byte once, and keeps its place while the text
arrives in pieces (about 8 µs a job). It does not judge: on valid JSON it is exact, on anything
else its answers mean nothing, and whoever uses them decodes what lies between.

The guesses are right most of the time, and never to be used without a proof. One looks for the
last element that begins as the first one does, and costs next to nothing. The other counts
brackets as if none stood in a string (about 0.4 µs a job): for elements that begin like what is in
them, or unlike each other, and for a piece that ends where one of them may end.
"""

import re
from enum import Enum, auto

_SPACE = b" \t\n\r"  # RFC 8259, section 2
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

MAX_DEPTH = 10_000  # a bomb of brackets that never close ends here
_MAX_GAP = 64  # white space between two elements that a guess looks through

# As far as no mark can be, in one step of the regular expression engine. The repetition is bounded,
# for it takes memory, and it is not possessive: CPython before 3.11.5 gets that wrong for a string
# without its end (python/cpython issue 106052).
_over_flat = re.compile(rb'(?:[^][{}",]++|"(?:[^"\\]++|\\.)*+"){0,256}', re.DOTALL).match
_over_nested = re.compile(rb'(?:[^][{}"]++|"(?:[^"\\]++|\\.)*+"){0,256}', re.DOTALL).match
_over_space = re.compile(rb"[ \t\n\r]*+").match
_over_string = re.compile(rb'(?:[^"\\]++|\\.){0,256}', re.DOTALL).match

# Such as `{"id":"job_`, where a file in a job has another beginning. No string holds what looks so,
# for its quotes are escaped.
_beginning = re.compile(
    rb'\{[ \t\n\r]{0,64}"[^"\\]{0,64}"[ \t\n\r]{0,64}:[ \t\n\r]{0,64}"[^"\\]{4}'
).match


class Mark(Enum):
    """What the scanner stops at, seen from the list or object that it walks through."""

    OPEN = auto()  # a bracket: a list or an object begins
    CLOSE = auto()  # a bracket: it ends here
    COMMA = auto()
    END = auto()  # the closing bracket of what is walked through


class Scanner:
    """Walks through the members of one list or object, each byte once."""

    def __init__(self) -> None:
        self.position = 0
        """Everything in the buffer before this was seen."""
        self.depth = 0
        """How many brackets are open here."""
        self._in_string = False

    @property
    def is_lost(self) -> bool:
        """Whether more brackets are open than any decoder would take."""
        return self.depth > MAX_DEPTH

    def next(self, buffer: bytearray) -> tuple[Mark, int] | None:
        """Find the next mark and its place; `None` where the buffer ends first, or `is_lost`."""
        while not self.is_lost:
            if self._in_string and not self._leave_string(buffer):
                return None
            over = _over_nested if self.depth else _over_flat
            at = self.position = _end_of(over(buffer, self.position))
            if at == len(buffer):
                return None
            self.position += 1
            match buffer[at]:
                case 0x22:
                    self._in_string = True
                case 0x2C if not self.depth:
                    return Mark.COMMA, at
                case 0x5B | 0x7B:
                    self.depth += 1
                    if self.depth == 1:
                        return Mark.OPEN, at
                case 0x5D | 0x7D:
                    self.depth -= 1
                    if self.depth <= 0:
                        return (Mark.CLOSE if self.depth == 0 else Mark.END), at
        return None

    def _leave_string(self, buffer: bytearray) -> bool:
        """Go on behind the end of the string; false where the buffer ends first."""
        last = -1
        while last < self.position < len(buffer):
            if buffer[self.position] == 0x22:
                self.position += 1
                self._in_string = False
                return True
            last = self.position
            self.position = _end_of(_over_string(buffer, last))
        return False  # at the end, or at a backslash whose partner is still to come


def end_of_space(buffer: bytes | bytearray) -> int:
    """Where the white space that the buffer begins with ends."""
    return _end_of(_over_space(buffer))


def _end_of(match: "re.Match[bytes] | None") -> int:
    return match.end() if match else 0  # the patterns match the empty text, too


def guess_by_beginning(buffer: bytearray, start: int) -> int:
    """Guess what `guess` does, from the bytes that the first element in the buffer begins with."""
    end, last = _before(buffer, len(buffer), _SPACE + b",")
    if last == b"}":  # of an element, which this does not tell, or of all
        end, last = _before(buffer, end - 1, _SPACE)
        return end - 1 if last == b"]" else 0
    beginning = _beginning(buffer)
    if beginning is None or beginning[0].startswith(buffer[buffer.rfind(b"{") :]):
        return 0  # or an element may just have begun
    at = buffer.rfind(beginning[0], max(start, 1))
    if at < 0:
        return 0
    end, last = _before(buffer, at, _SPACE + b",")
    return end if last == b"}" else 0


def guess(buffer: bytearray, start: int, depth: int) -> int:
    """Guess the last place behind `start` where an element of a list ends; 0 for no idea.

    The buffer begins at an element, and `depth` brackets are open at `start`.
    """
    # Of bytes, for that takes half the time of a bytearray's.
    brackets = bytes(memoryview(buffer)[start:]).translate(None, _NO_BRACKETS)
    count = brackets.count
    depth += count(b"{") + count(b"[") - count(b"}") - count(b"]")
    end, last = _before(buffer, len(buffer), _SPACE + b",")
    if last == b"}" and depth == 0:  # a server that pauses here has sent whole jobs
        return end
    if last == b"}" and depth == -2:  # or its last job, and `]}`
        end, last = _before(buffer, end - 1, _SPACE)
        return end - 1 if last == b"]" else 0
    objects = 0
    for bracket in reversed(brackets):
        depth += 1 if bracket in b"}]" else -1
        objects += bracket == 0x7B
        if depth == 0 and bracket == 0x7B:
            break
    else:
        return 0
    at = len(buffer)
    for _ in range(objects):
        at = buffer.rfind(b"{", start, at)
    end, last = _before(buffer, at, _SPACE + b",")
    return end if last == b"}" else 0


def _before(buffer: bytearray, end: int, skipped: bytes) -> tuple[int, bytes]:
    """Where the text before `end` stops when the skipped bytes are left out, and its last byte."""
    start = max(0, end - _MAX_GAP)
    text = buffer[start:end].rstrip(skipped)
    return start + len(text), bytes(text[-1:])
