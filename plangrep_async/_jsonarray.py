"""From the bytes of `{"jobs": [...]}`, in pieces of any size, to batches of its elements.

Goals: an element is handed on as soon as its last byte is here; nothing but the whole promised
document ends normally; time is linear in the bytes, memory is bounded by one element and piece.

Plan: `_boundaries.py` says where elements end, by guesses or by its scanner, and a *proof* follows:
everything up to there is decoded as a JSON array. JSON is read from left to right without
backtracking, so what closes as a valid array there has a decoder of the whole document between two
elements, too. The decoding is work that has to be done anyway; only that of a wrong guess is lost,
and a guess is made only on a piece at least as large as what is waiting: the whole stays linear.
What follows a cut is scanned, so that after each piece one incomplete element at most is left.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sized
from enum import Enum, auto
from typing import Generic, NoReturn, TypeVar

from plangrep_async._boundaries import Mark, Scanner, end_of_space, guess, guess_by_beginning
from plangrep_async._jsonhead import MAX_ENVELOPE_BYTES, Head, read_members
from plangrep_async._jsontext import NOT_JSON, is_cut_short, mend_surrogates
from plangrep_async.errors import IncompleteResponse, InvalidResponse

B = TypeVar("B", bound=Sized)
Decode = Callable[[bytes], Iterable[B]]

_MAX_SCANNED = 1000  # elements that are looked for at once: others want their turn
_MAX_CHECKED = 1 << 20  # bytes of an element that are looked at for faults before its end


class _Expect(Enum):
    """What comes next in the document."""

    HEAD = auto()  # of the root object, up to the list
    FIRST = auto()  # an element, or the end of the list
    SEPARATOR = auto()  # a comma, or the end of the list
    ELEMENT = auto()
    TAIL = auto()  # the end of the list and all that follows


class ArrayDecoder(Generic[B]):
    r"""Takes the bytes of an object with a list under `key`; gives the elements in batches.

    `decode` turns the bytes of a JSON array into its elements, in batches. It raises
    `msgspec.MsgspecError`, `ValueError` or `RecursionError` if, and only if, they are no JSON
    array, and then at once, whenever the batches themselves are made. Where it refuses half of a
    surrogate pair (`\ud83d` alone: JavaScript writes it for an emoji that was cut), it is asked
    again with U+FFFD instead.
    """

    def __init__(self, key: str, decode: Decode[B], *, max_element_bytes: int) -> None:
        self._key = key
        self._decode = decode
        self._max_element_bytes = max_element_bytes
        self._expect = _Expect.HEAD
        self._buffer = bytearray()  # begins where what is expected begins
        self._head = Head(key, self._buffer)
        self._scanner = Scanner()
        self._trust = 1  # in guesses by beginnings: never more wrong ones than right ones, and one
        self._count = 0  # elements given
        self._passed = 0  # bytes of white space before an element
        self._next_check = 0  # size at which an incomplete element is looked at for faults

    def feed(self, data: bytes) -> Iterator[B]:
        """Take a piece; give every element that is complete now, in batches of at least one.

        Raises `InvalidResponse` as soon as the document is known to be wrong, and not before all
        elements ahead of the fault were given.
        """
        self._buffer += data
        del data  # a traceback may be shown with its variables
        if self._expect is _Expect.HEAD and self._head.read():
            self._expect = _Expect.FIRST
        if self._expect in (_Expect.FIRST, _Expect.SEPARATOR, _Expect.ELEMENT):
            yield from self._read_elements()
        if self._expect is _Expect.TAIL and len(self._buffer) > MAX_ENVELOPE_BYTES:
            self._fail("does not end")

    def close(self) -> None:
        """Say that no more comes; raises `IncompleteResponse` unless the document is whole."""
        if is_cut_short(self._rest()):
            raise IncompleteResponse(f"the answer ended too early ({self._place()})")
        if any(name == self._key for name, _ in read_members(self._rest(), self._place())):
            self._fail(f'has "{self._key}" twice')

    def _rest(self) -> bytes:
        """Give the text that is left as one JSON value."""
        opening = {_Expect.ELEMENT: b"[", _Expect.TAIL: b'{"":['}
        return opening.get(self._expect, self._head.opening) + self._buffer

    # The list.

    def _read_elements(self) -> Iterator[B]:
        has_guessed = False
        while self._reach_element():
            batches, end = (None, 0) if has_guessed else self._prove_guess()
            has_guessed = True
            if batches is None:
                if not (ends := self._scan()):
                    return self._check_incomplete()
                batches, end = self._prove_most(ends)
            self._drop(end)
            self._passed = self._next_check = 0
            self._expect = _Expect.SEPARATOR
            for batch in batches:
                self._count += len(batch)
                yield batch

    def _reach_element(self) -> bool:
        """Pass what stands before an element; whether there is a piece of one."""
        if self._scanner.position:
            return True  # in the middle of one
        self._skip_space()
        if self._buffer and self._expect is not _Expect.ELEMENT:
            if self._buffer[0] == 0x5D:
                self._expect = _Expect.TAIL
                return False
            if self._expect is _Expect.SEPARATOR:
                if self._buffer[0] != 0x2C:
                    self._fail("is not valid JSON")
                self._drop(1)
                self._skip_space()
            self._expect = _Expect.ELEMENT
        if self._buffer and self._buffer[0] not in b'{["-0123456789tfn':
            self._fail("is not valid JSON")
        return bool(self._buffer)

    def _prove_guess(self) -> tuple[Iterable[B] | None, int]:
        """Decode all elements up to a guess; `None` where that was wrong, or none can be made."""
        seen, size = self._scanner.position, len(self._buffer)
        if seen > size - seen or size > self._max_element_bytes:
            return None, 0
        if self._trust and (end := guess_by_beginning(self._buffer, seen)):
            if (batches := self._prove(end)) is not None:
                self._trust += 1
                return batches, end
            self._trust -= 1
        end = guess(self._buffer, seen, self._scanner.depth)
        return (self._prove(end) if end else None), end

    def _prove(self, end: int) -> Iterable[B] | None:
        """Decode all elements up to there; `None` where they are no whole elements."""
        try:
            return self._decode(b"".join((b"[", memoryview(self._buffer)[:end], b"]")))
        except NOT_JSON:
            return None

    def _scan(self) -> list[int]:
        """Find the ends of complete elements, as far as none of them is too large."""
        ends: list[int] = []
        start = 0
        while len(ends) < _MAX_SCANNED and (found := self._scanner.next(self._buffer)):
            mark, at = found
            if mark is Mark.OPEN:
                continue
            end = at + (mark is Mark.CLOSE)  # and once more at what follows, which does no harm
            if end - start > self._max_element_bytes:
                break
            ends.append(end)
            if mark is Mark.END:
                break
            start = at + 1
        if not ends and self._scanner.position > self._max_element_bytes:
            self._fail(f"exceeds max_job_bytes, {self._max_element_bytes}, in one element")
        if not ends and self._scanner.is_lost:
            self._fail("is nested too deeply")
        return ends

    def _prove_most(self, ends: list[int]) -> tuple[Iterable[B], int]:
        """Decode as many elements as are valid; raises where not even the first one is."""
        if (batches := self._prove(ends[-1])) is None:
            self._buffer[: ends[-1]] = mend_surrogates(self._buffer[: ends[-1]])
            batches = self._prove(ends[-1])
        if batches is None:
            valid = bisect(ends, 0, key=lambda end: int(self._prove(end) is None))
            del ends[valid:]
            batches = self._prove(ends[-1]) if ends else None
        if batches is None:
            self._fail("is not valid JSON, or nested too deeply")
        return batches, ends[-1]

    def _check_incomplete(self) -> None:
        """Look for faults in the element that is still arriving, each time it has doubled."""
        if self._next_check <= len(self._buffer) <= _MAX_CHECKED:
            self._next_check = 2 * len(self._buffer)
            if not is_cut_short(b"[" + self._buffer):
                self._fail("is not valid JSON, or nested too deeply")

    # The buffer, and what is said of it.

    def _skip_space(self) -> None:
        if count := end_of_space(self._buffer):
            self._drop(count)
            if self._passed > MAX_ENVELOPE_BYTES:
                self._fail("has no end of white space")

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._passed += count
        self._scanner = Scanner()

    def _fail(self, fault: str) -> NoReturn:
        raise InvalidResponse(f"the answer {fault} ({self._place()})")

    def _place(self) -> str:
        match self._expect:
            case _Expect.HEAD:
                return self._head.place
            case _Expect.TAIL:
                return f"behind its list of {self._count}"
        return f"after element {self._count} of its list"
