"""X4: nothing that the library makes shows an API key or the token of a result.

What is logged meanwhile, and in all other tests, is watched by a fixture.
"""

import asyncio
import gc
import inspect
import traceback
import warnings
from collections.abc import Callable

import pytest
from rich.pretty import pretty_repr

from plangrep_async import AsyncPlangrep, PlangrepError, RetryPolicy, Timeouts, errors
from plangrep_async.converter import InvalidElement
from tests.conftest import KEY, PROJECT, TOKEN, document
from tests.faults.provoked import (
    ECHO,
    JOB,
    PROVOKED,
    SAID,
    Provoke,
    read,
    sends,
    stall,
    stall_after_a_job,
)
from tests.raw_server import CHUNKED, Connection, RawServer, Script, chunked, head, response
from tests.secrets import holds, leaks

pytestmark = pytest.mark.fault("X4")

Connect = Callable[..., AsyncPlangrep]

SECRETS = (KEY[:14], TOKEN)  # where a text is cut, the rest of a key is no less of a secret


async def stall_in_an_error(conn: Connection) -> None:
    await conn.send(head(403, SAID, [*ECHO, CHUNKED]) + chunked([SAID.encode()], terminator=False))
    await conn.stall()


@pytest.mark.parametrize(("expected", "provoke"), PROVOKED.values(), ids=PROVOKED)
async def test_no_error_shows_a_secret(
    connect: Connect, expected: type[PlangrepError], provoke: Provoke
) -> None:
    """Neither its texts, nor its facts, what is chained to it, its traceback or its pickle do."""
    with pytest.raises(PlangrepError) as caught:
        await provoke(connect)
    assert type(caught.value) is expected
    assert leaks(caught.value, *SECRETS) == []


def test_every_error_of_the_package_is_provoked() -> None:
    """The table has every class that can be raised, and not only its parents."""
    classes = [cls for cls in vars(errors).values() if inspect.isclass(cls)]
    public = {cls for cls in classes if issubclass(cls, PlangrepError)} - {PlangrepError}
    assert {expected for expected, _ in PROVOKED.values()} == public


@pytest.mark.parametrize(
    "script",
    [
        stall,
        stall_in_an_error,
        stall_after_a_job,
        sends(response(SAID.encode(), status=503, reason=SAID, headers=ECHO)),
    ],
    ids=["in the headers", "in an error", "in the body", "between attempts"],
)
async def test_the_traceback_of_a_cancelled_wait_shows_no_secret(
    connect: Connect, script: Script
) -> None:
    """Wherever the library waits, its variables hold nothing of what a server said."""
    cancelled: list[asyncio.CancelledError] = []

    async def work(client: AsyncPlangrep) -> None:
        try:
            await read(client)
        except asyncio.CancelledError as error:
            cancelled.append(error)

    patient = {"timeout": Timeouts(read=30), "retry": RetryPolicy(first_wait=30, max_wait=30)}
    async with RawServer([script]) as server, connect(server.base_url, **patient) as client:
        working = asyncio.create_task(work(client))
        await server.wait_until(lambda: bool(server.requests))
        await asyncio.sleep(0.05)
        working.cancel()
        await working
    assert "_stream.py" in "".join(traceback.format_exception(cancelled[0]))
    assert leaks(cancelled[0], *SECRETS) == []


async def test_what_a_stream_gives_shows_no_secret(connect: Connect) -> None:
    """Jobs, elements that are none, the stream and the client print without key and token."""
    elements: list[InvalidElement] = []
    said = sends(response(document([JOB, {**JOB, "id": None}])))
    async with RawServer([said]) as server, connect(server.base_url) as client:
        stream = client.list_jobs(PROJECT, on_invalid=elements.append)
        jobs = [job async for job in stream]
        inside = [*vars(client).values(), *vars(client._lifetime).values()]
        shown = [*jobs, *elements, stream, *client._lifetime._streams, client, *inside]
        texts = [f"{one!r}{one!s}{one}{pretty_repr(one)}" for one in shown]
        assert (len(jobs), len(elements)) == (1, 1)
    assert not [text for text in texts if holds(text, *SECRETS)]
    assert jobs[0].result_url == JOB["resultUrl"]
    assert holds(elements[0].raw.decode(), TOKEN)  # which is why it says to treat it as a secret


@pytest.mark.parametrize("debug", [False, True])
async def test_the_warning_about_a_forgotten_stream_shows_no_secret(
    connect: Connect, debug: bool
) -> None:
    """Nor do aiohttp's own, which print the headers of an answer in the loop's debug mode."""
    asyncio.get_running_loop().set_debug(debug)
    gc.collect()  # what other tests left is not the matter here
    async with RawServer([stall_after_a_job]) as server:
        client = connect(server.base_url)
        stream = client.list_jobs(PROJECT)
        await anext(stream)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del stream, client
            gc.collect()
            await server.wait_closed_by_client()
            gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert not [one for one in caught if holds(f"{one.message!r}{one.message}", *SECRETS)]
