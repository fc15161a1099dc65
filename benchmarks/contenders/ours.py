"""This library: the response becomes jobs while it arrives."""

from collections.abc import Sequence

from benchmarks._measure import Tally, main
from benchmarks.contenders import IN_FLIGHT
from plangrep_async import AsyncPlangrep


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    async with AsyncPlangrep("pgk_bench", base_url=base_url) as client:
        await tally.add_stream(client.list_jobs(project_id))


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    async with (
        AsyncPlangrep("pgk_bench", base_url=base_url, max_concurrency=IN_FLIGHT) as client,
        client.list_jobs_many(project_ids) as jobs,
    ):
        await tally.add_stream(jobs)


if __name__ == "__main__":
    main(stream, bulk)
