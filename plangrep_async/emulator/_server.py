"""The HTTP side: who may ask, what is answered, how it is sent, and what was seen."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ._data import LONGEST_HISTORY, Organisation, UnknownId
from ._json import cut, encode, encode_list

_HOST = "127.0.0.1"
_SEND_BUFFER_BYTES = 64 * 1024  # left alone, the kernel grows it to megabytes


@dataclass(slots=True)
class RequestRecord:
    """One request as the server saw it; it goes on changing while the answer is being sent."""

    method: str
    path: str
    """As it came, query included."""
    request_id: str
    """What the answer has as `X-Request-Id`."""
    status: int
    body_bytes_sent: int = 0
    """Bytes of the answer's body that were given away, framing not counted.

    The buffers on the way take in more than the client has read: on loopback less than 1 MiB,
    unless the client makes its own larger.
    """
    complete: bool = False
    """Whether the answer was given away to its end; false when the client left before that."""
    ended: bool = False
    """Whether nothing here changes any more."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes | Iterable[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


class _Runner(web.ServerRunner):
    async def shutdown(self) -> None:
        """Drop every connection: a client that has stopped reading would hold up the end."""
        connections = self.server.connections if self.server else []
        for transport in filter(None, [connection.transport for connection in connections]):
            transport.abort()


class Emulator:
    """The Plangrep API on 127.0.0.1, with made-up projects and jobs; see the module's example.

    It serves inside `async with`, which may be entered again after it was left. Its data can be
    read at any time: they depend on the options alone, never on the clock.

    `projects` and `jobs_per_project` are counts. Equal `seed`s give equal bytes. `pretty` writes
    JSON as the documentation's examples are, otherwise it is compact. A body is made and sent in
    pieces of `chunk_bytes`, with a turn for the event loop after each; big ones hold it for longer.
    `port` 0 takes a free one. Raises `ValueError` for a number out of range.
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
    ) -> None:
        _demand("projects", projects, at_least=0)
        _demand("jobs_per_project", jobs_per_project, at_least=0, at_most=LONGEST_HISTORY)
        _demand("chunk_bytes", chunk_bytes, at_least=1)
        _demand("port", port, at_least=0, at_most=65535)
        self.requests: list[RequestRecord] = []
        """One record per request, in the order of arrival; may be cleared."""
        self._organisation = Organisation(
            projects=projects, jobs_per_project=jobs_per_project, seed=seed
        )
        self._pretty = pretty
        self._chunk_bytes = chunk_bytes
        self._port = port
        self._request_numbers = itertools.count(1)
        self._base_url: str | None = None
        self._exit_stack = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Emulator of {len(self.project_ids)} projects, {self._base_url or 'not serving'}>"

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end; raises `RuntimeError` if not serving."""
        if self._base_url is None:
            raise RuntimeError("The emulator has an address only inside `async with`")
        return self._base_url

    @property
    def api_key(self) -> str:
        """The only key that is let in."""
        return self._organisation.api_key

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

    def job_list_body(self, project_id: str) -> bytes:
        """Return the whole body of a project's job list; raises `UnknownId`."""
        return b"".join(self._job_list(project_id))

    async def __aenter__(self) -> Self:
        if self._base_url is not None:
            raise RuntimeError("The emulator is serving already")
        async with contextlib.AsyncExitStack() as stack:
            listener = stack.enter_context(socket.create_server((_HOST, self._port)))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            runner = _Runner(web.Server(self._handle, access_log=None), shutdown_timeout=0.25)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, listener, backlog=1024).start()
            self._base_url = f"http://{_HOST}:{listener.getsockname()[1]}/api/open/v1"
            self._exit_stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._base_url = None
        await self._exit_stack.aclose()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = f"req_{next(self._request_numbers):08}"
        answer = self._answer(request)
        record = RequestRecord(request.method, request.raw_path, request_id, answer.status)
        self.requests.append(record)
        response = web.StreamResponse(
            status=answer.status,
            headers={
                "Content-Type": "application/json",
                "X-Request-Id": request_id,
                **answer.headers,
            },
        )
        try:
            await self._send(request, response, answer.body, record)
        except ConnectionError:
            pass  # the client went away: the record says so
        finally:
            record.ended = True
        return response

    def _answer(self, request: web.BaseRequest) -> _Answer:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return self._error(
                401,
                "unauthorized",
                "Send a valid API key as 'Authorization: Bearer YOUR_API_KEY'.",
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            # Split before it is unquoted, so that a quoted slash stays inside its id.
            body = self._document(request.rel_url.parts)
        except UnknownId:
            return self._error(404, "not_found", "There is nothing here for this API key.")
        if request.method != "GET":
            message = "This endpoint answers GET only."
            return self._error(405, "method_not_allowed", message, {"Allow": "GET"})
        return _Answer(200, body)

    def _document(self, parts: tuple[str, ...]) -> bytes | Iterable[bytes]:
        """Return the body for a path, a list in pieces that are made while it is sent."""
        match parts:
            case ("/", "api", "open", "v1", "projects"):
                projects = map(self.project, self.project_ids)
                return encode_list("projects", projects, pretty=self._pretty)
            case ("/", "api", "open", "v1", "projects", project_id):
                return self._single({"project": self.project(project_id)})
            case ("/", "api", "open", "v1", "projects", project_id, "jobs"):
                return self._job_list(project_id)
            case ("/", "api", "open", "v1", "jobs", job_id):
                return self._single({"job": self.job(job_id)})
            case ("/", "api", "open", "v1", "jobs", job_id, "result"):
                return self._single(self._organisation.result(job_id))
            case _:
                raise UnknownId("/".join(parts))

    def _job_list(self, project_id: str) -> Iterator[bytes]:
        return encode_list("jobs", self.jobs(project_id), pretty=self._pretty)

    def _single(self, value: object) -> bytes:
        return encode(value, pretty=self._pretty)

    def _error(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> _Answer:
        return _Answer(status, self._single({"code": code, "message": message}), headers or {})

    async def _send(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        body: bytes | Iterable[bytes],
        record: RequestRecord,
    ) -> None:
        if isinstance(body, bytes):
            response.content_length = len(body)
            body = (body,)
        await response.prepare(request)
        # The answer to HEAD has the headers alone (RFC 9110, 9.3.2).
        for chunk in cut(() if request.method == "HEAD" else body, self._chunk_bytes):
            await response.write(chunk)
            record.body_bytes_sent += len(chunk)
            await asyncio.sleep(0)  # writing to a fast reader never waits
        await response.write_eof()
        record.complete = True


def _demand(name: str, value: int, *, at_least: int, at_most: float = float("inf")) -> None:
    if not at_least <= value <= at_most:
        limit = f"at least {at_least}" if value < at_least else f"at most {at_most}"
        raise ValueError(f"{name} must be {limit}, not {value}")
