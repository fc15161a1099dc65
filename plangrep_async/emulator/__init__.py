"""The documented Plangrep API on 127.0.0.1: a test double that holds a made-up organisation.

    async with Emulator(projects=3, jobs_per_project=200) as emulator:
        async with AsyncPlangrep(emulator.api_key, base_url=emulator.base_url) as client:
            jobs = [job async for job in client.list_jobs(emulator.project_ids[0])]
        assert emulator.requests[-1].complete

It is an independent oracle: its JSON is written from the API's documentation, and it
shares no code with the client. What the documentation leaves open (the codes of errors, the order
of projects, the statuses of files, the shape of a job's error) is plausible here, not promised.
"""

from ._data import UnknownId
from ._server import Emulator, RequestRecord

__all__ = ["Emulator", "RequestRecord", "UnknownId"]
