"""One step a turn of the event loop, whoever takes it.

Each stream gives way after a batch, but a hundred of them that have bytes at the same time would
still hold the loop for a hundred batches, and all of those would lie in memory at once. So the
streams of a client take turns: others wait for one batch at most, and it is consumed while the
processor's cache still holds it.
"""

import asyncio
from collections import deque


class Turns:
    """Lets one of those who ask go on in each turn of the loop, in the order of their asking."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False  # the next turn

    async def next(self) -> None:
        """Wait for a turn of one's own: at least for the next one."""
        if not self._is_taken:
            self._is_taken = True
            asyncio.get_running_loop().call_soon(self._pass_on)
            await asyncio.sleep(0)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _pass_on(self) -> None:
        self._is_taken = False
        while self._waiting and not self._is_taken:
            turn = self._waiting.popleft()
            if not turn.done():  # or it was cancelled
                self._is_taken = True
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._pass_on)
