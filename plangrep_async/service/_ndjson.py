"""Jobs as lines of JSON, in pieces, no faster than they are sent on.

A task reads ahead by one piece, and a piece is given as soon as the source of the jobs has no more
of them at this moment: whoever sends pieces on makes few calls for a fast source, and holds back
nothing of one that pauses.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Self

import attrs
import msgspec
from cattrs import Converter

from plangrep_async._interrupt import all_done
from plangrep_async.converter import make_converter
from plangrep_async.errors import ClientClosed, ConfigurationError
from plangrep_async.models import Job
from plangrep_async.service._answers import http_answer

_PIECE_BYTES = 32 << 10  # about 40 jobs, which take a millisecond
_CONVERTER = make_converter()

# What JSON allows inside a string, and some readers of lines take for the end of one.
_LINE_ENDS = {text.encode(): f"\\u{ord(text):04x}".encode() for text in "\x85\u2028\u2029"}


def public_json(
    job: Job, *, with_result_url: bool = False, converter: Converter = _CONVERTER
) -> dict[str, Any]:
    """Give a job as the JSON object that the API has, without `resultUrl` unless it is asked for.

    A `resultUrl` is a secret: whoever has it can fetch the result without a key.
    """
    if not with_result_url:
        job = attrs.evolve(job, result_url=None)  # a hook of the caller's may name it otherwise
    facts: dict[str, Any] = converter.unstructure(job)
    if not with_result_url:
        facts.pop("resultUrl", None)
    return facts


class NdjsonStream(AsyncIterator[bytes]):
    """Bytes of NDJSON, a job a line: `async with … as lines`, then `async for data in lines`.

    - `jobs`: from `list_jobs`, `list_jobs_many`, or an asynchronous generator that filters them.
      It is read inside the block alone, by a task, and closed when the block is left.
    - `with_result_url`, `converter`: as for `public_json`.

    Entering the block waits for the first job. What fails before it is raised there, when an answer
    with a status of its own can still be sent. What fails later is raised by the iteration, after
    every job that came before it and after a last line that says so to the reader:
    `{"failure":{"code":…,"message":…}}`, with code and message of an `HttpAnswer`. Let the
    connection break off then, as servers do when an application raises: whoever looks at the lines
    knows from the last one, and whoever does not from the missing end of the answer.

    A piece ends with a line, and is hardly larger than 32 KiB, unless one job is.
    """

    def __init__(
        self,
        jobs: AsyncIterable[Job],
        *,
        with_result_url: bool = False,
        converter: Converter = _CONVERTER,
    ) -> None:
        self._jobs = jobs
        self._with_result_url = with_result_url
        self._converter = converter
        self._reading: asyncio.Task[None] | None = None  # until the block is entered
        self._lines: list[bytes] = []
        self._size = 0  # of them, in bytes
        self._has_news = asyncio.Event()
        self._was_taken = asyncio.Event()
        self._is_told = False  # the failure, in a line
        self._is_left = False

    async def __aenter__(self) -> Self:
        if self._reading is not None:
            raise ConfigurationError("this stream was entered before: make a new one")
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._has_news.set())
        is_begun = False
        try:
            await self._has_news.wait()
            if not self._lines and self._reading.done():
                self._reading.result()
            is_begun = True
        finally:
            if not is_begun:
                await self._leave(self._reading)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            await self._leave(self._reading)

    async def __anext__(self) -> bytes:
        if self._reading is None:
            raise ConfigurationError("use `async with NdjsonStream(...) as lines:`")
        if self._is_left:
            raise ClientClosed("this stream was left: make a new one")
        while not self._lines and not self._reading.done():
            self._has_news.clear()
            await self._has_news.wait()
        if self._lines:
            data, self._lines, self._size = b"".join(self._lines), [], 0
            self._was_taken.set()
            return data
        if not self._reading.cancelled() and not self._is_told:
            self._is_told = True
            if failure := self._reading.exception():
                return _line({"failure": http_answer(failure).facts})
        self._reading.result()  # raises it
        raise StopAsyncIteration

    async def _read(self) -> None:
        jobs = aiter(self._jobs)
        try:
            async for job in jobs:
                facts = public_json(
                    job, with_result_url=self._with_result_url, converter=self._converter
                )
                self._lines.append(_line(facts))
                self._size += len(self._lines[-1])
                self._has_news.set()  # and who waits comes when nothing more is here
                if self._size >= _PIECE_BYTES:
                    self._was_taken.clear()
                    await self._was_taken.wait()
        finally:
            if (close := getattr(jobs, "aclose", None)) is not None:
                await close()

    async def _leave(self, reading: "asyncio.Task[None]") -> None:
        self._is_left = True
        reading.cancel()  # of a failure before that nobody needs to hear
        await all_done([reading])


def _line(facts: dict[str, Any]) -> bytes:
    line = msgspec.json.encode(facts) + b"\n"
    for end, escape in _LINE_ENDS.items():
        line = line.replace(end, escape)
    return line
