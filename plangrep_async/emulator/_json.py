"""JSON documents as pieces of bytes, compact or in the form of the documentation's examples.

A list is written element by element and never held whole. Text outside ASCII is raw UTF-8.
"""

import json
from collections.abc import Iterable, Iterator


def encode(value: object, *, pretty: bool) -> bytes:
    """Return one whole document; `pretty` indents by two blanks a level."""
    return _text(value, pretty=pretty).encode()


def encode_list(name: str, elements: Iterable[object], *, pretty: bool) -> Iterator[bytes]:
    """Yield `{name: [elements]}` in one piece per element and one for the end.

    Joined, they equal `encode` of the whole; an element is asked for when its piece is.
    """
    newline, indent, blank = ("\n", "  ", " ") if pretty else ("", "", "")
    inner = newline + indent * 2
    opening = f'{{{newline}{indent}"{name}":{blank}['
    closing = "]"  # an empty list is written on one line
    lead = opening + inner
    for element in elements:
        # Line feeds inside strings are escaped, so those that are left begin the lines.
        text = _text(element, pretty=pretty).replace("\n", inner)
        yield (lead + text).encode()
        opening, lead, closing = "", "," + inner, newline + indent + "]"
    yield (opening + closing + newline + "}").encode()


def cut(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Yield the same bytes in chunks of `chunk_bytes`, of which the last may be shorter."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= chunk_bytes:
            yield bytes(buffer[:chunk_bytes])
            del buffer[:chunk_bytes]
    if buffer:
        yield bytes(buffer)


def first(pieces: Iterable[bytes], length_bytes: int) -> Iterator[bytes]:
    """Yield the bytes at the beginning, and ask for no piece that is not needed for them."""
    source = iter(pieces)
    while length_bytes > 0 and (piece := next(source, None)) is not None:
        yield piece[:length_bytes]
        length_bytes -= len(piece)


def _text(value: object, *, pretty: bool) -> str:
    if pretty:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
