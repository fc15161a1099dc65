r"""The head of `{"jobs": [...]}`: what stands in the root object before the list, in any pieces.

Each byte is looked at once by the scanner; a member is decoded when it is complete, and a key when
a bracket follows it, for escapes in a key count: `"j\u006fbs"` is the same key. Other members may
hold lists, objects and keys that look alike: only the root's own key counts.
"""

from typing import Any, NoReturn

from plangrep_async._boundaries import Mark, Scanner, end_of_space
from plangrep_async._jsontext import TELLING, members
from plangrep_async.errors import InvalidResponse

MAX_ENVELOPE_BYTES = 1 << 20  # what may stand before the list, between elements, behind the list
MAX_MEMBERS = 1000  # that may stand before the list


class Head:
    """Walks through the root object up to the list under `key`.

    It shares its buffer with whoever fills it and goes on behind the head. The buffer is nobody's
    argument, for a traceback may be shown with its variables.
    """

    def __init__(self, key: str, buffer: bytearray) -> None:
        self.opening = b""
        """What went before the text that is left, and would make one JSON value of it."""
        self._key = key
        self._quoted = f'"{key}"'.encode()
        self._buffer = buffer
        self._scanner = Scanner()
        self._has_value = False  # whether this member has a list or an object already
        self._passed = 0  # bytes
        self._members = 0  # that were passed

    @property
    def place(self) -> str:
        """Where in the document this is."""
        return f'before its list "{self._key}"'

    def read(self) -> bool:
        """Take what is complete out of the buffer; whether it begins behind the list's `[` now.

        Raises `InvalidResponse` as soon as there can be no such list.
        """
        if not self.opening:
            self._drop(end_of_space(self._buffer))
            if self._buffer and self._buffer[0] != 0x7B:
                self._fail("is not a JSON object")
            if self._buffer:
                self._drop(1)
                self.opening = b"{"
        while found := self._scanner.next(self._buffer):
            mark, at = found
            self._check_size(self._scanner.position)
            if mark in (Mark.COMMA, Mark.END):
                self._pass_member(at)
            elif mark is Mark.CLOSE or self._has_value:
                self._has_value = True
            elif self._enter_value(at):
                return True
        self._check_size(self._scanner.position)
        if self._scanner.is_lost:
            self._fail("is nested too deeply")
        return False

    def _enter_value(self, at: int) -> bool:
        """Begin the list where this bracket opens the value of the key."""
        if not self._may_be_key(self._buffer[:at]):
            return False
        if read_members(b"{" + self._buffer[:at] + b"0}", self.place)[-1][0] != self._key:
            return False
        if self._buffer[at] != 0x5B:
            self._fail(f'has an object, not a list, as "{self._key}"')
        self._drop(at + 1)
        return True

    def _may_be_key(self, text: bytearray) -> bool:
        """Whether a decoder is worth asking, which takes longer than all the rest."""
        # Without a colon there are brackets in a row: the member is checked when it is complete.
        return text.rstrip().endswith(b":") and (self._quoted in text or b"\\" in text)

    def _pass_member(self, at: int) -> None:
        """Check a member that ended with this comma or bracket, and leave it behind."""
        known = (self._key, *TELLING)
        names = [
            name if name in known else ""
            for name, _ in read_members(b"{" + self._buffer[:at] + b"}", self.place)
        ]
        if self._key in names:
            self._fail(f'has no list as "{self._key}"')
        if self._buffer[at] != 0x2C:
            other = f' but "{names[-1]}"' if names and names[-1] else ""
            self._fail(f'has no "{self._key}"{other}')
        if not names:
            self._fail("is not valid JSON")
        self._drop(at + 1)
        self._has_value = False
        self._members += 1
        if self._members > MAX_MEMBERS:
            self._fail(f'has no "{self._key}" among its first {MAX_MEMBERS} members')

    def _drop(self, count: int) -> None:
        self._check_size(count)
        del self._buffer[:count]
        self._passed += count
        self._scanner = Scanner()

    def _check_size(self, more: int) -> None:
        if self._passed + more > MAX_ENVELOPE_BYTES:
            self._fail(f'has no "{self._key}" in its first {MAX_ENVELOPE_BYTES} bytes')

    def _fail(self, fault: str) -> NoReturn:
        raise InvalidResponse(f"the answer {fault} ({self.place})")


def read_members(text: bytes | bytearray, place: str) -> list[tuple[str, Any]]:
    """Decode a JSON object into its members; raises `InvalidResponse`, which names the place."""
    try:
        return members(text)
    except (ValueError, RecursionError) as error:
        fault = str(error)
    finally:
        del text  # a traceback may be shown with its variables
    raise InvalidResponse(f"the answer {fault} ({place})")
