"""The public API as its users see it: must pass `mypy --strict` and `pyright`; is never run."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, assert_type

import aiohttp
from cattrs import Converter

from plangrep_async import (
    ApiStatusError,
    AsyncPlangrep,
    IncompleteResponse,
    InvalidJob,
    Job,
    JobBilling,
    JobError,
    JobFile,
    JobLimits,
    JobStatus,
    JobStream,
    NotFound,
    PlangrepError,
    Project,
    ProjectOutcome,
    ProjectRuntime,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    Timeouts,
    WaitTimeout,
    __version__,
)
from plangrep_async.converter import InvalidElement, make_converter
from plangrep_async.emulator import Emulator, Fault, Limits, RequestRecord
from plangrep_async.service import HttpAnswer, NdjsonStream, http_answer, public_json

SINCE = datetime(2024, 11, 1, tzinfo=UTC)


async def new_key() -> str:
    return "pgk_live_…"


def take(element: InvalidElement) -> None:
    assert_type(element.index, int)
    assert_type(element.reason, str)
    assert_type(element.raw, bytes)


async def commit(outcome: ProjectOutcome) -> None:
    assert_type(outcome.project_id, str)
    assert_type(outcome.jobs, int)
    assert_type(outcome.error, Exception | None)


async def clients(session: aiohttp.ClientSession, trace: aiohttp.TraceConfig) -> None:
    AsyncPlangrep()
    AsyncPlangrep("pgk_live_…")
    AsyncPlangrep(lambda: "pgk_live_…")
    AsyncPlangrep(new_key, session=session)
    client = AsyncPlangrep(
        api_key=None,
        base_url="https://plangrep.example/api",
        timeout=Timeouts(connect=1, read=2.5),
        retry=RetryPolicy(attempts=3, first_wait=0.1, max_wait=1, budget=10),
        max_concurrency=4,
        max_job_bytes=1 << 20,
        converter=make_converter(),
        session=None,
        ssl=ssl.create_default_context(),
        trust_env=True,
        trace_configs=[trace],
        user_agent_suffix="typed/1",
    )
    async with client as entered:
        assert_type(entered, AsyncPlangrep)
    assert_type(await client.aclose(), None)
    version: str = __version__
    assert version


async def streams(client: AsyncPlangrep, mark: Job) -> None:
    assert_type(client.list_jobs("proj_1"), AsyncGenerator[Job, None])
    client.list_jobs("proj_1", after_job="job_1", created_after=SINCE, on_invalid=take)
    async for job in client.list_jobs("proj_1", after_job=mark):
        assert_type(job, Job)
    assert_type(client.list_projects(), AsyncGenerator[Project, None])

    stream = client.list_jobs_many(["proj_1"])
    assert_type(stream, JobStream)
    ids = (project.id async for project in client.list_projects())
    async with client.list_jobs_many(
        ids,
        on_error="collect",
        after_job={"proj_1": mark, "proj_2": "job_2"},
        created_after=SINCE,
        on_invalid=take,
        on_project_end=commit,
    ) as jobs:
        assert_type(jobs, JobStream)
        async for job in jobs:
            assert_type(job, Job)
        assert_type(jobs.failures, Mapping[str, Exception])
        assert_type(jobs.progress.projects_total, int | None)
        assert_type(jobs.progress.requests_per_second, float | None)


async def awaited(client: AsyncPlangrep) -> None:
    assert_type(await client.get_jobs("proj_1"), tuple[Job, ...])
    assert_type(await client.get_jobs("proj_1", max_age=5), tuple[Job, ...])
    assert_type(await client.current_job("proj_1"), Job | None)
    assert_type(await client.get_project("proj_1"), Project)
    assert_type(await client.get_job("job_1"), Job)
    result = await client.get_job_result("job_1", max_result_bytes=1 << 20)
    assert_type(result, Mapping[str, Any])
    assert_type(await client.wait_for_job("job_1", poll_interval=15, timeout=60), Job)
    async with client.current_jobs(["proj_1"], on_error="collect", on_project_end=commit) as jobs:
        assert_type(jobs, JobStream)


def models(job: Job, project: Project) -> None:
    assert_type(job.id, str)
    assert_type(job.external_id, str | None)
    assert_type(job.status, JobStatus)
    assert_type(job.status.is_known, bool)
    assert_type(job.status.is_terminal, bool)
    assert_type(job.project_id, str)
    assert_type(job.limits, JobLimits)
    assert_type(job.limits.max_declared_bytes, int)
    assert_type(job.limits.max_files, int)
    assert_type(job.page_count, int)
    assert_type(job.successful_page_count, int)
    assert_type(job.billing, JobBilling)
    assert_type(job.billing.credits_debited, int)
    assert_type(job.files, tuple[JobFile, ...])
    assert_type(job.files[0].file_name, str)
    assert_type(job.result_url, str | None)
    assert_type(job.error, JobError | None)
    assert_type(job.created_at, datetime)
    assert_type(job.updated_at, datetime)
    assert_type(job.completed_at, datetime | None)
    assert_type(job.expires_at, datetime | None)
    if job.error is not None:
        assert_type(job.error.code, str | None)
        assert_type(job.error.raw, Any)
    assert_type(project.name, str)
    assert_type(project.runtime, ProjectRuntime)
    assert_type(project.runtime.upgrade_status, str | None)
    Job(
        id="job_1",
        project_id="proj_1",
        status=JobStatus.PROCESSING,
        created_at=SINCE,
        updated_at=SINCE,
    )


async def errors(client: AsyncPlangrep) -> None:
    try:
        await client.wait_for_job("job_1")
    except RateLimited as error:
        assert_type(error.retry_after, float | None)
    except NotFound as error:
        assert_type(error.status, int)
    except ApiStatusError as error:
        assert_type(error.code, str | None)
        assert_type(error.request_id, str | None)
    except InvalidJob as error:
        assert_type(error.index, int)
        assert_type(error.path, str)
    except WaitTimeout as error:
        assert_type(error.job, Job | None)
    except (IncompleteResponse, RequestTimeout) as error:
        assert_type(error, IncompleteResponse | RequestTimeout)
    except PlangrepError as error:
        assert_type(error.message, str)
        assert_type(error.project_id, str | None)
        assert_type(error.job_id, str | None)
        assert_type(error.delivered, int)
        assert_type(error.last_job_id, str | None)
        assert_type(error.attempts, int)


def conversion(job: Job) -> None:
    converter = make_converter()
    assert_type(converter, Converter)
    assert_type(converter.structure({}, Job), Job)


async def services(client: AsyncPlangrep, job: Job, error: PlangrepError) -> None:
    assert_type(public_json(job), dict[str, Any])
    answer = http_answer(error)
    assert_type(answer, HttpAnswer)
    assert_type(answer.status, int)
    assert_type(answer.headers, Mapping[str, str])
    assert_type(answer.body, dict[str, Any])
    async with NdjsonStream(client.list_jobs("proj_1"), with_result_url=True) as lines:
        assert_type(lines, NdjsonStream)
        assert_type(aiter(lines), AsyncIterator[bytes])
        async for data in lines:
            assert_type(data, bytes)


async def emulation() -> None:
    async with Emulator(projects=2, jobs_per_project=5, limits=Limits(latency=0.1)) as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.base_url, str)
        assert_type(emulator.project_ids, tuple[str, ...])
        emulator.faults["proj_1"] = [Fault(status=503)]
        assert_type(emulator.requests, list[RequestRecord])
        assert_type(emulator.most_in_flight, int)
