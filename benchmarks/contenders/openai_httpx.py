"""The generic `get` of a generated SDK with its default transport, which is of httpx's family."""

from collections.abc import Sequence

from openai import AsyncOpenAI

from benchmarks._measure import Tally, main
from benchmarks.contenders._openai_sdk import options, read_all


async def stream(base_url: str, project_id: str, tally: Tally) -> None:
    """Add up one project's jobs."""
    await bulk(base_url, [project_id], tally)


async def bulk(base_url: str, project_ids: Sequence[str], tally: Tally) -> None:
    """Add up the jobs of many projects."""
    await read_all(AsyncOpenAI(**options(base_url)), project_ids, tally)


if __name__ == "__main__":
    main(stream, bulk)
