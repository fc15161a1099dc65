"""An error is gone when its last holder is: it waits for no garbage collector, nor keeps a loop."""

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import backoff
import pytest

from plangrep_async import AsyncPlangrep, PlangrepError
from plangrep_async.emulator import Emulator

pytestmark = pytest.mark.skipif(
    hasattr(backoff._async, "aretry_context"),
    reason="the fork of backoff keeps its last error in a cycle of its own",
)

Ask = Callable[[AsyncPlangrep], Awaitable[object]]


async def read(client: AsyncPlangrep) -> None:
    async for _ in client.list_jobs("proj_1"):
        pass


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "ask",
    [
        read,
        lambda client: client.get_jobs("proj_1"),
        lambda client: client.current_job("proj_1"),
        lambda client: client.get_project("proj_1"),
        lambda client: client.get_job("job_1"),
        lambda client: client.get_job_result("job_1"),
    ],
    ids=["list_jobs", "get_jobs", "current_job", "get_project", "get_job", "get_job_result"],
)
async def test_an_error_is_freed_with_its_last_reference(ask: Ask) -> None:
    """No frame of its traceback refers to it, so that nothing it holds outlives its handler."""
    async with Emulator() as emulator, AsyncPlangrep("pgk_1", base_url=emulator.base_url) as client:
        freed: list[object] = []
        with suppress(PlangrepError):
            try:
                await ask(client)
            except PlangrepError as error:
                weakref.finalize(error, freed.append, "freed")
                raise
        assert freed == ["freed"]
