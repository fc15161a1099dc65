"""From the bytes of one JSON object to its members: held whole, decoded when all is here.

A large document is decoded in many steps, for the event loop has others to serve: msgspec first
splits the root's lists into their elements, at 1 GB/s, and then makes a few of them at a time.

No message and no chained error shows what stands in the text: those of foreign decoders may.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from plangrep_async._boundaries import end_of_space
from plangrep_async._jsontext import NOT_JSON, TELLING, is_cut_short, members, mend_surrogates
from plangrep_async.errors import IncompleteResponse, InvalidResponse

_BYTES_AT_ONCE = 64 << 10  # of elements that are made between two turns of others

_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


class ObjectDecoder:
    r"""Takes the bytes of an object; then gives one member's text, or all of it decoded.

    Everything it raises is an `InvalidResponse`, `IncompleteResponse` where the text only ends too
    early. Halves of surrogate pairs (`\ud83d` alone: JavaScript writes it for an emoji that was
    cut) become U+FFFD. `limit` says what more than `max_bytes` is, and what to do.
    """

    def __init__(self, *, max_bytes: int, limit: str) -> None:
        self._max_bytes = max_bytes
        self._limit = limit
        self.document: dict[str, Any] = {}
        """What `decode()` has made until now."""
        # The text is nobody's variable: a traceback may be shown with those.
        self._pieces: list[bytes] = []
        self._size = 0
        self._text = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            del data
            self._pieces.clear()
            raise InvalidResponse(f"the answer exceeds {self._limit}")

    def member(self, key: str) -> bytes:
        """Give the JSON text of the one root member of this name; other members are ignored."""
        self._join()
        fault = self._find_fault(key)
        if fault:
            self._fail(fault)
        return bytes(self._split()[key])

    def decode(self) -> Iterator[None]:
        """Fill `document` step by step; after the last step it is whole.

        Of members of one object with the same name the last one counts.
        """
        self._join()
        done = 0
        for name, raw in self._split().items():
            if memoryview(raw)[0] != 0x5B:
                self.document[name] = self._value(raw)
                continue
            self.document[name] = []
            add = self.document[name].append
            for element in _split_list(raw):
                add(self._value(element))
                done += memoryview(element).nbytes
                if done > _BYTES_AT_ONCE:
                    done = 0
                    yield
        yield

    def _join(self) -> None:
        self._text = b"".join(self._pieces)
        self._pieces.clear()
        start = end_of_space(self._text)
        if self._text[start : start + 1] not in (b"{", b""):
            raise InvalidResponse("the answer is not a JSON object")

    def _find_fault(self, key: str) -> str | None:
        """Say why there is no such member, once."""
        try:
            known = (key, *TELLING)
            names = [name for name, _ in members(self._text) if name in known]
        except (ValueError, RecursionError) as error:
            return str(error)
        if names.count(key) > 1:
            return f'has "{key}" twice'
        if key not in names:
            return f'has no "{key}"' + (f' but "{names[0]}"' if names else "")
        return None

    def _split(self) -> dict[str, msgspec.Raw]:
        # This looks at all of the text, but not at its UTF-8 and the size of its numbers.
        try:
            return _split_object(self._text)
        except NOT_JSON as error:
            fault = _fault(error)
        before, self._text = self._text, bytes(mend_surrogates(self._text))
        is_mended = before != self._text
        del before
        return self._split() if is_mended else self._fail(fault)

    def _value(self, raw: msgspec.Raw) -> Any:
        try:
            return _decode(raw)
        except NOT_JSON as error:
            fault = _fault(error)
        return self._fail(fault)

    def _fail(self, fault: str) -> NoReturn:
        is_cut = is_cut_short(self._text)
        self._text = b""
        self.document.clear()
        if is_cut:
            raise IncompleteResponse("the answer ended too early")
        raise InvalidResponse(f"the answer {fault}")


def _fault(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "is not valid UTF-8"
        case RecursionError():
            return "is nested too deeply"
        case msgspec.ValidationError():
            return "has a number that is out of range"
    return "is not valid JSON"
