"""For a service of your own that passes jobs on over HTTP, whatever its framework is.

    answer = http_answer(error)                  # what a visitor gets for one of our errors
    public_json(job)                             # a job as the API has it, without its resultUrl
    async with NdjsonStream(client.list_jobs(project_id)) as lines:
        async for data in lines: ...             # many jobs, no faster than they are sent on

The README shows all of it in a FastAPI service. Nothing here knows a framework.
"""

from plangrep_async.service._answers import HttpAnswer, http_answer
from plangrep_async.service._ndjson import NdjsonStream, public_json

__all__ = ["HttpAnswer", "NdjsonStream", "http_answer", "public_json"]
