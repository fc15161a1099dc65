"""One answer as a list of elements, batch by batch: the bytes of its body, decoded."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from plangrep_async._batch import Batch
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._transport import READ_BYTES, Body
from plangrep_async.converter import InvalidElement
from plangrep_async.errors import InvalidResponse

T = TypeVar("T")
Turn = Callable[[], Awaitable[None]]


async def let_others() -> None:
    """Give all others in the event loop a turn: while bytes are here nothing else would."""
    await asyncio.sleep(0)


@contextmanager
def named(body: Body) -> Iterator[None]:
    """Say in an `InvalidResponse` of a decoder, which knows bytes only, what they answer."""
    try:
        yield
    except InvalidResponse as error:
        if not error.message.startswith(body.what):  # as it does where the body itself is broken
            error.message = f"{body.what}: {error.message}"
        raise


class Answer(Generic[T]):
    """The elements of one answer. Before anything is made of a piece, a `turn` is waited for."""

    def __init__(
        self,
        body: Body,
        decoder: ArrayDecoder[Batch[T | InvalidElement]],
        turn: Turn = let_others,
        *,
        piece_bytes: int = READ_BYTES,
    ) -> None:
        self.what = body.what
        self._body = body
        self._decoder = decoder
        self._decoded: Iterator[Batch[T | InvalidElement]] = iter(())
        self._turn = turn
        self._piece_bytes = piece_bytes
        self._owes_turn = False  # to others, before anything is made

    @property
    def bytes_read(self) -> int:
        """How much of the body was read, unpacked."""
        return self._body.bytes_read

    async def next_batch(self) -> Batch[T | InvalidElement] | None:
        """Give the next elements, at least one; `None` at the end of a whole document."""
        while True:
            if self._owes_turn:
                self._owes_turn = False
                await self._turn()
            with named(self._body):
                for batch in self._decoded:
                    # What else a piece holds takes no time until it is made.
                    self._owes_turn = not batch.is_lazy
                    return batch
                if self._body.at_end:
                    self._decoder.close()
                    return None
            # The bytes have no name here: a traceback may be shown with its variables.
            self._decoded = self._decoder.feed(await self._body.read(self._piece_bytes))
            self._owes_turn = not self._body.at_end

    def close(self) -> None:
        """Close the connection, unless the body was read to its end."""
        self._body.close()
