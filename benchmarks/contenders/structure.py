"""The bytes of a list to objects, with no network: `structure` of the contender of that name.

`python -m benchmarks.contenders.structure NAME FILE` prints the seconds that all jobs of the file
took: the median of some rounds, after one that does not count. Each round's objects are gone before
the next one begins.
"""

import importlib
import json
import statistics
import sys
import time
from pathlib import Path

import attrs

from benchmarks._measure import Tally

_ROUNDS = 3  # at least
_SECONDS = 0.5  # at least, so that a round of few jobs is not one moment's luck


def main(name: str, file: str) -> None:
    """Measure and print one line."""
    structure = importlib.import_module(f"benchmarks.contenders.{name}").structure
    document = Path(file).read_bytes()
    array = document[document.index(b"[") : document.rindex(b"]") + 1]
    tally = Tally()
    tally.add_all(structure(array))
    rounds: list[float] = []
    while len(rounds) < _ROUNDS or sum(rounds) < _SECONDS:
        start = time.perf_counter()
        jobs = list(structure(array))
        rounds.append(time.perf_counter() - start)
        del jobs
    seconds = statistics.median(rounds)
    print(json.dumps({"totals": attrs.asdict(tally.totals), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
