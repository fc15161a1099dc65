"""One answer as a list of elements, batch by batch: the bytes of its body, decoded."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._transport import Body
from plangrep_async.converter import InvalidElement
from plangrep_async.errors import InvalidResponse

T = TypeVar("T")
Batch: TypeAlias = Sequence[T | InvalidElement]


class Answer(Generic[T]):
    """The elements of one answer."""

    def __init__(self, body: Body, decoder: ArrayDecoder[T | InvalidElement]) -> None:
        self.what = body.what
        self._body = body
        self._decoder = decoder
        self._decoded: Iterator[Batch[T]] = iter(())
        self._is_fed = False  # there may be something to decode

    @property
    def bytes_read(self) -> int:
        """How much of the body was read, unpacked."""
        return self._body.bytes_read

    async def next_batch(self) -> Batch[T] | None:
        """Give the next elements, at least one; `None` at the end of a whole document.

        Others in the event loop get a turn before each batch is decoded.
        """
        while True:
            if self._is_fed:
                await asyncio.sleep(0)  # while bytes are here nothing else would give one
            try:
                for batch in self._decoded:
                    return batch
                if self._body.at_end:
                    self._decoder.close()
                    return None
            except InvalidResponse as error:
                error.message = f"{self.what}: {error.message}"
                raise
            # The bytes have no name here: a traceback may be shown with its variables.
            self._decoded = self._decoder.feed(await self._body.read())
            self._is_fed = not self._body.at_end

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._body.close()
