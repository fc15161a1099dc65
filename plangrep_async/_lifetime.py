"""What a client is connected by, what ends with it, and what becomes of one that nobody closes.

Streams keep this object, and not the client: connections are closed when neither is left.
"""

import asyncio
import warnings
from collections.abc import Awaitable, Coroutine
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from plangrep_async._credentials import Credentials
from plangrep_async._interrupt import Interruptible, all_done
from plangrep_async._limiter import Limiter
from plangrep_async._retry import RetryPolicy
from plangrep_async._transport import Session, Timeouts, Transport
from plangrep_async.errors import ClientClosed, PlangrepError

_OF_OTHER_PROCESSES: list[Session] = []  # of which a fork left a copy here


class Abortable(Protocol):
    """What ends when the client is closed."""

    def abort(self) -> None:
        """End it from outside, now; any number of times."""


T = TypeVar("T")
A = TypeVar("A", bound=Abortable)


class Lifetime:
    """The session, limiter and transport of one client, until it is closed or forgotten."""

    def __init__(
        self,
        name: str,
        session: Session,
        credentials: Credentials,
        *,
        base_url: str,
        timeouts: Timeouts,
        retry: RetryPolicy,
        max_concurrency: int,
        user_agent: str,
    ) -> None:
        self.session = session
        self.max_concurrency = max_concurrency
        self.limiter = Limiter(max_concurrency, longest_pause=retry.budget)
        self.transport = Transport(
            base_url,
            credentials,
            session,
            self.limiter,
            timeouts=timeouts,
            retry=retry,
            user_agent=user_agent,
        )
        self._name = name
        self._streams: WeakSet[Abortable] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()

    def track(self, stream: A) -> A:
        """Let the stream end with the client, if it is not gone by then."""
        self._streams.add(stream)
        return stream

    async def run(self, work: Awaitable[T], *, doing: str) -> T:
        """Await something that closing the client ends, with `ClientClosed`."""
        network = self.track(Interruptible())
        try:
            result = await network.wait_for(work)
        except (TimeoutError, PlangrepError):  # as time-out the caller's own: of the key, say
            if not network.is_aborted:
                raise
        else:
            if not network.is_aborted:
                return result
        raise ClientClosed(f"the client was closed while {doing}")

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin a task that has ended when the client is closed; whoever began it cancels it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End all streams and tasks, and close the session; any number of times.

        In a process that was forked off, what belongs to the other process is left alone.
        """
        is_ours = not self.session.is_forked
        if is_ours:
            for stream in list(self._streams):
                stream.abort()
        await self.session.close()
        if is_ours:
            loop, this = asyncio.get_running_loop(), asyncio.current_task()
            await all_done([t for t in self._tasks if t is not this and t.get_loop() is loop])

    def abandon(self) -> bool:
        """Close the connections where nothing can be awaited; whether there was a need to."""
        is_needed = self.session.needs_closing
        if is_needed:
            self.session.abandon()
        return is_needed

    def __del__(self) -> None:
        if self.session.is_forked:
            _OF_OTHER_PROCESSES.append(self.session)  # or aiohttp would close it
        elif self.abandon():  # first, for a warning may be an error
            warnings.warn(
                f"{self._name} was not closed: use `async with`, or await its aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
