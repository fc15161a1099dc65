"""The fixtures for users' tests, in runs of pytest as users have them."""

import sys
from importlib.metadata import entry_points

import pytest

from tests.test_package import loaded_by

pytest_plugins = ["pytester"]

NAME = "plangrep_async.pytest_plugin"
HEAD = """
import asyncio
import os
import subprocess
import sys

import pytest

from plangrep_async import AsyncPlangrep, RateLimited, RetryPolicy
from plangrep_async.emulator import Fault, Limits

async def count(client, emulator):
    async with client.list_jobs_many(emulator.project_ids) as jobs:
        return len([job async for job in jobs])
"""
COUNT = """
async def test_count(plangrep_emulator, plangrep_client):
    assert await count(plangrep_client, plangrep_emulator) == 100

async def test_that_leaves_a_list(plangrep_emulator, plangrep_client):
    jobs = plangrep_client.list_jobs(plangrep_emulator.project_ids[0])
    await anext(jobs)

async def test_that_closes_its_client(plangrep_emulator, plangrep_client):
    async with plangrep_client:
        assert await count(plangrep_client, plangrep_emulator) == 100
"""


def inner(
    pytester: pytest.Pytester, code: str, *options: str, passed: int, errors: int = 0
) -> pytest.RunResult:
    """Run a module of tests with the plugin, warnings being errors."""
    pytester.makepyfile(HEAD + code)
    result = pytester.runpytest_inprocess("-p", NAME, "-W", "error", "--strict-markers", *options)
    result.assert_outcomes(passed=passed, errors=errors, warnings=0)
    return result


STRICT = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
AUTO = ("-o", "asyncio_mode=auto", *STRICT[2:])
NO_ASYNCIO = ("-p", "no:asyncio")


@pytest.mark.parametrize(
    ("marker", "options"),
    [
        ("", AUTO),
        ("pytestmark = pytest.mark.asyncio", STRICT),
        ('pytestmark = pytest.mark.asyncio(loop_scope="module")', STRICT),
        ("pytestmark = pytest.mark.anyio", NO_ASYNCIO),
    ],
    ids=["auto", "strict", "one loop for all", "anyio"],
)
def test_asynchronous_tests_may_use_the_fixtures(
    pytester: pytest.Pytester, marker: str, options: tuple[str, ...]
) -> None:
    """They work in each mode of pytest-asyncio, and with anyio's plugin, and leave no warning."""
    backend = "@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    inner(pytester, f"{marker}\n{backend}{COUNT}", *options, passed=3)


def test_tests_without_a_loop_may_use_the_fixtures(pytester: pytest.Pytester) -> None:
    """The client serves the loop that a test runs, the emulator any code that is under test."""
    code = """
def test_client(plangrep_emulator, plangrep_client):
    assert asyncio.run(count(plangrep_client, plangrep_emulator)) == 100

def test_code_that_makes_a_client_of_its_own(plangrep_emulator):
    async def work():
        async with AsyncPlangrep() as client:
            return [project.id async for project in client.list_projects()]

    assert asyncio.run(work()) == list(plangrep_emulator.project_ids)

def test_other_process(plangrep_emulator):
    command = [sys.executable, "-m", "plangrep_async", "jobs", "--all", "--json"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.count(b"\\n") == 100

def test_unused(plangrep_client):
    pass
"""
    inner(pytester, code, *NO_ASYNCIO, passed=4)


def test_each_test_has_an_emulator_of_its_own(pytester: pytest.Pytester) -> None:
    """Nothing of one test is seen in the next, nor is the environment changed for others."""
    code = """
@pytest.mark.parametrize("again", [False, True])
def test_own(plangrep_emulator, plangrep_client, again):
    assert plangrep_emulator.requests == [] and plangrep_emulator.faults == {}
    plangrep_emulator.faults[plangrep_emulator.project_ids[0]] = [Fault(status=500)]
    plangrep_emulator.limits = Limits(max_concurrency=1)
    assert asyncio.run(count(plangrep_client, plangrep_emulator)) == 100
    assert os.environ["PLANGREP_BASE_URL"] == plangrep_emulator.base_url

def test_others():
    assert not {"PLANGREP_BASE_URL", "PLANGREP_API_KEY"} & set(os.environ)
"""
    inner(pytester, code, *NO_ASYNCIO, passed=3)


def test_the_marker_says_what_is_served(pytester: pytest.Pytester) -> None:
    """The marker nearest to the test counts, and what it leaves out is that of the next."""
    code = """
pytestmark = pytest.mark.plangrep(projects=3, seed=7)

def test_module(plangrep_emulator):
    assert len(plangrep_emulator.project_ids) == 3
    assert len(list(plangrep_emulator.jobs(plangrep_emulator.project_ids[0]))) == 100

@pytest.mark.plangrep(jobs=2, projects=5)
class TestClass:
    def test_class(self, plangrep_emulator, plangrep_client):
        assert asyncio.run(count(plangrep_client, plangrep_emulator)) == 10

    @pytest.mark.plangrep(jobs=4, limits=Limits(requests_per_second=0.01, burst=1), pretty=True)
    def test_nearest(self, plangrep_emulator, plangrep_client):
        ids = plangrep_emulator.project_ids
        assert b"\\n" in plangrep_emulator.job_list_body(ids[0])
        assert len(ids) == 5

        async def work():
            impatient = RetryPolicy(budget=1.0)
            async with AsyncPlangrep(retry=impatient) as client:
                assert len([job async for job in client.list_jobs(ids[0])]) == 4
                with pytest.raises(RateLimited):
                    await anext(client.list_jobs(ids[1]))

        asyncio.run(work())
"""
    inner(pytester, code, *NO_ASYNCIO, passed=3)


@pytest.mark.parametrize(
    ("marker", "hint"),
    [
        ("job=3", "takes projects, jobs, seed, limits, pretty by name, and not job"),
        ("3", "by name, and not 3"),
        ("projects=-1", "projects must be at least 0"),
    ],
)
def test_a_wrong_marker_is_an_error_that_says_so(
    pytester: pytest.Pytester, marker: str, hint: str
) -> None:
    """The test has an error with one line about it, and no traceback of the library."""
    code = f"""
@pytest.mark.plangrep({marker})
def test_wrong(plangrep_emulator):
    pass
"""
    result = inner(pytester, code, *NO_ASYNCIO, passed=0, errors=1)
    result.stdout.fnmatch_lines([f"*the marker plangrep*{hint}*"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_the_help_shows_the_fixtures_and_the_marker(pytester: pytest.Pytester) -> None:
    """`--fixtures` and `--markers` say what there is."""
    fixtures = pytester.runpytest_inprocess("-p", NAME, *NO_ASYNCIO, "--fixtures")
    fixtures.stdout.fnmatch_lines(
        ["plangrep_emulator*", "*Serve the Plangrep API*", "plangrep_client*", "*Give a client*"]
    )
    markers = pytester.runpytest_inprocess("-p", NAME, *NO_ASYNCIO, "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.plangrep(*jobs=100*"])


def test_a_run_that_uses_no_fixture_loads_nothing() -> None:
    """The plugin is loaded in every run: it has nothing with it but the package's name."""
    before = loaded_by("import pytest")
    ours = loaded_by(f"import pytest, {NAME}") - before
    assert ours == {"plangrep_async", "plangrep_async._version", NAME}


def test_a_program_that_loaded_the_package_may_run_pytest(pytester: pytest.Pytester) -> None:
    """There is no warning that the package came too early for assertions to be rewritten."""
    pytester.makepyfile("def test_other(): pass")
    program = f"import plangrep_async, pytest; pytest.main({[*NO_ASYNCIO]})"
    result = pytester.run(sys.executable, "-W", "error", "-c", program)
    result.assert_outcomes(passed=1, warnings=0)
    result.stderr.no_fnmatch_line("*")


def test_pytest_finds_the_plugin_by_itself() -> None:
    """It is an entry point: nothing has to be named where the package is installed."""
    (found,) = entry_points(group="pytest11", name=NAME)
    assert found.value == NAME
