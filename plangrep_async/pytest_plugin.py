"""Fixtures for pytest: `plangrep_emulator`, which serves the API, and `plangrep_client` for it.

    @pytest.mark.plangrep(projects=3, jobs=50)
    async def test_import(plangrep_emulator, plangrep_client):
        plangrep_emulator.faults[plangrep_emulator.project_ids[0]] = [Fault(status=503)]
        async with plangrep_client.list_jobs_many(plangrep_emulator.project_ids) as jobs:
            assert len([job async for job in jobs]) == 150

Both are plain fixtures: the emulator has a thread of its own, and the client is closed without an
event loop. So they serve tests of pytest-asyncio in any mode, of anyio's plugin (on asyncio), and
tests that are not asynchronous at all.

pytest imports this module in every run where the package is installed. What a fixture needs is
imported when one is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from plangrep_async.client import AsyncPlangrep
    from plangrep_async.emulator import Emulator

_MARKER = (
    "plangrep(*, projects=1, jobs=100, seed=0, limits=Limits(), pretty=False): "
    "what the fixture plangrep_emulator serves; jobs are those of each project. "
    "The marker of a test adds to those of its class and module."
)
_NAMES = {
    "projects": "projects",
    "jobs": "jobs_per_project",
    "seed": "seed",
    "limits": "limits",
    "pretty": "pretty",
}
_READ_SECONDS = 5.0  # patience with an answer that stalls


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def plangrep_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[Emulator]":
    """Serve the Plangrep API with made-up data, as the marker `plangrep` says.

    It is an `Emulator`: with `project_ids`, `jobs(project_id)` and so on as the truth, `faults`
    and `limits` to be set, and what came in `requests`. While the test runs, PLANGREP_BASE_URL and
    PLANGREP_API_KEY lead to it: code under test that makes a client of its own finds it.
    """
    from plangrep_async.emulator import Emulator  # noqa: PLC0415  # see the top

    options = _options(request.node)
    try:
        emulator = Emulator(**options)
    except ValueError as error:
        pytest.fail(f"the marker plangrep: {error}", pytrace=False)
    with emulator:
        monkeypatch.setenv("PLANGREP_BASE_URL", emulator.base_url)
        monkeypatch.setenv("PLANGREP_API_KEY", emulator.api_key)
        yield emulator


@pytest.fixture
def plangrep_client(plangrep_emulator: "Emulator") -> "Iterator[AsyncPlangrep]":
    """Give a client of the emulator, for one event loop, with short waits between retries.

    It is closed after the test, if the test has not done so.
    """
    from plangrep_async._retry import RetryPolicy  # noqa: PLC0415  # see the top
    from plangrep_async._transport import Timeouts  # noqa: PLC0415
    from plangrep_async.client import AsyncPlangrep  # noqa: PLC0415

    client = AsyncPlangrep(
        plangrep_emulator.api_key,
        base_url=plangrep_emulator.base_url,
        retry=RetryPolicy(first_wait=0.01, max_wait=0.1, budget=5.0),
        timeout=Timeouts(read=_READ_SECONDS),
    )
    yield client
    client._lifetime.abandon()  # noqa: SLF001  # its loop may be gone: nothing can be awaited


def _options(test: pytest.Item) -> dict[str, Any]:
    """Give what the markers say, those nearest to the test first, by the emulator's names."""
    options: dict[str, Any] = {}
    for marker in test.iter_markers("plangrep"):
        if marker.args or (unknown := set(marker.kwargs) - _NAMES.keys()):
            wrong = repr(marker.args[0]) if marker.args else min(unknown)
            pytest.fail(
                f"the marker plangrep takes {', '.join(_NAMES)} by name, and not {wrong}",
                pytrace=False,
            )
        options = {_NAMES[name]: value for name, value in marker.kwargs.items()} | options
    return options
