"""Clients in a process that forks: run as programs, for pytest must not fork."""

import pytest

from tests.faults.programs import by_project, run
from tests.faults.streams import IDS
from tests.raw_server import RawServer


@pytest.mark.fault("L3")
async def test_a_client_that_was_used_is_refused_after_a_fork() -> None:
    """On the very loop of its parent, or on one of its own, a child may not use the connections."""
    program = """
def child(run):
    try:
        run(ids(client))
    except ConfigurationError as error:
        print(error, flush=True)

loop = asyncio.new_event_loop()
client = connect()
loop.run_until_complete(ids(client))
fork(child, loop.run_until_complete)
fork(child, asyncio.run)
print(len(loop.run_until_complete(ids(client))))
loop.run_until_complete(client.aclose())
loop.close()
"""
    async with RawServer([by_project] * 2) as server:
        code, out, err = await run(program, server)
        assert (code, err) == (0, "")
        on_its_loop, on_another, *parent = out.splitlines()
        assert "process" in on_its_loop
        assert "process" in on_another
        assert parent == [str(len(IDS))]
        assert server.connections == 1


@pytest.mark.fault("L3")
async def test_a_client_that_was_not_used_may_be_used_after_a_fork() -> None:
    """A client made before the fork serves both processes, each over connections of its own."""
    program = """
async def use():
    async with client:
        print(len(await ids(client)), flush=True)

client = connect()
fork(lambda: asyncio.run(use()))
asyncio.run(use())
"""
    async with RawServer([by_project] * 2) as server:
        assert await run(program, server) == (0, f"{len(IDS)}\n" * 2, "")
        assert server.connections == 2


@pytest.mark.fault("L3")
@pytest.mark.parametrize(
    "in_the_child",
    ["asyncio.run(ids(kept[0]))", "asyncio.run(kept[0].aclose())", "kept.clear(); gc.collect()"],
    ids=["use", "close", "drop"],
)
async def test_what_a_child_does_is_nothing_to_its_parent(in_the_child: str) -> None:
    """A child that uses, closes or drops its parent's client leaves the parent's connection be."""
    program = f"""
def child():
    try:
        {in_the_child}
    except ConfigurationError:
        pass

async def main():
    kept.append(connect())
    await ids(kept[0])
    fork(child)
    print(len(await ids(kept[0])))
    await kept[0].aclose()

asyncio.run(main())
"""
    async with RawServer([by_project] * 2) as server:
        assert await run(program, server) == (0, f"{len(IDS)}\n", "")
        assert server.connections == 1
