"""This library: the response becomes jobs while it arrives."""

from benchmarks._measure import Tally, main
from plangrep_async import AsyncPlangrep


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    async with AsyncPlangrep("pgk_bench", base_url=base_url) as client:
        await tally.add_stream(client.list_jobs(project_id))


if __name__ == "__main__":
    main(stream)
