"""The visitors of a web service: each asks, reads the answer, waits a moment and asks again.

`python -m benchmarks._visitors` reads what they want as JSON from its standard input, and prints
what they found: of each answer when it was asked for, in seconds of `time.perf_counter()`, and how
long it took; of each large list when it began, when it ended, and how many lines it had.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import aiohttp
import attrs


@attrs.frozen(kw_only=True)
class Wishes:
    """What the visitors want."""

    port: int
    visitors: int
    seconds: float
    pause: float
    """Seconds between an answer and the next question, on average."""
    project_ids: list[str]
    """The last one has the large list."""
    streams: int
    """How often the large list is read, by one of the visitors."""


class Visitors:
    """All of them, and what they found."""

    def __init__(self, wishes: Wishes, session: aiohttp.ClientSession) -> None:
        self._wishes = wishes
        self._session = session
        self._begin = time.perf_counter()
        self.answers: list[tuple[float, float]] = []
        self.streams: list[tuple[float, float, int]] = []

    async def ask(self, number: int) -> None:
        """Ask for the newest jobs of one project after another."""
        chance = random.Random(number)
        *projects, _ = self._wishes.project_ids
        await asyncio.sleep(chance.uniform(0, self._wishes.pause))
        while (asked := time.perf_counter()) < self._begin + self._wishes.seconds:
            path = f"/projects/{chance.choice(projects)}/jobs"
            async with self._session.get(path) as answer:
                answer.raise_for_status()
                await answer.read()
            self.answers.append((asked, time.perf_counter() - asked))
            await asyncio.sleep(chance.uniform(0, 2 * self._wishes.pause))

    async def read_large_list(self) -> None:
        """Read it a few times, evenly spread, as fast as it comes."""
        for number in range(self._wishes.streams):
            due = self._begin + (number + 0.5) * self._wishes.seconds / self._wishes.streams
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began, lines = time.perf_counter(), 0
            path = f"/projects/{self._wishes.project_ids[-1]}/jobs.ndjson"
            async with self._session.get(path) as answer:
                answer.raise_for_status()
                async for data in answer.content.iter_any():
                    lines += data.count(b"\n")
            self.streams.append((began, time.perf_counter(), lines))


async def visit(wishes: Wishes) -> dict[str, Any]:
    """Let all visitors come; return what they found."""
    async with (
        aiohttp.ClientSession(
            f"http://127.0.0.1:{wishes.port}",
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        visitors = Visitors(wishes, session)
        group.create_task(visitors.read_large_list())
        for number in range(1, wishes.visitors):
            group.create_task(visitors.ask(number))
    return {"answers": visitors.answers, "streams": visitors.streams}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(visit(Wishes(**json.load(sys.stdin))))))
