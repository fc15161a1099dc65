"""The emulator itself: its options, its life, and the way of a request through its parts."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any, Self

from aiohttp import web

from ._admission import Admission, Rules
from ._api import Answer, Api, project_named_by
from ._data import LONGEST_HISTORY, Organisation
from ._demand import demand
from ._faults import HEALTHY, Fault, take
from ._limits import UNLIMITED, Limits, retry_after
from ._record import RequestRecord
from ._sending import send
from ._thread import ServerThread

_HOST = "127.0.0.1"
_SEND_BUFFER_BYTES = 64 * 1024  # left alone, the kernel grows it to megabytes


class _Runner(web.ServerRunner):
    async def shutdown(self) -> None:
        """Drop every connection: a client that has stopped reading would hold up the end."""
        connections = self.server.connections if self.server else []
        for transport in filter(None, [connection.transport for connection in connections]):
            transport.abort()


class Emulator:
    """The Plangrep API on 127.0.0.1, with made-up projects and jobs; see the module's example.

    It serves inside `async with`, on the event loop of that, or inside `with`, from a thread of its
    own: to tests without a loop, to any loop, to other processes. Both may be entered again after
    they were left. Its data can be read at any time: they depend on the options and on what the
    methods below have changed, never on the clock.

    `projects` and `jobs_per_project` are counts. Equal `seed`s give equal bytes. `pretty` writes
    JSON as the documentation's examples are, otherwise it is compact. A body is made and sent in
    pieces of `chunk_bytes`, with a turn for the event loop after each; big ones hold it for longer.
    `port` 0 takes a free one. `limits` are those of the whole organisation: of all requests with
    its key, whatever they ask for. Raises `ValueError` for a number out of range.
    """

    def __init__(
        self,
        *,
        projects: int = 1,
        jobs_per_project: int = 100,
        seed: int = 0,
        pretty: bool = False,
        chunk_bytes: int = 16 * 1024,
        port: int = 0,
        limits: Limits = Limits(),
    ) -> None:
        demand("projects", projects, at_least=0)
        demand("jobs_per_project", jobs_per_project, at_least=0, at_most=LONGEST_HISTORY)
        demand("chunk_bytes", chunk_bytes, at_least=1)
        demand("port", port, at_least=0, at_most=65535)
        self._requests: list[RequestRecord] = []
        self.most_in_flight: int = 0
        """The most requests at one time that had come and were not answered to their end, refused
        ones included; may be set to 0, and counts from the next request on then."""
        self.project_limits: dict[str, Limits] = {}
        """By project id, what holds for requests that name the project in their path, besides the
        limits of the organisation (latencies add up). Its bucket is full for each new `Limits`."""
        self.faults: dict[str, list[Fault]] = {}
        """By project id, what goes wrong with the next requests for its jobs, in this order.

        They are taken out of the list as they are used up. A request that is refused, or that would
        not have got the jobs anyway, uses none.
        """
        self._organisation = Organisation(
            projects=projects, jobs_per_project=jobs_per_project, seed=seed
        )
        self._api = Api(self._organisation, pretty=pretty)
        self._limits = limits
        self._admission = Admission()
        self._in_flight = 0
        self._chunk_bytes = chunk_bytes
        self._port = port
        self._request_numbers = itertools.count(1)
        self._base_url: str | None = None
        self._exit_stack = contextlib.AsyncExitStack()
        self._thread: ServerThread | None = None

    def __repr__(self) -> str:
        return f"<Emulator of {len(self.project_ids)} projects, {self._base_url or 'not serving'}>"

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end; raises `RuntimeError` if not serving."""
        if self._base_url is None:
            raise RuntimeError("The emulator has an address only inside `with` or `async with`")
        return self._base_url

    @property
    def api_key(self) -> str:
        """The only key that is let in."""
        return self._organisation.api_key

    @property
    def limits(self) -> Limits:
        """What the whole organisation may ask for; others may be set at any time.

        Their bucket is full then, while requests that are being answered keep their places.
        """
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits
        self._admission.refill(None)

    @property
    def requests(self) -> list[RequestRecord]:
        """One record per request, in the order of arrival; may be cleared.

        What a client has read to its end is `complete` here, in whichever thread it was.
        """
        if self._thread is not None:
            self._thread.settle()
        return self._requests

    @property
    def project_ids(self) -> tuple[str, ...]:
        """The ids of all projects, in the order of the endpoint that lists them."""
        return self._organisation.project_ids

    def project(self, project_id: str) -> dict[str, Any]:
        """Return a project as the API sends it; raises `UnknownId`, a `KeyError`."""
        return self._organisation.project(project_id)

    def jobs(self, project_id: str) -> Iterator[dict[str, Any]]:
        """Return a project's jobs as the API sends them, newest first; raises `UnknownId`."""
        return self._organisation.jobs(project_id)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API sends it; raises `UnknownId`."""
        return self._organisation.job(job_id)

    def advance(self, job_id: str, status: str | None = None) -> dict[str, Any]:
        """Move a job on to this status, or to the next one on the way to `completed`; return it.

        Its pages, credits, times, result and error follow. Nothing moves by itself. Raises
        `UnknownId` where there is no such job, and `ValueError` for a status that is not
        documented, or a job that is terminal.
        """
        return self._organisation.advance(job_id, status)

    def add_job(self, project_id: str, *, later: float = 600.0) -> dict[str, Any]:
        """Begin a job so many seconds after the project's newest one, and return it.

        It is `provisioning`, until `advance` moves it on. With 0 seconds the two share one time.
        Raises `UnknownId` where there is no such project, and `ValueError` for a time that runs
        backwards.
        """
        demand("later", later, at_least=0, at_most=1_000_000)
        return self._organisation.add_job(project_id, round(later * 1000))

    def remove_job(self, job_id: str) -> None:
        """Let a job be listed no more, nor found by its id; raises `UnknownId`."""
        self._organisation.remove_job(job_id)

    def job_list_body(self, project_id: str) -> bytes:
        """Return the whole body of a project's job list; raises `UnknownId`."""
        return b"".join(self._api.job_list(project_id))

    def __enter__(self) -> Self:
        self._thread = ServerThread(self)
        return self

    def __exit__(self, *_: object) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()

    async def __aenter__(self) -> Self:
        if self._base_url is not None:
            raise RuntimeError("The emulator is serving already")
        async with contextlib.AsyncExitStack() as stack:
            listener = stack.enter_context(socket.create_server((_HOST, self._port)))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            # Who leaves while nothing is sent to them is noticed by the cancellation alone.
            server = web.Server(self._handle, handler_cancellation=True, access_log=None)
            runner = _Runner(server, shutdown_timeout=0.25)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, listener, backlog=1024).start()
            self._base_url = f"http://{_HOST}:{listener.getsockname()[1]}/api/open/v1"
            self._exit_stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._base_url = None
        await self._exit_stack.aclose()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = time.monotonic()
        parts = request.rel_url.parts
        project_id = project_named_by(parts)
        rules = self._rules(project_id)
        refusal = self._turn_away(request, rules, arrived)
        answer = refusal or self._api.answer(request.method, parts)
        fault = HEALTHY
        if answer.jobs_of is not None:
            fault = take(self.faults.get(answer.jobs_of, []))
            if fault.status is not None:
                answer = self._api.error(fault.status, "This answer was asked for by a test.")
        request_id = f"req_{next(self._request_numbers):08}"
        record = RequestRecord(
            request.method,
            request.raw_path,
            request_id,
            answer.status,
            arrived=arrived,
            project_id=project_id,
        )
        self._requests.append(record)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            if latency := sum(limits.latency for limits in rules.values()):
                await asyncio.sleep(latency)
            return await send(request, answer, fault, record, chunk_bytes=self._chunk_bytes)
        finally:
            record.ended = True
            self._in_flight -= 1
            if refusal is None:
                self._admission.leave(rules)

    def _rules(self, project_id: str | None) -> Rules:
        if project_id is None:
            return {None: self._limits}
        return {None: self._limits, project_id: self.project_limits.get(project_id, UNLIMITED)}

    def _turn_away(self, request: web.BaseRequest, rules: Rules, now: float) -> Answer | None:
        """Return the answer for who does not come in, or count the request in."""
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self._api.error(
                401,
                "Send a valid API key as 'Authorization: Bearer YOUR_API_KEY'.",
                {"WWW-Authenticate": "Bearer"},
            )
        refusal = self._admission.enter(rules, now)
        if refusal is None:
            return None
        if refusal.status == 503:
            return self._api.error(503, "Too many requests are being answered at this moment.")
        value = retry_after(refusal.retry_after, refusal.wait, time.time())
        headers = {} if value is None else {"Retry-After": value}
        return self._api.error(429, "There were too many requests. Try again later.", headers)
