"""This library: the response becomes jobs while it arrives."""

from collections.abc import Iterable, Sequence
from itertools import chain

from benchmarks._measure import Tally, main
from benchmarks.contenders import API_KEY, IN_FLIGHT
from plangrep_async import AsyncPlangrep, Job
from plangrep_async._elements import array_decoder
from plangrep_async.converter import InvalidElement, make_converter

decode = array_decoder(make_converter(), Job)


def structure(array: bytes) -> Iterable[Job | InvalidElement]:
    """Make jobs of a JSON array."""
    return chain.from_iterable(decode(array))


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    async with AsyncPlangrep(API_KEY, base_url=base_url) as client:
        await tally.add_stream(client.list_jobs(project_id))


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with (
        AsyncPlangrep(API_KEY, base_url=base_url, max_concurrency=IN_FLIGHT) as client,
        client.list_jobs_many(project_ids) as jobs,
    ):
        await tally.add_stream(jobs)


if __name__ == "__main__":
    main(stream, bulk)
