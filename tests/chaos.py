"""Many streams through random faults, each of them checked: `python -m tests.chaos --streams 1000`.

All is drawn from `--seed`; `--only N` repeats one stream alone. What the server does between two
responses and what a proxy does to a connection is the same each time, but not the turns that
sockets and tasks take. The exit code is 1 if anything was found.

Each stream has a proxy of its own, for a proxy knows its toxics by the number of a connection,
and a client of its own, for all retries of one client are limited together, and hundreds of
streams that fail on purpose would use that up. They share the server, the event loop and one
process, whose sockets, tasks and descriptors are counted in the end.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from random import Random
from typing import Any

import aiohttp
import psutil

from plangrep_async import AsyncPlangrep, RetryPolicy, Timeouts
from tests.chaos_plan import draw_plan
from tests.chaos_report import Totals
from tests.chaos_server import Stream, answering
from tests.chaos_story import Attempt, Listed, Story
from tests.conftest import KEY
from tests.raw_server import RawServer
from tests.toxic_proxy import ToxicProxy

_TIMEOUTS = Timeouts(connect=1.0, read=0.5)  # a collection of garbage can take a third of it
_LONGEST_SECONDS = 30.0  # of a stream
CLOSING_SECONDS = 2.0  # that what was closed may take to be seen as such


class Watch:
    """Notes in a story when a request begins, and how much of its answer was read."""

    def __init__(self, story: Story, proxy: ToxicProxy) -> None:
        self._story = story
        self._proxy = proxy
        self._content: aiohttp.StreamReader | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """Make what the client's session shall call."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._begin)
        trace.on_request_end.append(self._answered)
        return trace

    def end(self) -> None:
        """Note what became of the last attempt; to be called when the stream has ended, too."""
        if not self._story.attempts:
            return
        attempt = self._story.attempts[-1]
        if self._content is not None:
            # All that aiohttp has taken from the socket for this body, the consumer's part or not.
            attempt.read_bytes = self._content.total_bytes
            self._content = None
        # A client that reads one stream uses its latest connection, or makes a new one.
        if self._proxy.links and "end" in (link := self._proxy.links[-1]).effects:
            attempt.broke = link.toxic.end

    async def _begin(self, *_: Any) -> None:
        self.end()
        self._story.attempts.append(Attempt())

    async def _answered(self, *args: Any) -> None:
        self._content = args[-1].response.content


async def run(seed: int, numbers: Iterable[int], *, at_once: int = 8) -> Totals:
    """Run these streams, so many at once, and give what came of them."""
    totals, streams, waiting = Totals(seed), dict[str, Stream](), iter(numbers)
    async with RawServer([]):
        pass  # libuv keeps something of the first server for itself
    started, before = time.monotonic(), _possessions()

    async def work() -> None:
        for number in waiting:
            stream = Stream(draw_plan(seed, number))
            streams[stream.story.project_id] = stream
            await _run_stream(stream, server.port, totals)
            del streams[stream.story.project_id]

    async with RawServer(answering(streams)) as server, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    gc.collect()
    await _until(lambda: _possessions() <= before)
    totals.left = _possessions() - before
    totals.seconds = time.monotonic() - started
    totals.finish()
    return totals


async def _run_stream(stream: Stream, port: int, totals: Totals) -> None:
    plan, story = stream.plan, stream.story
    policy = RetryPolicy(attempts=plan.patience, first_wait=0.001, max_wait=0.004)
    async with ToxicProxy(port, plan.toxics, require_triggered=False) as proxy:

        def is_open(at_most: int) -> bool:
            return sum(not relay.done() for relay in proxy._tasks) > at_most

        watch = Watch(story, proxy)
        async with AsyncPlangrep(
            KEY,
            base_url=proxy.base_url,
            retry=policy,
            timeout=_TIMEOUTS,
            trace_configs=[watch.trace()],
        ) as client:
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    await _consume(client, stream)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is to be judged
                story.error = error
            watch.end()
            if not await _until(lambda: not is_open(1)):
                totals.find(stream, ["open: a stream that has ended keeps its connections"])
        if not await _until(lambda: not is_open(0)):
            totals.find(stream, ["open: a closed client keeps its connections"])
        totals.add(stream, proxy)


async def _consume(client: AsyncPlangrep, stream: Stream) -> None:
    random, pause = Random(f"{stream.plan.name}/consumer"), stream.plan.pause
    async with aclosing(client.list_jobs(stream.story.project_id)) as jobs:
        async for job in jobs:
            got = Listed(job.id, job.created_at, job.status.value)
            stream.story.attempts[-1].got.append(got)
            if pause is not None and random.random() < 0.1:
                await asyncio.sleep(pause)


def _possessions() -> Counter[str]:
    process = psutil.Process()
    return Counter(
        sockets=len(process.net_connections()),
        tasks=len(asyncio.all_tasks()),
        descriptors=process.num_fds(),
    )


async def _until(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds; give whether it does."""
    end = time.monotonic() + CLOSING_SECONDS
    while not (holds := condition()) and time.monotonic() < end:  # noqa: ASYNC110  # no event
        await asyncio.sleep(0.001)
    return holds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the arguments say, print the report, and give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of the one stream to run")
    parser.add_argument("--at-once", type=int, default=8, help="how many streams at a time")
    given = parser.parse_args(arguments)
    numbers = range(given.streams) if given.only is None else [given.only]
    totals = asyncio.run(run(given.seed, numbers, at_once=given.at_once))
    print("\n".join(totals.lines()))
    return int(bool(totals.findings))


if __name__ == "__main__":
    sys.exit(main())
