"""What most tests need: quick patience, a client for a server, and a document to send."""

import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import none

from plangrep_async import AsyncPlangrep, RetryPolicy, Timeouts
from tests.secrets import watched_log

KEY = "pgk_live_tests_only"
TOKEN = "canary_of_a_result_url"
PROJECT = "proj_01hx9z4kqr8e7m3p5n6w2v0abc"

QUICK = RetryPolicy(attempts=3, first_wait=0.001, max_wait=0.002, budget=1.0)
SHORT = Timeouts(connect=1.0, read=0.3)


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of garbage collections, which would outlast time-outs."""
    # Hypothesis looks for the owner of its random numbers by the collector: let it make them now.
    given(none())(lambda _: None)()
    gc.collect()
    gc.freeze()


def wire_job(number: int, **changes: Any) -> dict[str, Any]:
    """Make a job as the API sends it; a higher number is an older job."""
    created = f"2024-11-02T{23 - number // 3600 % 24:02}:{59 - number // 60 % 60:02}:00.000Z"
    return {
        "id": f"job_{number:06}",
        "externalId": None,
        "status": "completed",
        "projectId": PROJECT,
        "limits": {"maxDeclaredBytes": 10_000_000_000, "maxFiles": 100},
        "pageCount": number,
        "successfulPageCount": number,
        "billing": {"creditsDebited": number},
        "files": [{"id": "file_1", "fileName": "plan.pdf", "status": "completed"}],
        "resultUrl": f"https://storage.plangrep.com/results/job_{number:06}?token={TOKEN}",
        "error": None,
        "createdAt": created,
        "updatedAt": created,
        "completedAt": created,
        "expiresAt": None,
        **changes,
    }


def document(jobs: list[Any]) -> bytes:
    """Make the body of an answer of these jobs."""
    return json.dumps({"jobs": jobs}).encode()


@pytest.fixture
def connect() -> Callable[..., AsyncPlangrep]:
    """Make clients with little patience; the test closes them."""

    def make(base_url: str, **options: Any) -> AsyncPlangrep:
        return AsyncPlangrep(
            options.pop("api_key", KEY),
            base_url=base_url,
            **{"retry": QUICK, "timeout": SHORT, **options},
        )

    return make


@pytest.fixture(autouse=True)
def no_secret_in_the_log() -> Iterator[None]:
    """Look for the key and the token in all that is logged, at every level, by every test."""
    with watched_log(KEY, TOKEN) as watch:
        yield
    assert watch.leaks == []
