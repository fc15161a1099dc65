"""Arbitrary bytes and damaged documents for the decoder: `python -m tests.fuzz --minutes 10`.

Each case is drawn from `--seed` and its own number; `--only N` repeats one of them. A finding is

* anything that comes out but jobs, bad elements, `InvalidResponse` and `IncompleteResponse`;
* a difference between the two lanes, or between a document whole, in pieces and byte by byte;
* a document that `json` takes and whose jobs are not those that the converter makes of it;
* one that `json` refuses and that ends normally, or that is said to end too early though no byte
  more could mend it;
* time beyond what grows with bytes, pieces and elements, and memory that grows with the cases.

The exit code is 1 if anything was found.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, takewhile
from random import Random
from typing import Any

import attrs
import psutil

from plangrep_async._elements import array_decoder
from plangrep_async._jsonarray import ArrayDecoder, Decode
from plangrep_async.converter import InvalidElement, make_converter
from plangrep_async.errors import InvalidResponse
from plangrep_async.models import Job
from tests.fuzz_cases import draw_case
from tests.fuzz_oracle import INCOMPLETE, INVALID, NORMAL, promised

Lanes = dict[str, Decode[Any]]
Decoder = Callable[..., ArrayDecoder[Any]]

_SHORT = 1 << 10  # bytes: a document that is taken byte by byte, too
_MOST_SHOWN = 20  # findings
_MOST_GROWTH = 64 << 20  # bytes of memory


class Finding(Exception):
    """Raised when the library does not do what it promises; the text says how."""


def lanes() -> Lanes:
    """Make the fast lane, and the plain one by a converter whose rules are the same."""
    plain = make_converter()
    plain.register_structure_hook(str, partial(plain.get_structure_hook(str)))
    return {"fast": array_decoder(make_converter(), Job), "plain": array_decoder(plain, Job)}


# One case.


def check(
    document: bytes, pieces: list[bytes], lanes: Lanes, decoder: Decoder = ArrayDecoder
) -> str:
    """Decode in all ways and give how all of them ended; raises `Finding`."""
    ways = {"whole": [document], "in pieces": pieces}
    if len(document) <= _SHORT:
        ways["byte by byte"] = [bytes([byte]) for byte in document]
    outcomes = {
        f"{lane} lane, {way}": _decoded(parts, decode, decoder)
        for lane, decode in lanes.items()
        for way, parts in ways.items()
    }
    (first_name, first), *others = outcomes.items()
    for name, outcome in others:
        if outcome != first:
            raise Finding(f"{_told(outcome)} ({name}), but {_told(first)} ({first_name})")
    _compare(first, promised(document))
    return first[-1]


def _decoded(parts: list[bytes], decode: Decode[Any], make: Decoder) -> list[str]:
    """All that came out, and how it ended."""
    decoder = make("jobs", decode, max_element_bytes=1 << 20)
    elements: list[Any] = []
    end = NORMAL
    began = time.process_time()
    try:
        for part in parts:
            for batch in decoder.feed(part):
                elements += batch or [None]  # which is no element, as an empty batch is no batch
        decoder.close()
    except InvalidResponse as error:
        end = type(error).__name__
        if error.__context__ is not None:
            raise Finding(f"{error!r} may show {error.__context__!r}") from error
    except Exception as error:
        raise Finding(f"{error!r} came out") from error
    took = time.process_time() - began
    size = sum(map(len, parts))
    # Generous: a slow machine is no finding, another walk over everything for each piece is one.
    if took > 0.5 + 3e-6 * size + 1e-4 * len(parts) + 3e-3 * len(elements):
        raise Finding(f"{took:.1f} s for {size} bytes in {len(parts)} pieces")
    return [*map(_seen, elements, count()), end]


def _seen(element: Any, index: int) -> str:
    """All that can be told of an element, its place in the document included."""
    if not isinstance(element, Job | InvalidElement):
        raise Finding(f"{element!r} came out")
    if isinstance(element, InvalidElement):
        element = attrs.evolve(element, index=index)  # it knows its place in the batch
    return f"{type(element).__name__} {attrs.asdict(element)}"


def _compare(outcome: list[str], promise: list[Job | None] | set[str]) -> None:
    *found, end = outcome
    if isinstance(promise, set):
        if end not in promise:
            raise Finding(f"{_told(outcome)}, but only {promise} may be")
        return
    bad = InvalidElement.__name__
    expected = [_seen(job, n) if job else bad for n, job in enumerate(promise)]
    kept = [bad if seen.startswith(bad) else seen for seen in found]
    if kept != expected or end != NORMAL:
        raise Finding(f"{_told(outcome)}, but json gives {_told([*expected, NORMAL])}")


def _told(outcome: list[str]) -> str:
    *elements, end = outcome
    return f"{end} end after {[element[:100] for element in elements]!a}"


# Many cases.


class Report:
    """What came of the cases."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.cases = 0
        self.ends = Counter({NORMAL: 0, INVALID: 0, INCOMPLETE: 0})
        self.findings: list[str] = []
        self.slowest = (0.0, 0)  # seconds of the processor, and the number of the case
        self.growth = 0  # bytes of memory, since the first cases

    def lines(self) -> Iterator[str]:
        """Give what is to be said in the end."""
        yield from self.findings[:_MOST_SHOWN]
        yield f"{self.cases} cases, {len(self.findings)} findings"
        for end, number in self.ends.items():
            yield f"{number:9}  {end}"
        yield "slowest: {:.3f} s, case {}".format(*self.slowest)
        yield f"memory: {self.growth / (1 << 20):+.1f} MiB since the first cases"


def run(
    seed: int,
    numbers: Iterable[int],
    lanes: Lanes,
    decoder: Decoder = ArrayDecoder,
    *,
    warm_up: int = 300,
) -> Report:
    """Check these cases of a seed; `warm_up` of them may take memory and keep it."""
    report = Report(seed)
    warm: int | None = None
    for number in numbers:
        document, pieces = draw_case(Random(f"{seed}/{number}"))
        began = time.process_time()
        try:
            report.ends[check(document, pieces, lanes, decoder)] += 1
        except Finding as finding:
            report.findings.append(f"--seed {seed} --only {number}: {finding}")
        report.slowest = max(report.slowest, (time.process_time() - began, number))
        report.cases += 1
        if report.cases == warm_up:
            warm = _memory()
    if warm is not None:
        report.growth = _memory() - warm
    if report.growth > _MOST_GROWTH:
        report.findings.append(f"--seed {seed}: memory grew by {report.growth} bytes")
    return report


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def main(arguments: Sequence[str] | None = None, decoder: Decoder = ArrayDecoder) -> int:
    """Run as the arguments say, print the report, and give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--only", type=int, help="the number of the one case to run")
    given = parser.parse_args(arguments)
    seed = Random().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    end = time.monotonic() + 60 * given.minutes
    in_time = takewhile(lambda _: time.monotonic() < end, count())
    report = run(seed, in_time if given.only is None else [given.only], lanes(), decoder)
    print("\n".join(report.lines()))
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
