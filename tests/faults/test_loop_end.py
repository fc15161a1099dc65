"""Programs whose event loop ends under a client, run as programs."""

import pytest

from tests.faults.programs import by_project, run
from tests.raw_server import RawServer

MAINS = {
    "kept": """
        for _ in range(3):
            await begin(client)
        kept.append(client.list_jobs("stalls"))
        client.list_jobs("stalls")
""",
    "dropped": """
        for _ in range(3):
            async for job in client.list_jobs("stalls"):
                break
""",
    "read by tasks": """
        tasks = [asyncio.create_task(read()) for _ in range(3)]
        while len(kept) < 3:
            await asyncio.sleep(0.001)
""",
    "awaited by nobody": """
        await begin(client)
        kept.append(asyncio.ensure_future(anext(kept[0])))
        await begin(client)
        kept.append(kept[2].aclose())
        await asyncio.sleep(0.01)
        await kept.pop()
        sys.exit(7)
""",
}


@pytest.mark.fault("L6")
@pytest.mark.parametrize("how", MAINS)
async def test_a_loop_that_ends_under_streams_ends_quietly(how: str) -> None:
    """Streams that nobody ended when `main` does are ended, with no warning and no delay."""
    program = f"""
async def read():
    async with connect() as client:
        async for job in client.list_jobs("stalls"):
            kept.append(job)

async def main():
    async with connect() as client:
{MAINS[how]}
asyncio.run(main())
"""
    async with RawServer(by_project) as server:
        code, _, err = await run(program, server)
        assert (code, err) == (7 if "exit" in program else 0, "")
        await server.wait_until(lambda: all(conn.ended for conn in server.accepted))
        assert {conn.ended for conn in server.accepted} <= {"closed by client", "reset by client"}


@pytest.mark.fault("L6")
@pytest.mark.parametrize("project", ["stalls", "silent", "busy"])
async def test_ctrl_c_ends_a_program_wherever_its_stream_waits(project: str) -> None:
    """Waiting for bytes, for headers or for a retry: one `KeyboardInterrupt`, and no warning."""
    program = f"""
async def main():
    async with connect() as client:
        await ids(client, "{project}")

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""
    async with RawServer([by_project]) as server:
        assert await run(program, server, interrupted=True) == (130, "", "")
        await server.wait_closed_by_client(0)


@pytest.mark.fault("L6")
async def test_an_error_of_the_program_is_all_that_is_said_of_it() -> None:
    """What `main` raises out of its loop over a stream is shown once, and nothing beside it."""
    program = """
async def main():
    async with connect() as client:
        async for job in client.list_jobs("stalls"):
            await begin(client)
            raise LookupError("mine")

asyncio.run(main())
"""
    async with RawServer([by_project, by_project]) as server:
        code, _, err = await run(program, server)
        assert code == 1
        assert err.endswith("\nLookupError: mine\n")
        assert err.count("Traceback") == 1
        assert not [word for word in ("Warning", "ignored", "never", "closed") if word in err]
        await server.wait_closed_by_client(1)


@pytest.mark.fault("L6")
@pytest.mark.parametrize(
    "program",
    [
        "async def main(): await begin(connect())",
        "async def main(): await ids(connect())",
        "client = connect()\nasync def main(): await begin(client)",
        "client = connect()\nasync def main(): await ids(client)",
    ],
    ids=["in a stream", "after a stream", "in a stream of a global", "after a stream of a global"],
)
async def test_a_client_that_is_not_closed_is_warned_of_once(program: str) -> None:
    """Whoever forgets to close gets our warning, which says what to do, and no other."""
    async with RawServer([by_project]) as server:
        code, _, err = await run(f"{program}\nasyncio.run(main())\n", server)
        assert code == 0
        assert err.count("Exception ignored") == err.count("Warning") == 1
        assert err.endswith("was not closed: use `async with`, or await its aclose()\n")
        await server.wait_closed_by_client(0)
