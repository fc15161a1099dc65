"""The ids of the projects of a run, each looked up in the database before it is asked for."""

from collections.abc import AsyncIterator, Awaitable, Callable

from plangrep_async._ids import ProjectIds


class LookedUpIds(AsyncIterator[str]):
    """Gives each id once, after a function of it was awaited."""

    def __init__(self, ids: ProjectIds, look_up: Callable[[str], Awaitable[None]]) -> None:
        self.ids = ids
        self._look_up = look_up

    async def __anext__(self) -> str:
        project_id = await self.ids.next()
        if project_id is None:
            raise StopAsyncIteration
        await self._look_up(project_id)
        return project_id


class CountedIds(LookedUpIds):
    """The same where it is known how many there are: then it can be said how long it will take."""

    def __len__(self) -> int:
        return self.ids.total or 0


def looked_up(ids: ProjectIds, look_up: Callable[[str], Awaitable[None]]) -> LookedUpIds:
    """Give the ids, with their number where that is known."""
    return (LookedUpIds if ids.total is None else CountedIds)(ids, look_up)
