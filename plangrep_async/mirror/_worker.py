"""One thread for one database: the event loop goes on while a disk is slow.

Work is done in the order in which it was asked for. Who stops waiting for it, being cancelled, does
not stop it: what is running is interrupted when the block is left, and rolled back.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from plangrep_async.errors import printable

from ._errors import MirrorError
from ._store import Store

T = TypeVar("T")

_BETWEEN_INTERRUPTIONS = 0.02  # seconds


class Worker:
    """Opens a store in `async with`, does what is asked with it, and closes it."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # or SQLite would take :memory: for no file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="plangrep-mirror")
        self._store: Store | None = None

    async def do(self, work: Callable[[Store], T]) -> T:
        """Give what a function of the store returns. Raises `MirrorError`."""
        return await self._run(lambda: work(self._opened()))

    async def __aenter__(self) -> Self:
        try:
            await self._run(self._open)
        except BaseException:
            await self._end(interrupt=True)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end(interrupt=exc is not None)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            problem = str(error)
        # Not chained: the frames behind the error hold jobs.
        raise MirrorError(f"{printable(str(self._path))}: {problem}")

    async def _end(self, *, interrupt: bool) -> None:
        """Close the store behind all work, and wait for it even if this task is cancelled.

        Work is interrupted, and the closing is not: it brings all that was stored into one file.
        """
        cancelled: asyncio.CancelledError | None = None
        for last in (_nothing, self._close):
            ended = asyncio.get_running_loop().run_in_executor(self._thread, last)
            while not ended.done():
                if interrupt and last is _nothing and self._store is not None:
                    self._store.interrupt()
                try:
                    await asyncio.wait(
                        {ended}, timeout=_BETWEEN_INTERRUPTIONS if interrupt else None
                    )
                except asyncio.CancelledError as error:
                    cancelled, interrupt = error, True
        self._thread.shutdown()
        if cancelled is not None:
            raise cancelled

    def _open(self) -> None:
        self._store = Store(self._path)

    def _opened(self) -> Store:
        if self._store is None:
            raise RuntimeError("a worker works inside `async with` only")
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error):  # all is stored, and the next run will tell
                self._store.close()


def _nothing() -> None:
    """Do nothing: it is done when all work before it is."""
