"""`Retry-After` on the wire (rows H6); what each value means is in test_status.py."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from plangrep_async import AsyncPlangrep, RateLimited, RetryPolicy, ServerError
from plangrep_async.errors import ApiStatusError
from tests.faults.streams import nothing_left
from tests.faults.test_headers import EARLY
from tests.raw_server import RawServer, Script
from tests.test_transport import count, fine, status

Connect = Callable[..., AsyncPlangrep]


def refusal(code: int, *waits: str) -> Script:
    return status(code, *(("Retry-After", wait) for wait in waits))


def header(wait: str | timedelta) -> str:
    """Give what stands in the header; a duration becomes the date it leads to from now."""
    if isinstance(wait, timedelta):
        return format_datetime(datetime.now(UTC) + wait, usegmt=True)
    return wait


@pytest.mark.fault("H6")
@pytest.mark.parametrize("code", [429, 503])
async def test_the_wait_a_server_asks_for_is_waited(connect: Connect, code: int) -> None:
    """The server sees the next request no earlier than it asked for, of several the longest."""
    scripts = [refusal(code, "0.1"), refusal(code, "0.05", "0.15", "soon"), fine]
    async with nothing_left(), RawServer(scripts) as server, connect(server.base_url) as client:
        assert await count(client) == 3
        first, second, third = (request.arrived for request in server.requests)
        assert 0.1 - EARLY <= second - first < 3
        assert 0.15 - EARLY <= third - second < 3


@pytest.mark.fault("H6")
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    "waits",
    [
        ["0"],
        ["-1"],
        ["NaN"],
        ["inf"],
        ["1e999"],
        ["soon"],
        ["\xff\xfe"],
        [""],
        ["-1", "soon", "0"],
        ["Wed, 21 Oct 2015 07:28:00 GMT"],
        ["Wed, 99 Oct 2015 07:28:00 GMT"],
    ],
    ids=ascii,
)
async def test_a_wait_that_is_none_changes_nothing(
    connect: Connect, code: int, waits: list[str]
) -> None:
    """Past dates and garbage: tried again as ever, and the status is what is raised in the end."""
    script = refusal(code, *waits)
    async with (
        nothing_left(),
        RawServer([script, script, script]) as server,
        connect(server.base_url) as client,
    ):
        with pytest.raises(ApiStatusError) as caught:
            await count(client)
        assert type(caught.value) is (RateLimited if code == 429 else ServerError)
        assert (caught.value.status, caught.value.code) == (code, "some_code")
        assert caught.value.attempts == len(server.requests) == 3
        assert not caught.value.retry_after


@pytest.mark.fault("H6")
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("waits", "seconds"),
    [
        (["1" + "0" * 30], 1e9),
        (["9" * 5000], 1e9),
        (["Fri, 31 Dec 9999 23:59:59 GMT"], 1e9),
        ([timedelta(hours=1)], 3600.0),
        (["0", "soon", "3600"], 3600.0),
    ],
    ids=["10^30", "5,000 digits", "year 9999", "in an hour", "several"],
)
async def test_a_wait_beyond_all_patience_is_not_begun(
    connect: Connect, code: int, waits: list[str | timedelta], seconds: float
) -> None:
    """One request, and at once the error, which says how long the server asked to wait."""
    async with (
        nothing_left(),
        RawServer([refusal(code, *map(header, waits))]) as server,
        connect(server.base_url, retry=RetryPolicy(budget=300.0)) as client,
    ):
        with pytest.raises(ApiStatusError) as caught:
            await count(client)
        assert time.monotonic() - server.requests[0].arrived < 30
        assert (caught.value.status, caught.value.attempts) == (code, 1)
        # A date has whole seconds only, and some time has passed since.
        assert caught.value.retry_after == pytest.approx(seconds, abs=30)


@pytest.mark.fault("H6")
async def test_waits_in_sum_stay_within_the_budget(connect: Connect) -> None:
    """What is left of the budget counts: the second wait would fit alone, and is not begun."""
    async with (
        nothing_left(),
        RawServer([refusal(429, "0.2"), refusal(429, "59.9")]) as server,
        connect(server.base_url, retry=RetryPolicy(first_wait=0.001, budget=60.0)) as client,
    ):
        with pytest.raises(RateLimited) as caught:
            await count(client)
        first, second = server.requests
        assert second.arrived - first.arrived >= 0.2 - EARLY
        assert time.monotonic() - second.arrived < 30
        assert (caught.value.retry_after, caught.value.attempts) == (59.9, 2)
