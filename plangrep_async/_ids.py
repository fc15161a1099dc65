"""The ids of many projects: read one by one when somebody is free, each given once."""

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Final

from plangrep_async.errors import ConfigurationError

_END: Final = object()


class ProjectIds:
    """Takes ids from an iterable, or an asynchronous one, for several tasks.

    Whatever the iterable raises comes from `next()`.
    """

    def __init__(self, source: Iterable[str] | AsyncIterable[str]) -> None:
        if isinstance(source, str | bytes) or not isinstance(source, Iterable | AsyncIterable):
            raise ConfigurationError(
                "project_ids must be an iterable of ids, such as a list: "
                f"not a {type(source).__name__}"
            )
        self._length = len(source) if isinstance(source, Sized) else None
        self._source: Iterator[str] | AsyncIterator[str] = (
            aiter(source) if isinstance(source, AsyncIterable) else iter(source)
        )
        self._seen: set[str] = set()
        self._reading = asyncio.Lock()
        self._is_at_end = False
        self._is_stopped = False

    @property
    def most(self) -> int:
        """How many there can be, as far as that is known."""
        return sys.maxsize if self._length is None else self._length

    @property
    def total(self) -> int | None:
        """How many there are, without repetitions once all were read; None if that is not known."""
        return len(self._seen) if self._is_at_end else self._length

    async def next(self) -> str | None:
        """Give the next id that was not given before; None at the end."""
        async with self._reading:
            while not (self._is_at_end or self._is_stopped):
                project_id = await self._read()
                if project_id is _END:
                    self._is_at_end = True
                elif not isinstance(project_id, str):
                    kind = type(project_id).__name__
                    raise ConfigurationError(f"a project id must be a text, not a {kind}")
                elif project_id not in self._seen:
                    self._seen.add(project_id)
                    return project_id
        return None

    def stop(self) -> None:
        """Read no more of them."""
        self._is_stopped = True

    async def _read(self) -> object:
        if isinstance(self._source, AsyncIterator):
            return await anext(self._source, _END)
        return next(self._source, _END)
