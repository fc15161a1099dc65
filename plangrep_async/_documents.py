"""What one request gives and what is held whole: a project, a job, its result, all projects.

It is read to its end before anything is made of it, and has no place to go on from: where an answer
breaks, all of it is asked for again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from cattrs import Converter

from plangrep_async._answer import Answer, let_others, named
from plangrep_async._checks import check_count
from plangrep_async._elements import Decode
from plangrep_async._endpoint import PROJECTS_PATH, job_path, project_path, result_path
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._jsonobject import ObjectDecoder
from plangrep_async._jsontext import NOT_JSON
from plangrep_async._lifetime import Lifetime
from plangrep_async._options import decoder
from plangrep_async._polling import Waits, may_pass, wait_timeout
from plangrep_async._transport import Body, Transport
from plangrep_async.converter import InvalidElement
from plangrep_async.errors import ClientClosed, InvalidJob, InvalidResponse, PlangrepError
from plangrep_async.models import Job, Project

T = TypeVar("T")
Take = Callable[[Body], Awaitable[T]]

_log = logging.getLogger("plangrep_async")
_MOST_BYTES = 64 << 20  # of the list of projects: some 200,000 of them


class Documents:
    """Asks for the documents of one client."""

    def __init__(self, lifetime: Lifetime, converter: Converter, *, max_job_bytes: int) -> None:
        self._lifetime = lifetime
        self._decode_job = decoder(converter, Job)
        self._decode_project = decoder(converter, Project)
        self._max_bytes = max_job_bytes
        self._limit = f"max_job_bytes, {max_job_bytes}"

    async def projects(self) -> list[Project]:
        """Give all projects."""
        take = partial(_take_projects, self._decode_project, self._max_bytes)
        return await self._fetch(PROJECTS_PATH, take)

    async def project(self, project_id: str) -> Project:
        """Give one project."""
        take = partial(self._take_one, "project", self._decode_project)
        return await self._fetch(project_path(project_id), take, project_id=project_id)

    async def job(self, job_id: str) -> Job:
        """Give one job."""
        take = partial(self._take_one, "job", self._decode_job)
        return await self._fetch(job_path(job_id), take, job_id=job_id)

    async def terminal_job(self, job_id: str, waits: Waits, *, patience: float | None) -> Job:
        """Ask for a job again and again until it is terminal, for so many seconds."""
        seen: Job | None = None
        failure: PlangrepError | None = None
        try:
            async with asyncio.timeout(patience) as deadline:
                while True:
                    try:
                        seen, failure = await self.job(job_id), None
                        if seen.status.is_terminal:
                            return seen
                    except PlangrepError as error:
                        if not may_pass(error):
                            raise
                        failure = error.with_traceback(None)
                    wait = waits(failure)
                    if failure is not None:
                        _log.info("waiting for a job goes on in %.2f s: %s", wait, failure)
                    await self._lifetime.run(asyncio.sleep(wait), doing="it waited for a job")
        except TimeoutError:
            if not deadline.expired():
                raise  # it is the caller's own: of the function that gives the key, say
        except ClientClosed as error:
            error.job_id = job_id
            raise
        raise wait_timeout(job_id, seen, patience) from failure

    async def result(self, job_id: str, *, max_bytes: int) -> dict[str, Any]:
        """Give the result of a job."""
        check_count("max_result_bytes", max_bytes, least=1 << 10)
        take = partial(_take_result, max_bytes)
        return await self._fetch(result_path(job_id), take, job_id=job_id)

    async def _fetch(
        self, path: str, take: Take[T], *, project_id: str | None = None, job_id: str | None = None
    ) -> T:
        """Send a request, as often as the policy says, and take what is wanted of its answer."""
        transport = self._lifetime.transport
        work = transport.retry.run(_attempt, transport, path, take)
        try:
            return await self._lifetime.run(work, doing="it waited for an answer")
        except PlangrepError as error:
            error.project_id, error.job_id = project_id, job_id
            raise

    async def _take_one(self, key: str, decode: Decode[T], body: Body) -> T:
        text = ObjectDecoder(max_bytes=self._max_bytes, limit=self._limit)
        with named(body):
            await _read(body, text)
            element = _only_element(key, decode, text)
        if not isinstance(element, InvalidElement):
            return element
        fault = f"{body.what}: it is no {key}, {element.reason}"
        if key == "job":
            raise InvalidJob(fault, index=0, path=element.path)
        raise InvalidResponse(fault)


async def _attempt(transport: Transport, path: str, take: Take[T]) -> T:
    body = await transport.open(path)
    try:
        return await take(body)
    finally:
        body.close()


async def _read(body: Body, decoder: ObjectDecoder) -> None:
    while not body.at_end:
        decoder.feed(await body.read())
        await let_others()


def _only_element(key: str, decode: Decode[T], text: ObjectDecoder) -> T | InvalidElement:
    """Decode a member of the root as the only element of a list: by the same rules."""
    # The bytes have no name here: a traceback may be shown with its variables.
    try:
        (element,) = (e for batch in decode(b"[%b]" % text.member(key)) for e in batch)
    except NOT_JSON:
        pass
    else:
        return element
    raise InvalidResponse("the answer is nested too deeply")


async def _take_result(max_bytes: int, body: Body) -> dict[str, Any]:
    limit = f"max_result_bytes, {max_bytes}: allow more, or save it from the job's result_url"
    text = ObjectDecoder(max_bytes=max_bytes, limit=limit)
    with named(body):
        await _read(body, text)
        for _ in text.decode():
            await let_others()
    if "error" in text.document and "schemaVersion" not in text.document:
        raise InvalidResponse(f'{body.what}: the answer is no result but "error"')
    return text.document


async def _take_projects(
    decode: Decode[Project], max_element_bytes: int, body: Body
) -> list[Project]:
    answer = Answer(body, ArrayDecoder("projects", decode, max_element_bytes=max_element_bytes))
    projects: list[Project] = []
    while (batch := await answer.next_batch()) is not None:
        for element in batch:
            if isinstance(element, InvalidElement):
                place = f"element {len(projects)} is no project"
                raise InvalidResponse(f"{body.what}: {place}, {element.reason}")
            projects.append(element)
        if body.bytes_read > _MOST_BYTES:
            raise InvalidResponse(f"{body.what}: the list of projects is too large")
    return projects
