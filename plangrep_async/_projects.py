"""The list of projects: short, in no promised order, and so read to its end before it is given."""

from collections.abc import Callable, Iterable

from plangrep_async._answer import Answer
from plangrep_async._batch import Batch
from plangrep_async._endpoint import PROJECTS_PATH
from plangrep_async._interrupt import Interruptible
from plangrep_async._jsonarray import ArrayDecoder
from plangrep_async._transport import Transport
from plangrep_async.converter import InvalidElement
from plangrep_async.errors import ClientClosed, InvalidResponse
from plangrep_async.models import Project

_MOST_BYTES = 64 << 20  # of a list that is held whole: some 200,000 projects


class ProjectReader:
    """Reads the list once, all of it again where it breaks: without an order it has no place."""

    def __init__(
        self,
        transport: Transport,
        decode: Callable[[bytes], Iterable[Batch[Project | InvalidElement]]],
        *,
        max_bytes: int,
        owner: object,
    ) -> None:
        self._owner = owner  # of the connections: collected before its streams, it would close them
        self._transport = transport
        self._decode = decode
        self._max_bytes = max_bytes
        self._fetch = transport.retrying(ProjectReader._attempt)
        self._network = Interruptible()

    async def read(self) -> list[Project]:
        """Give all projects. Raises one of our errors."""
        try:
            projects = await self._network.wait_for(self._fetch(self))
        except TimeoutError:
            if not self._network.is_aborted:
                raise  # it is the caller's own: of the function that gives the key, say
            projects = []
        if self._network.is_aborted:
            raise ClientClosed("the client was closed while its list of projects was read")
        return projects

    def abort(self) -> None:
        """End the reading from outside."""
        self._network.abort()

    async def _attempt(self) -> list[Project]:
        body = await self._transport.open(PROJECTS_PATH)
        decoder = ArrayDecoder("projects", self._decode, max_element_bytes=self._max_bytes)
        answer = Answer(body, decoder)
        projects: list[Project] = []
        try:
            while (batch := await answer.next_batch()) is not None:
                for element in batch:
                    if isinstance(element, InvalidElement):
                        place = f"element {len(projects)} is no project"
                        raise InvalidResponse(f"{answer.what}: {place}, {element.reason}")
                    projects.append(element)
                if answer.bytes_read > _MOST_BYTES:
                    raise InvalidResponse(f"{answer.what}: the list of projects is too large")
        finally:
            answer.close()
        return projects
