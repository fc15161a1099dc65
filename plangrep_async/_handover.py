"""Between the workers that read lists and those who consume their jobs: who may decode, and when.

A worker that has read a piece waits here for its turn, which comes when a consumer wants more. So
jobs are made right before they are used, and of all that was read no more is decoded than that. A
worker whose project has ended waits until a consumer has taken the outcome.
"""

import asyncio
from collections import deque
from typing import Any

import attrs

from plangrep_async._batch import Batch
from plangrep_async._progress import ProjectOutcome
from plangrep_async.models import Job


@attrs.frozen(eq=False)
class _Waiting:
    """A worker, with what it waits for."""

    worker: asyncio.Task[Any] | None
    turn: asyncio.Future[None]
    outcome: ProjectOutcome | BaseException | None


class Handover:
    """In order of arrival; what was decoded goes before what was not."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._batches: deque[Batch[Job]] = deque()
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._batches or self._waiting)

    @property
    def workers(self) -> set[asyncio.Task[Any] | None]:
        """Those who wait."""
        return {waiting.worker for waiting in self._waiting}

    # What workers call.

    async def turn(self) -> None:
        """Wait until it is the calling task's turn to decode."""
        await self._wait(None)

    def put(self, batch: Batch[Job]) -> None:
        """Hand over what was decoded."""
        self._batches.append(batch)
        self._changed.set()

    async def tell(self, outcome: ProjectOutcome | BaseException) -> None:
        """Wait until a consumer has taken the outcome of a project, or an error that ends all."""
        await self._wait(outcome)

    async def _wait(self, outcome: ProjectOutcome | BaseException | None) -> None:
        turn = asyncio.get_running_loop().create_future()
        waiting = _Waiting(asyncio.current_task(), turn, outcome)
        self._waiting.append(waiting)
        self._changed.set()
        try:
            await turn
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    # What consumers call.

    async def take(self) -> Batch[Job] | ProjectOutcome | BaseException | None:
        """Take what is first, where there is anything; `None` if it takes more to know it."""
        if self._batches:
            return self._batches.popleft()
        first = self._waiting[0]
        if first.outcome is not None:
            self._waiting.popleft()
        if not first.turn.done():  # its worker may have been cancelled
            first.turn.set_result(None)
        if first.outcome is None:
            # Its worker leaves the queue, and hands over if it found jobs: nobody comes before it.
            await asyncio.sleep(0)
        return first.outcome

    async def change(self) -> None:
        """Wait for anything new."""
        self._changed.clear()
        await self._changed.wait()

    def notify(self) -> None:
        """Wake all consumers: there is something else to know."""
        self._changed.set()

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._batches.clear()
        self._changed.set()
