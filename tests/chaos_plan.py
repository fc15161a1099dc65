"""What the streams of the chaos run shall meet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.chaos_story import BROKEN
from tests.toxic_proxy import Toxic

MOST_JOBS = 5_000

_LEAST_JOB_BYTES = 600  # about


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one stream shall meet, drawn from the seed and its number alone."""

    number: int
    name: str  # the seed of all that is drawn later on
    jobs: int
    job_bytes: int  # at most so many more than the least
    tie: float  # how likely a job has the very time of the one before
    patience: int  # attempts
    is_compressed: bool
    framing: Literal["chunked", "length"]
    toxics: Sequence[Toxic]  # one per connection
    refusals: Mapping[int, int]  # the statuses to give, by the number of the request
    pause: float | None  # of the consumer, now and then; None: it never waits
    changes: float  # how likely each kind of change is between two responses


def draw_plan(seed: int, number: int) -> Plan:
    """Draw what stream `number` of a run shall meet."""
    random = Random(f"{seed}/{number}")
    sizes: list[tuple[float, int, int]] = [
        (0.03, 0, 0),
        (0.22, 1, 30),
        (0.35, 30, 300),
        (0.30, 300, 1_500),
        (0.08, 1_500, MOST_JOBS),
        (0.02, MOST_JOBS, MOST_JOBS),
    ]
    _, least, most = random.choices(sizes, [share for share, *_ in sizes])[0]
    jobs = random.randint(least, most)
    job_bytes = random.choice([0, 100, 1_000, 4_000 if jobs < 1_500 else 1_000])
    is_compressed = random.random() < 0.25
    body_bytes = 20 + jobs * (_LEAST_JOB_BYTES + job_bytes // 2) // (8 if is_compressed else 1)
    kinds = random.choices(["toxic", "refusal"], [4, 1], k=random.randint(0, 5))
    return Plan(
        number=number,
        name=f"{seed}/{number}",
        jobs=jobs,
        job_bytes=job_bytes,
        tie=random.choice([0.0, 0.05, 0.3, 0.3, 0.3, 0.98, 0.98, 1.0]),
        patience=random.choice([5, 5, 5, 5, 3, 2]),
        is_compressed=is_compressed,
        framing=random.choice(["chunked", "length"]),
        toxics=[_draw_toxic(random, body_bytes) for kind in kinds if kind == "toxic"],
        refusals={
            request: random.choice([429, 503])
            for request in random.sample(range(5), kinds.count("refusal"))
        },
        pause=random.choice([None, None, None, 0.0, 0.001]),
        changes=random.choice([0.0, 0.2, 0.5]),
    )


def _draw_toxic(random: Random, body_bytes: int) -> Toxic:
    end = random.choice([None, *BROKEN, *BROKEN])
    after = random.choice([0, random.randrange(400), *random.choices(range(body_bytes), k=4)])
    is_slow = end is None or random.random() < 0.3
    slow = random.choice(["slice", "latency", "rate"]) if is_slow else None
    # As slow as is felt, and as fast as a thousand streams in a minute demand.
    return Toxic(
        end=end,
        after_bytes=after if end else 0,
        slice_bytes=random.randint(1, 200) + body_bytes // 1_000 if slow == "slice" else None,
        latency=random.uniform(0.0005, 0.003) if slow == "latency" else 0.0,
        bytes_per_second=50_000.0 + body_bytes * 4 if slow == "rate" else math.inf,
    )
