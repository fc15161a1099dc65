"""What a client is connected by, what ends with it, and what becomes of one that nobody closes.

Streams keep this object, and not the client: connections are closed when neither is left.
"""

import warnings
from typing import Protocol, TypeVar
from weakref import WeakSet

from plangrep_async._credentials import Credentials
from plangrep_async._limiter import Limiter
from plangrep_async._retry import RetryPolicy
from plangrep_async._transport import Session, Timeouts, Transport

_OF_OTHER_PROCESSES: list[Session] = []  # of which a fork left a copy here


class Abortable(Protocol):
    """What ends when the client is closed."""

    def abort(self) -> None:
        """End it from outside, now; any number of times."""


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

    def track(self, stream: A) -> A:
        """Let the stream end with the client, if it is not gone by then."""
        self._streams.add(stream)
        return stream

    async def close(self) -> None:
        """End all streams and close the session; any number of times.

        In a process that was forked off, what belongs to the other process is left alone.
        """
        if not self.session.is_forked:
            for stream in list(self._streams):
                stream.abort()
        await self.session.close()

    def __del__(self) -> None:
        if self.session.is_forked:
            _OF_OTHER_PROCESSES.append(self.session)  # or aiohttp would close it
        elif self.session.needs_closing:
            self.session.abandon()  # first, for a warning may be an error
            warnings.warn(
                f"{self._name} was not closed: use `async with`, or await its aclose()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
