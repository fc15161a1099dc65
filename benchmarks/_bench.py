"""What the questions share: how large everything is, the documents, and each report made once."""

import attrs

from benchmarks._data import Library, Spec
from benchmarks._report import Report
from benchmarks.bench_stream import measure_stream
from benchmarks.contenders import OTHERS


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured; the defaults are what figures should be quoted from."""

    jobs: int = 50_000
    """Jobs in one project's list, where a question is not about sizes."""
    pairs: int = 7
    projects: int = 500
    """How many projects `bulk` reads."""
    jobs_each: int = 200
    """Jobs in the list of each of those."""
    others: tuple[str, ...] = attrs.field(default=OTHERS, converter=tuple)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Jobs in the lists that show what the size changes, for every contender."""
        return (*(size for size in (20, 2_000) if size < self.jobs), self.jobs)

    @property
    def own_sizes(self) -> tuple[int, ...]:
        """The same for ours alone, which must not depend on it: one more, ten times as large."""
        return (*self.sizes, 10 * self.jobs)


QUICK = Scale(jobs=2_000, pairs=2, projects=40, jobs_each=50)


class Bench:
    """One run of the benchmarks."""

    def __init__(self, scale: Scale, library: Library) -> None:
        self.scale = scale
        self.library = library
        self._reports: dict[Spec, Report] = {}

    def report(self, spec: Spec) -> Report:
        """Return the report on ours beside all others, measured when it is first asked for."""
        if spec not in self._reports:
            self._reports[spec] = measure_stream(
                spec, pairs=self.scale.pairs, library=self.library, others=self.scale.others
            )
        return self._reports[spec]
