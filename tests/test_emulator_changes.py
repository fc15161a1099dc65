"""The emulator's jobs can begin and vanish, as those of a real service do."""

import json

import pytest

from plangrep_async.emulator import Emulator, UnknownId
from tests.test_emulator import JOB_FIELDS, fetch, moment


async def test_a_job_that_was_added_is_served_as_the_newest() -> None:
    """In the list, by its own endpoint, and moved on like any other."""
    async with Emulator(projects=2, jobs_per_project=5) as emulator:
        project, other = emulator.project_ids
        before = list(emulator.jobs(project))
        first = emulator.add_job(project)
        second = emulator.add_job(project, later=0.001)
        assert list(emulator.jobs(project)) == [second, first, *before]
        assert len(list(emulator.jobs(other))) == 5
        assert list(first) == JOB_FIELDS
        assert first["status"] == second["status"] == "provisioning"
        assert (moment(second["createdAt"]) - moment(first["createdAt"])).total_seconds() == 0.001
        assert moment(first["createdAt"]) > moment(before[0]["createdAt"])
        moved = emulator.advance(first["id"], "completed")
        _, body = await fetch(emulator, f"/projects/{project}/jobs")
        assert json.loads(body) == {"jobs": [second, moved, *before]}
        _, body = await fetch(emulator, f"/jobs/{first['id']}")
        assert json.loads(body) == {"job": moved}


def test_jobs_may_share_a_time() -> None:
    """With no time between them, two added jobs have one `createdAt`, and ids of their own."""
    emulator = Emulator(jobs_per_project=0)
    (project,) = emulator.project_ids
    jobs = [emulator.add_job(project, later=0.0) for _ in range(50)]
    assert len({job["id"] for job in jobs}) == 50
    assert len({job["createdAt"] for job in jobs}) == 1
    assert list(emulator.jobs(project)) == jobs[::-1]


async def test_a_job_that_was_removed_is_nowhere() -> None:
    """Whether it was there from the start, was moved on or was added, it is found no more."""
    async with Emulator(jobs_per_project=6) as emulator:
        (project,) = emulator.project_ids
        made = next(job for job in emulator.jobs(project) if job["completedAt"])
        moved = next(job for job in emulator.jobs(project) if not job["completedAt"])
        emulator.advance(moved["id"])
        added = emulator.add_job(project)
        kept = emulator.add_job(project)
        for job in (made, moved, added):
            emulator.remove_job(job["id"])
            assert job["id"] not in [one["id"] for one in emulator.jobs(project)]
            response, _ = await fetch(emulator, f"/jobs/{job['id']}")
            assert response.status == 404
            with pytest.raises(UnknownId):
                emulator.remove_job(job["id"])
        assert len(list(emulator.jobs(project))) == 5
        again = emulator.add_job(project)
        assert next(emulator.jobs(project)) == again
        assert again["id"] not in {added["id"], kept["id"]}
        assert moment(again["createdAt"]) > moment(kept["createdAt"])


def test_what_cannot_be_added() -> None:
    """A job of no project, or one from the past."""
    emulator = Emulator()
    with pytest.raises(UnknownId):
        emulator.add_job("proj_x")
    with pytest.raises(ValueError, match="later must be at least 0"):
        emulator.add_job(emulator.project_ids[0], later=-1.0)
