"""One module per contender: `python -m benchmarks.contenders.NAME PORT [PROJECTS]` prints figures.

`stream` reads one project, `bulk` many of them. Where the bytes become objects in one call that
needs no network, `structure` is that call: from a JSON array to its jobs.

Each is what a competent user of its libraries would write, with their defaults unless its docstring
says otherwise, and ends with every job as a typed object with the same attributes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

IN_FLIGHT = 32  # requests of `bulk` at any time
API_KEY = "pgk_bench"
HEADERS = {"Authorization": f"Bearer {API_KEY}", "Accept": "application/json"}

OURS = "ours"

_DISTRIBUTIONS = {  # those whose versions the figures depend on
    OURS: ("aiohttp", "msgspec", "cattrs"),
    "limit": ("aiohttp", "msgspec"),
    "aiohttp_json_cattrs": ("aiohttp", "cattrs"),
    "aiohttp_orjson_cattrs": ("aiohttp", "orjson", "cattrs"),
    "aiohttp_ijson_cattrs": ("aiohttp", "ijson", "cattrs"),
    "httpx_pydantic": ("httpx", "pydantic"),
    "openai_httpx": ("openai", "pydantic"),
    "openai_aiohttp": ("openai", "pydantic", "aiohttp"),
}
OTHERS = tuple(name for name in _DISTRIBUTIONS if name != OURS)


def distributions(others: Iterable[str]) -> tuple[str, ...]:
    """Return the distributions behind ours and these contenders, each once."""
    return tuple(dict.fromkeys(name for who in (OURS, *others) for name in _DISTRIBUTIONS[who]))


async def gather(read: Callable[[str], Awaitable[None]], project_ids: Iterable[str]) -> None:
    """Read the projects as one would without a library for it, `IN_FLIGHT` at a time."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def read_in_turn(project_id: str) -> None:
        async with free:
            await read(project_id)

    await asyncio.gather(*map(read_in_turn, project_ids))
