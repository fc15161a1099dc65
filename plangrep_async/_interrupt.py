"""Waiting that can be ended from outside, and waiting for the ends of others."""

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, TypeVar

T = TypeVar("T")


class Interruptible:
    """Waits for the network, for one task at a time, until it is aborted.

    To close a connection is not enough: aiohttp leaves the reader of a closed one waiting for ever.
    """

    def __init__(self) -> None:
        self.is_aborted = False
        self._waiting: asyncio.Timeout | None = None

    async def wait_for(self, work: Awaitable[T]) -> T:
        """Give the result; raises `TimeoutError` where the abortion comes first."""
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await work
        finally:
            self._waiting = None

    def abort(self) -> None:
        """End the waiting, for good; any number of times."""
        if self._waiting is not None and not self.is_aborted:
            self._waiting.reschedule(asyncio.get_running_loop().time())
        self.is_aborted = True


async def all_done(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for the ends of cancelled tasks, even if the waiting task is cancelled, too."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
