"""A server in a thread of its own, for users who have no event loop, or another one."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any

_TURNS = 3  # of the loop: enough for a task to go on that has just sent its last bytes


class ServerThread:
    """Enters a server's `async with` on an event loop in a new thread, and leaves it with `close`.

    Raises what the server raises at its start.
    """

    def __init__(self, server: AbstractAsyncContextManager[Any]) -> None:
        self._server = server
        self._serving = Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()
        self._thread = threading.Thread(target=self._run, name="plangrep-emulator", daemon=True)
        self._thread.start()
        self._loop, self._end = self._serving.result()

    def settle(self) -> None:
        """Wait until the server has noted down what its clients may have seen already."""
        if threading.current_thread() is not self._thread:
            asyncio.run_coroutine_threadsafe(_turns(), self._loop).result()

    def close(self) -> None:
        """End the server, its loop and its thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._serving.done():
                raise
            self._serving.set_exception(error)

    async def _serve(self) -> None:
        end = asyncio.Event()
        async with self._server:
            self._serving.set_result((asyncio.get_running_loop(), end))
            await end.wait()


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
