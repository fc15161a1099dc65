"""The documented Plangrep API on 127.0.0.1: a test double that holds a made-up organisation.

    async with Emulator(projects=3, jobs_per_project=200) as emulator:
        async with AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client:
            jobs = [job async for job in client.list_jobs(emulator.project_ids[0])]
        assert emulator.requests[-1].complete

Where there is no event loop, `with Emulator(…)` serves from a thread of its own.

It can be as strict and as broken as a real service, from the start or at any time later:

    emulator.limits = Limits(requests_per_second=50, max_concurrency=8, latency=0.02)
    emulator.project_limits[project_id] = Limits(requests_per_second=2, retry_after="date")
    emulator.faults[project_id] = [Fault(status=503, times=2), Fault(cut_after_bytes=10_000)]

Nothing changes by itself, but a test can let jobs begin, move on, a status at a time, and vanish:

    job_id = emulator.add_job(project_id)["id"]
    emulator.advance(job_id)
    emulator.remove_job(job_id)

`Limits` refuse with 429 and 503 what is too much, for the organisation and for single projects.
`Fault`s befall the next requests for a project's jobs, in order; then the project is healthy. What
came of it is in `emulator.requests` and `emulator.most_in_flight`.

It is an independent oracle: its JSON is written from the API's documentation, and it
shares no code with the client. What the documentation leaves open (the codes of errors, the order
of projects, the statuses of files, the shape of a job's error, the 404 for the result of a job that
has none) is plausible here, not promised.
"""

from ._data import UnknownId
from ._faults import Fault
from ._limits import Limits
from ._record import RequestRecord
from ._server import Emulator

__all__ = ["Emulator", "Fault", "Limits", "RequestRecord", "UnknownId"]
