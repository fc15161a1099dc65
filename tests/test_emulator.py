"""The emulator answers as the API's documentation says, and reports what was asked of it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import aiohttp
import psutil
import pytest
from yarl import URL

from plangrep_async.emulator import Emulator, RequestRecord, UnknownId

ACTIVE = {
    *("provisioning", "awaiting_uploads", "uploading", "preflighting", "processing"),
    "blocked_insufficient_credits",
}
TERMINAL = {"completed", "completed_with_errors", "failed", "cancelled", "expired"}
JOB_FIELDS = [
    *("id", "externalId", "status", "projectId", "limits", "pageCount", "successfulPageCount"),
    *("billing", "files", "resultUrl", "error"),
    *("createdAt", "updatedAt", "completedAt", "expiresAt"),
]
ULID = "[0-7][0-9a-hjkmnp-tv-z]{25}"
LONGEST = 2_000_000


def session_of(emulator: Emulator) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.api_key}"})


async def fetch(
    emulator: Emulator, path: str, method: str = "GET", **kwargs: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with (
        session_of(emulator) as session,
        session.request(method, emulator.base_url + path, **kwargs) as response,
    ):
        return response, await response.read()


async def fetch_json(emulator: Emulator, path: str) -> Any:
    response, body = await fetch(emulator, path)
    assert response.status == 200
    return json.loads(body)


async def end_of(record: RequestRecord) -> None:
    async with asyncio.timeout(5):
        while not record.ended:  # noqa: ASYNC110 - a record is plain data, to be looked at
            await asyncio.sleep(0.001)


async def rest_of(record: RequestRecord) -> None:
    """Wait until nothing more is sent, as all buffers on the way are full."""
    sent = -1
    while sent != record.body_bytes_sent:
        sent = record.body_bytes_sent
        await asyncio.sleep(0.1)


def own_ports() -> set[int]:
    """Find the ports on this side of all sockets that this process has open."""
    return {each.laddr.port for each in psutil.Process().net_connections("inet") if each.laddr}


def all_jobs(emulator: Emulator) -> Iterator[dict[str, Any]]:
    for project_id in emulator.project_ids:
        yield from emulator.jobs(project_id)


def moment(text: str) -> datetime:
    """Parse a time of the API, which must have milliseconds and a Z."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def jobs() -> list[dict[str, Any]]:
    return list(all_jobs(Emulator(projects=4, jobs_per_project=800)))


# What it holds


@pytest.mark.parametrize("seed", [0, 7])
def test_equal_seeds_give_equal_bytes(seed: int) -> None:
    """Two emulators of the same options hold the same projects, key and bytes."""
    one, other = (Emulator(projects=2, jobs_per_project=30, seed=seed) for _ in range(2))
    assert one.project_ids == other.project_ids
    assert one.api_key == other.api_key
    for project_id in one.project_ids:
        assert one.project(project_id) == other.project(project_id)
        assert one.job_list_body(project_id) == other.job_list_body(project_id)


def test_data_are_the_same_on_every_machine() -> None:
    """A seed's data depend neither on the clock, nor on the process, nor on Python's version."""
    emulator = Emulator(seed=42, jobs_per_project=2)
    _, job = emulator.jobs(emulator.project_ids[0])
    assert job == {
        "id": "job_01jbnscawhhmmf8eqzwzet2k7n",
        "externalId": None,
        "status": "completed_with_errors",
        "projectId": "proj_01j63kjeb2a2x01j01abjqasdv",
        "limits": {"maxDeclaredBytes": 2000000000, "maxFiles": 100},
        "pageCount": 16,
        "successfulPageCount": 11,
        "billing": {"creditsDebited": 110},
        "files": [
            {
                "id": "file_56ca4835ffb56662",
                "fileName": "specification_vol 10.dwg",
                "status": "completed_with_errors",
            }
        ],
        "resultUrl": "https://storage.plangrep.com/results/job_01jbnscawhhmmf8eqzwzet2k7n?token=2e7afc40b0083673da52242543b3369c0dcf93c5",
        "error": {
            "code": "page_processing_failed",
            "message": "Some pages could not be processed.",
        },
        "createdAt": "2024-11-02T06:35:40.305Z",
        "updatedAt": "2024-11-02T06:57:40.514Z",
        "completedAt": "2024-11-02T06:57:40.514Z",
        "expiresAt": "2024-11-09T06:35:40.305Z",
    }


def test_another_seed_gives_other_data() -> None:
    """Emulators of different seeds share no id, no key and no job list."""
    one, other = (Emulator(projects=3, jobs_per_project=50, seed=seed) for seed in (0, 1))
    assert one.api_key != other.api_key
    assert not {*one.project_ids} & {*other.project_ids}
    assert not {job["id"] for job in all_jobs(one)} & {job["id"] for job in all_jobs(other)}


def test_ids_are_unique_ulids(jobs: list[dict[str, Any]]) -> None:
    """Ids of projects, jobs and files are unique; the first two are lower-case ULIDs."""
    emulator = Emulator(projects=500, jobs_per_project=1)
    assert len(set(emulator.project_ids)) == 500
    assert all(re.fullmatch(f"proj_{ULID}", id_) for id_ in emulator.project_ids)
    ids = [job["id"] for job in jobs]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(f"job_{ULID}", id_) for id_ in ids)
    file_ids = [file["id"] for job in jobs for file in job["files"]]
    assert len(set(file_ids)) == len(file_ids)


def test_ids_sort_as_times_do(jobs: list[dict[str, Any]]) -> None:
    """A job's id begins with its time of creation, as a ULID does."""
    by_id = sorted(jobs, key=lambda job: job["id"][:14])
    times = [job["createdAt"] for job in by_id]
    assert times == sorted(times)


def test_jobs_are_newest_first_with_a_few_ties() -> None:
    """Within a project no job is younger than the one before it, and some are equally old."""
    emulator = Emulator(projects=2, jobs_per_project=400)
    for project_id in emulator.project_ids:
        times = [moment(job["createdAt"]) for job in emulator.jobs(project_id)]
        assert times == sorted(times, reverse=True)
        ties = sum(newer == older for newer, older in pairwise(times))
        assert 0 < ties < 100
        assert moment(emulator.project(project_id)["createdAt"]) < times[-1]


@pytest.mark.parametrize("seed", range(5))
def test_every_status_occurs(seed: int) -> None:
    """Three projects of 200 jobs show all eleven statuses; a fourth is idle; active is new."""
    emulator = Emulator(projects=4, jobs_per_project=200, seed=seed)
    *shown, idle = ([job["status"] for job in emulator.jobs(id_)] for id_ in emulator.project_ids)
    assert {status for statuses in shown for status in statuses} == ACTIVE | TERMINAL
    for statuses in shown:
        assert sum(status in ACTIVE for status in statuses[:5]) == 2
        assert TERMINAL.issuperset(statuses[5:])
    assert TERMINAL.issuperset(idle)


def test_a_job_has_every_documented_field_in_order(jobs: list[dict[str, Any]]) -> None:
    """Each job has the fields of the documentation, in its order, with values of its types."""
    for job in jobs:
        assert list(job) == JOB_FIELDS
        assert list(job["limits"]) == ["maxDeclaredBytes", "maxFiles"]
        assert list(job["billing"]) == ["creditsDebited"]
        assert len(job["files"]) <= job["limits"]["maxFiles"]
        for file in job["files"]:
            assert list(file) == ["id", "fileName", "status"]
        assert job["externalId"] is None or 0 < len(job["externalId"]) <= 180


def test_nulls_follow_the_status(jobs: list[dict[str, Any]]) -> None:
    """Only terminal jobs were completed, only two statuses have results, only failures errors."""
    with_errors = Counter[bool]()
    for job in jobs:
        status = job["status"]
        assert (job["completedAt"] is not None) == (status in TERMINAL)
        if status in {"completed", "completed_with_errors"}:
            path, _, token = job["resultUrl"].partition("?token=")
            assert path == f"https://storage.plangrep.com/results/{job['id']}"
            assert re.fullmatch("[0-9a-f]{40}", token)
        else:
            assert job["resultUrl"] is None
        if job["error"] is not None:
            assert status in {"failed", "completed_with_errors"}
            assert list(job["error"]) == ["code", "message"]
        if status == "failed":
            assert job["error"] is not None
        if status == "completed_with_errors":
            with_errors[job["error"] is not None] += 1
    assert with_errors[True] > 0 < with_errors[False]


def test_times_have_milliseconds_and_a_plausible_order(jobs: list[dict[str, Any]]) -> None:
    """A job is updated after it is created and completed when it is updated last."""
    for job in jobs:
        created = moment(job["createdAt"])
        assert created < moment(job["updatedAt"])
        assert job["completedAt"] in {None, job["updatedAt"]}
        assert moment(job["expiresAt"]) == created + timedelta(days=7)
        if job["status"] == "expired":
            assert job["completedAt"] == job["expiresAt"]


def test_pages_and_credits_fit_each_other(jobs: list[dict[str, Any]]) -> None:
    """Pages need files, and a successful page costs 1 or 10 credits, a failed one nothing."""
    rates = set()
    for job in jobs:
        pages, successes = job["pageCount"], job["successfulPageCount"]
        credits_debited = job["billing"]["creditsDebited"]
        assert 0 <= successes <= pages <= 120 * len(job["files"])
        assert successes <= credits_debited <= 10 * successes
        assert (credits_debited - successes) % 9 == 0  # each drawing page adds 9 to the 1
        if successes:
            rates.add(credits_debited / successes)
        if job["status"] == "completed":
            assert successes == pages > 0
        if job["status"] == "completed_with_errors":
            assert successes < pages
    assert {1, 10} < rates


def test_data_have_the_awkward_cases(jobs: list[dict[str, Any]]) -> None:
    """There are jobs with no file and with dozens, null ids of the caller's, and odd names."""
    counts = [len(job["files"]) for job in jobs]
    assert min(counts) == 0
    assert 24 <= max(counts) <= 100
    assert sum(count <= 4 for count in counts) > 0.95 * len(jobs)
    external_ids = [job["externalId"] for job in jobs]
    assert None in external_ids
    assert 180 in map(len, filter(None, external_ids))
    names = "".join(file["fileName"] for job in jobs for file in job["files"])
    assert {*'é日🏗"\\{}[]\n'} <= {*names}


def test_projects_are_as_documented() -> None:
    """Projects have the documented fields in their order, and all documented values occur."""
    emulator = Emulator(projects=100, jobs_per_project=0)
    seen = set()
    for project_id in emulator.project_ids:
        project = emulator.project(project_id)
        assert list(project) == [
            *("id", "name", "projectKind", "status", "runtime", "createdAt", "updatedAt")
        ]
        assert project["id"] == project_id
        assert project["projectKind"] == "open_api"
        assert moment(project["createdAt"]) <= moment(project["updatedAt"])
        assert list(project["runtime"]) == ["status", "upgradeStatus"]
        seen.add((project["status"], *project["runtime"].values()))
    ready, provisioning = ("ready", "running"), ("provisioning", "starting")
    assert seen == {
        (*state, upgrade) for state in (ready, provisioning) for upgrade in ("none", None)
    }


def test_a_job_is_found_without_making_the_others() -> None:
    """Getting a job of the second project makes none of the two million of the first."""
    emulator = Emulator(projects=2, jobs_per_project=LONGEST)
    newest = next(emulator.jobs(emulator.project_ids[1]))
    assert emulator.job(newest["id"]) == newest


def test_a_longer_history_begins_with_the_same_jobs() -> None:
    """More jobs a project means more old ones, which the shorter history does not know."""
    shorter, longer = (Emulator(jobs_per_project=count, seed=5) for count in (10, 11))
    ids = [job["id"] for job in all_jobs(longer)]
    assert [job["id"] for job in all_jobs(shorter)] == ids[:10]
    assert shorter.job(ids[9])["id"] == ids[9]
    with pytest.raises(UnknownId):
        shorter.job(ids[10])


@pytest.mark.parametrize("change", ["", "0", "job_", "JOB", "-1", "é", "\ud83d", "a" * 10_000])
def test_a_text_that_is_no_id_is_unknown(change: str) -> None:
    """Texts that look like no id, or like an id with a change, lead to nothing."""
    emulator = Emulator(jobs_per_project=3)
    job = next(emulator.jobs(emulator.project_ids[0]))
    for unknown in (change, change + job["id"], job["id"][:-1] + change):
        if unknown != job["id"]:
            with pytest.raises(UnknownId):
                emulator.job(unknown)
            with pytest.raises(UnknownId):
                emulator.project(unknown)
            with pytest.raises(UnknownId):
                emulator.jobs(unknown)
            with pytest.raises(UnknownId):
                emulator.job_list_body(unknown)


# What it answers


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize("jobs_per_project", [0, 1, 120])
async def test_job_list_is_sent_as_promised(jobs_per_project: int, pretty: bool) -> None:
    """The endpoint sends the body that `job_list_body` names, and that is the jobs as JSON."""
    async with Emulator(jobs_per_project=jobs_per_project, pretty=pretty) as emulator:
        (project_id,) = emulator.project_ids
        response, body = await fetch(emulator, f"/projects/{project_id}/jobs")
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert body == emulator.job_list_body(project_id)
    document = {"jobs": list(emulator.jobs(project_id))}
    assert len(document["jobs"]) == jobs_per_project
    form: dict[str, Any] = {"indent": 2} if pretty else {"separators": (",", ":")}
    assert body.decode() == json.dumps(document, ensure_ascii=False, **form)


def test_pretty_and_compact_are_the_same_document() -> None:
    """The two forms parse to the same jobs, and only one has line feeds."""
    pretty, compact = (Emulator(jobs_per_project=50, pretty=choice) for choice in (True, False))
    bodies = [emulator.job_list_body(emulator.project_ids[0]) for emulator in (pretty, compact)]
    assert json.loads(bodies[0]) == json.loads(bodies[1])
    assert bodies[0].startswith(b'{\n  "jobs": [\n    {\n      "id": "job_')
    assert b"\n" not in bodies[1]


async def test_projects_are_listed_and_gettable() -> None:
    """The list has every project, and getting one gives the same object."""
    async with Emulator(projects=3, jobs_per_project=1) as emulator:
        listed = await fetch_json(emulator, "/projects")
        expected = [emulator.project(project_id) for project_id in emulator.project_ids]
        assert listed == {"projects": expected}
        for project in expected:
            assert await fetch_json(emulator, f"/projects/{project['id']}") == {"project": project}


async def test_get_job_equals_its_entry_in_the_list() -> None:
    """Each job of each list can be had by its id, unchanged."""
    async with Emulator(projects=3, jobs_per_project=12, seed=3) as emulator:
        for project_id in emulator.project_ids:
            for job in (await fetch_json(emulator, f"/projects/{project_id}/jobs"))["jobs"]:
                assert job["projectId"] == project_id
                assert await fetch_json(emulator, f"/jobs/{job['id']}") == {"job": job}


async def test_single_objects_have_a_content_length() -> None:
    """A body that is known beforehand is sent with its length, and no chunks."""
    async with Emulator() as emulator:
        response, body = await fetch(emulator, f"/projects/{emulator.project_ids[0]}")
    assert response.headers["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in response.headers


LIFE = (
    *("provisioning", "awaiting_uploads", "uploading", "preflighting"),
    *("blocked_insufficient_credits", "processing"),
)


@pytest.mark.parametrize("status", LIFE)
def test_a_job_is_moved_on_through_its_life(status: str) -> None:
    """To its end as `completed`, and at each stage it is as plausible as one that was made so."""
    emulator = Emulator(projects=4)
    jobs = [job for name in emulator.project_ids for job in emulator.jobs(name)]
    start = job = next(job for job in jobs if job["status"] == status)
    lives = []
    while job["status"] not in TERMINAL:
        before, job = job, emulator.advance(job["id"])
        lives.append(job["status"])
        assert list(job) == list(before)
        assert job == emulator.job(job["id"])
        assert job in list(emulator.jobs(job["projectId"]))
        assert moment(job["updatedAt"]) > moment(before["updatedAt"])
        assert job["pageCount"] >= job["successfulPageCount"] >= before["successfulPageCount"]
        assert job["pageCount"] == before["pageCount"] or before["pageCount"] == 0
        same = {"id", "externalId", "projectId", "limits", "createdAt", "expiresAt"}
        assert {name: job[name] for name in same} == {name: before[name] for name in same}
        if before["files"]:
            assert [f["id"] for f in job["files"]] == [f["id"] for f in before["files"]]
        check_nulls(job)
    assert lives == [*LIFE[LIFE.index(status) + 1 : 4], "processing", "completed"][-len(lives) :]
    assert job["successfulPageCount"] == job["pageCount"] > 0
    assert job["billing"]["creditsDebited"] >= start["billing"]["creditsDebited"]
    others = [one for name in emulator.project_ids for one in emulator.jobs(name)]
    assert [one for one in others if one["id"] != job["id"]] == [
        one for one in jobs if one["id"] != job["id"]
    ]


def check_nulls(job: dict[str, Any]) -> None:
    assert (job["completedAt"] is not None) == (job["status"] in TERMINAL)
    assert (job["resultUrl"] is not None) == (job["status"] == "completed")
    assert job["error"] is None


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_job_is_moved_to_any_end(status: str) -> None:
    """From where it is, once: what is terminal does not change any more."""
    emulator = Emulator(projects=1)
    job = next(
        job for job in emulator.jobs(emulator.project_ids[0]) if job["status"] not in TERMINAL
    )
    ended = emulator.advance(job["id"], status)
    assert ended["status"] == status
    assert ended["completedAt"] == ended["updatedAt"]
    assert (ended["error"] is not None) or status != "failed"
    assert (ended["resultUrl"] is not None) == status.startswith("completed")
    with pytest.raises(ValueError, match="will not change any more"):
        emulator.advance(job["id"])


def test_what_cannot_be_moved_on() -> None:
    """No job of the organisation, or a status that nobody has documented."""
    emulator = Emulator(projects=1)
    job = next(emulator.jobs(emulator.project_ids[0]))
    with pytest.raises(UnknownId):
        emulator.advance("job_x")
    with pytest.raises(ValueError, match="no status 'done'"):
        emulator.advance(job["id"], "done")
    assert emulator.job(job["id"]) == job


def test_what_was_given_of_a_job_is_the_callers_to_change() -> None:
    """The truth stays as it is, also of a job that was moved on or added."""
    emulator = Emulator(projects=1)
    (project_id,) = emulator.project_ids
    job = next(job for job in emulator.jobs(project_id) if job["status"] not in TERMINAL)
    added = emulator.add_job(project_id)
    ways = (
        emulator.advance(job["id"], "completed"),
        emulator.advance(added["id"], "completed"),
        added,
        *(emulator.job(one["id"]) for one in (job, added)),
        *(one for one in emulator.jobs(project_id) if one["id"] in (job["id"], added["id"])),
    )
    for given in ways:
        given["status"] = "changed"
        given["billing"].clear()
        stored = emulator.job(given["id"])
        assert stored["status"] == "completed"
        assert stored["billing"]


async def test_a_job_that_was_moved_on_is_served_so() -> None:
    """By its own endpoint, in the list, and with a result at its end."""
    async with Emulator(projects=1, jobs_per_project=10) as emulator:
        job = next(
            job for job in emulator.jobs(emulator.project_ids[0]) if job["status"] not in TERMINAL
        )
        ended = emulator.advance(job["id"], "completed")
        _, body = await fetch(emulator, f"/jobs/{job['id']}")
        assert json.loads(body) == {"job": ended}
        _, body = await fetch(emulator, f"/projects/{job['projectId']}/jobs")
        assert ended in json.loads(body)["jobs"]
        response, body = await fetch(emulator, f"/jobs/{job['id']}/result")
        assert (response.status, json.loads(body)["job"]["status"]) == (200, "completed")


async def test_results_exist_for_completed_jobs_only() -> None:
    """A result document has the documented fields; without a result the answer is 404."""
    async with Emulator(projects=1, jobs_per_project=60) as emulator:
        seen = set()
        for job in emulator.jobs(emulator.project_ids[0]):
            response, body = await fetch(emulator, f"/jobs/{job['id']}/result")
            assert (response.status == 200) == (job["resultUrl"] is not None)
            if response.status != 200:
                assert response.status == 404
                continue
            result = json.loads(body)
            seen.add(job["status"])
            assert list(result) == [
                *("schemaVersion", "job", "usage", "documents", "evidence"),
                *("warnings", "errors", "generatedAt"),
            ]
            assert result["job"]["id"] == job["id"]
            assert result["usage"]["pageCount"] == job["pageCount"]
            assert len(result["documents"]) == len(job["files"])
            assert result["errors"] == ([job["error"]] if job["error"] else [])
    assert seen == {"completed", "completed_with_errors"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer pgk_live_wrong"},
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
    ],
)
async def test_without_the_key_the_answer_is_401(headers: dict[str, str]) -> None:
    """A missing or wrong key gets 401, even where there is nothing, and the documented error."""
    async with Emulator() as emulator, aiohttp.ClientSession() as session:
        sent = {name: text.format(key=emulator.api_key) for name, text in headers.items()}
        for path in ("/projects", "/nothing"):
            async with session.get(emulator.base_url + path, headers=sent) as response:
                error = await response.json()
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert error["code"] == "unauthorized"
            assert emulator.api_key not in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/projects/", "/projects/proj_x", "/projects/proj_x/jobs", "/jobs"),
        *("/jobs/job_x", "/jobs/job_x/result", "/projects/{id}/jobs/", "/projects/{id}/files"),
        *("/projects/..%2F{id}/jobs", "/projects/{id}%2Fjobs", "/projects/%00", "/projects/{ID}"),
    ],
)
async def test_unknown_ids_and_paths_are_404(path: str) -> None:
    """What does not exist gets 404 and the documented error, exactly one path leads to a list."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        path = path.format(id=project_id, ID=project_id.upper())
        url = URL(emulator.base_url + path, encoded=True)
        async with session_of(emulator) as session, session.get(url) as response:
            error = await response.json()
    assert response.status == 404
    assert list(error) == ["code", "message"]
    assert error["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_other_methods_are_405(method: str) -> None:
    """Endpoints answer GET only; 405 names it, and HEAD gets no body."""
    async with Emulator() as emulator:
        (project_id,) = emulator.project_ids
        response, body = await fetch(emulator, f"/projects/{project_id}/jobs", method)
        assert response.status == 405
        assert response.headers["Allow"] == "GET"
        if method == "HEAD":
            assert body == b""
        else:
            assert json.loads(body)["code"] == "method_not_allowed"
        missing, _ = await fetch(emulator, "/projects/proj_x/jobs", method)
        assert missing.status == 404


async def test_every_answer_has_a_request_id_of_its_own() -> None:
    """`X-Request-Id` is on good and bad answers, never the same, and in the record."""
    async with Emulator() as emulator:
        answers = [
            (await fetch(emulator, path))[0] for path in ("/projects", "/x", "/jobs/y", "/projects")
        ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == 4
    assert ids == [record.request_id for record in emulator.requests]


# How it sends


@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096, 1_000_000])
async def test_body_is_sent_in_chunks_of_the_given_size(chunk_bytes: int) -> None:
    """Every HTTP chunk but the last has exactly `chunk_bytes` bytes."""
    async with Emulator(jobs_per_project=5, chunk_bytes=chunk_bytes) as emulator:
        (project_id,) = emulator.project_ids
        url = URL(emulator.base_url) / "projects" / project_id / "jobs"
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            f"GET {url.path} HTTP/1.1\r\nHost: {url.host}\r\n"
            f"Authorization: Bearer {emulator.api_key}\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        sizes = []
        while size := int(await reader.readline(), 16):  # RFC 9112, section 7.1
            sizes.append(size)
            await reader.readexactly(size + len(b"\r\n"))
        writer.close()
        await writer.wait_closed()
    *whole, last = sizes
    assert set(whole) <= {chunk_bytes}
    assert 0 < last <= chunk_bytes
    assert sum(sizes) == len(emulator.job_list_body(project_id))


async def test_the_loop_has_a_turn_after_each_chunk() -> None:
    """While a long list is sent, nothing else in the loop waits for more than one chunk."""
    async with Emulator(jobs_per_project=500, chunk_bytes=2048) as emulator:
        path = f"/projects/{emulator.project_ids[0]}/jobs"
        download = asyncio.create_task(fetch(emulator, path))
        longest, before = 0, 0
        while not download.done():
            await asyncio.sleep(0)
            if emulator.requests:
                sent = emulator.requests[0].body_bytes_sent
                longest, before = max(longest, sent - before), sent
        _, body = await download
    assert before == len(body)
    assert 0 < longest <= 2048


async def test_a_client_that_leaves_early_stops_the_making_of_jobs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a list of two million jobs only what was taken is made; leaving is no error to log."""
    async with Emulator(jobs_per_project=LONGEST) as emulator:
        url = f"{emulator.base_url}/projects/{emulator.project_ids[0]}/jobs"
        async with session_of(emulator) as session, session.get(url) as response:
            await response.content.readany()
            response.close()
            (record,) = emulator.requests
            await end_of(record)
    assert not record.complete
    assert 0 < record.body_bytes_sent < 1_000_000
    assert caplog.records == []


async def test_a_client_that_stops_reading_stops_the_sending() -> None:
    """A client that reads nothing more brings the server to rest once the sockets are full."""
    async with Emulator(jobs_per_project=LONGEST) as emulator:
        url = f"{emulator.base_url}/projects/{emulator.project_ids[0]}/jobs"
        async with session_of(emulator) as session, session.get(url) as response:
            await response.content.readany()
            (record,) = emulator.requests
            await rest_of(record)
            # How much sockets hold is the system's choice, some tens of MiB at most: of 1.7 GB.
            assert 0 < record.body_bytes_sent < 64 * 2**20
            assert not record.ended


async def test_requests_are_recorded_in_order() -> None:
    """Each record has method, path with query, status and the bytes of a complete body."""
    async with Emulator(jobs_per_project=40) as emulator:
        (project_id,) = emulator.project_ids
        path = f"/projects/{project_id}/jobs?a=b%20c"
        _, listed = await fetch(emulator, path)
        _, refused = await fetch(emulator, "/projects", "DELETE")
        assert emulator.requests == [
            RequestRecord(
                method="GET",
                path="/api/open/v1" + path,
                request_id="req_00000001",
                status=200,
                body_bytes_sent=len(listed),
                complete=True,
                ended=True,
            ),
            RequestRecord(
                method="DELETE",
                path="/api/open/v1/projects",
                request_id="req_00000002",
                status=405,
                body_bytes_sent=len(refused),
                complete=True,
                ended=True,
            ),
        ]


# Its life


async def test_leaving_drops_the_connections_that_clients_hold() -> None:
    """Idle and half-read connections do not hold up the end: the server is gone, with all it had.

    Of the half-read answer nothing more is sent, so no socket waits for its client to read.
    """
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(10), session_of(Emulator()) as session:
        async with Emulator(jobs_per_project=LONGEST) as emulator:
            port = URL(emulator.base_url).port
            async with session.get(f"{emulator.base_url}/projects") as idle:
                await idle.read()
            url = f"{emulator.base_url}/projects/{emulator.project_ids[0]}/jobs"
            half_read = await session.get(url)
            await half_read.content.readany()
            await rest_of(emulator.requests[1])
            assert port in own_ports()
        assert port not in own_ports()
        assert asyncio.all_tasks() == tasks
        assert [record.complete for record in emulator.requests] == [True, False]
        assert emulator.requests[1].ended
        with pytest.raises(aiohttp.ClientError):
            await half_read.read()
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)


async def test_it_can_be_entered_again() -> None:
    """After it was left, an emulator serves the same data once more, and goes on recording."""
    emulator = Emulator(jobs_per_project=2)
    async with emulator:
        first = await fetch_json(emulator, "/projects")
    async with emulator:
        assert await fetch_json(emulator, "/projects") == first
    assert [record.request_id for record in emulator.requests] == ["req_00000001", "req_00000002"]


async def test_it_is_not_entered_twice_at_once() -> None:
    """Entering a serving emulator raises and leaves it serving."""
    async with Emulator() as emulator:
        with pytest.raises(RuntimeError, match="already"):
            await emulator.__aenter__()
        assert await fetch_json(emulator, "/projects")


async def test_there_is_an_address_only_while_it_serves() -> None:
    """`base_url` names loopback and the port, and raises before and afterwards."""
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="async with"):
        _ = emulator.base_url
    async with emulator:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/open/v1", emulator.base_url)
    with pytest.raises(RuntimeError, match="async with"):
        _ = emulator.base_url


async def test_a_given_port_is_used_and_must_be_free() -> None:
    """The port can be chosen; one that is taken raises `OSError`, and leaving frees it."""
    async with Emulator() as emulator:
        port = URL(emulator.base_url).port
        assert port is not None
        with pytest.raises(OSError, match="in use"):
            await Emulator(port=port).__aenter__()
    async with Emulator(port=port) as second:
        assert URL(second.base_url).port == port


async def test_its_repr_shows_the_address_but_not_the_key() -> None:
    """The `repr` is for logs: it has the address and no key."""
    emulator = Emulator(projects=2)
    assert repr(emulator) == "<Emulator of 2 projects, not serving>"
    async with emulator:
        assert repr(emulator) == f"<Emulator of 2 projects, {emulator.base_url}>"
    assert re.fullmatch("pgk_live_[0-9a-f]{32}", emulator.api_key)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("projects", -1), ("jobs_per_project", -1), ("jobs_per_project", LONGEST + 1)),
        *(("chunk_bytes", 0), ("port", -1), ("port", 65536)),
    ],
)
def test_a_number_out_of_range_is_refused(option: str, value: int) -> None:
    """A count, size or port that makes no sense is a `ValueError` that names it."""
    options: Any = {option: value}
    with pytest.raises(ValueError, match=rf"^{option} must be at (least|most) \d+, not {value}$"):
        Emulator(**options)


async def test_an_organisation_may_be_empty() -> None:
    """Without projects the list is empty and every id unknown."""
    async with Emulator(projects=0) as emulator:
        assert await fetch_json(emulator, "/projects") == {"projects": []}
        with pytest.raises(UnknownId):
            emulator.job(next(all_jobs(Emulator(jobs_per_project=1)))["id"])
