"""What the streams of a chaos run came to, all together."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos_plan import MOST_JOBS
from tests.chaos_server import Stream
from tests.chaos_story import BROKEN, check
from tests.toxic_proxy import ToxicProxy

LEAST_HELD = 0.9  # of the jobs whose bytes had been read before a cut
MOST_EARLY = 0.01  # of the streams with fewer faults than attempts


@dataclass(slots=True)
class Totals:
    """The sums over all streams, and what was found."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # of the streams that gave up, by class
    reasons: Counter[str] = field(default_factory=Counter)  # of the same
    faults: Counter[str] = field(default_factory=Counter)  # that took effect
    failures: Counter[str] = field(default_factory=Counter)  # of attempts
    cuts: dict[str, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    findings: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)  # in the process, when all was closed
    seconds: float = 0.0

    def add(self, stream: Stream, proxy: ToxicProxy) -> None:
        """Add up one stream that has come to its end, and check it."""
        story, failures = stream.story, stream.story.failures()
        self.find(stream, check(story))
        if stream.requests > len(story.attempts):
            sent = f"requests: {stream.requests} for {len(story.attempts)} attempts"
            self.find(stream, [sent])
        self.failures.update(failures)
        self.faults.update(stream.refused)
        for link in proxy.links:
            self.faults.update(str(link.toxic.end) if e == "end" else e for e in link.effects)
        for kind, read, held in story.held():
            self.cuts[kind].append((read, held, stream.plan.number))
        is_calm = len(failures) - failures.count("removed") < story.patience
        self.counts.update(stream.jobs.counts)
        self.counts.update(
            streams=1,
            longest=stream.plan.jobs == MOST_JOBS,
            jobs=len(story.got),
            requests=stream.requests,
            bytes=proxy.bytes_forwarded,
            calm=is_calm,
        )
        self.counts.update(story.strangers())
        if story.error is None:
            self.counts.update(whole=1, taken=proxy.bytes_forwarded, needed=stream.whole_bytes)
            return
        self.errors[type(story.error).__name__] += 1
        self.reasons[story.reason] += 1
        self.counts["early"] += is_calm and story.reason != "removed"

    def find(self, stream: Stream, findings: list[str]) -> None:
        """Note what is wrong with one stream, and how to see it again."""
        again = self._again(stream.plan.number)
        self.findings += [f"{finding}  ({again})" for finding in findings]

    def finish(self) -> None:
        """Judge the sums."""
        self.findings += [f"left behind: {n} {what}" for what, n in self.left.items() if n]
        for kind in BROKEN:
            read, held = self.held(kind)
            if held < LEAST_HELD * read:
                worst = max(self.cuts[kind], key=lambda cut: cut[0] - cut[1])[2]
                again = f"the worst: {self._again(worst)}"
                self.findings.append(f"held: {held} of {read} jobs before a {kind}, {again}")
        if self.counts["early"] > MOST_EARLY * self.counts["calm"]:
            self.findings.append(
                f"gave up: {self.counts['early']} of {self.counts['calm']} streams"
            )

    def _again(self, number: int) -> str:
        return f"--seed {self.seed} --only {number}"

    def held(self, kind: str) -> tuple[int, int]:
        """Give the new jobs that had been read before such cuts, and those of them held."""
        cuts = self.cuts[kind]
        return sum(read for read, *_ in cuts), sum(held for _, held, _ in cuts)

    def lines(self) -> Iterator[str]:
        """Give the report."""
        count, gave_up = self.counts, sum(self.errors.values())
        yield _line("seed", self.seed)
        yield _line("streams", count["streams"], f"{count['longest']} of {MOST_JOBS:,} jobs")
        yield _line("completed", count["whole"])
        yield _line("gave up", gave_up, _list(self.errors))
        yield _line("  by reason", gave_up, _list(self.reasons))
        calm = f"of {count['calm']:,} streams; removals aside"
        yield _line("  fewer faults than tries", count["early"], calm)
        yield _line("faults that took effect", sum(self.faults.values()), _list(self.faults))
        yield _line("attempts that failed", sum(self.failures.values()), _list(self.failures))
        yield _line("requests", count["requests"])
        changes = {name: count[name] for name in ("births", "removals", "changes", "stale")}
        yield _line("changes of lists", sum(changes.values()), _list(changes))
        twins = f"{count['twin']} born in the millisecond of a cut"
        yield _line(
            "jobs delivered", count["jobs"], f"{twins}, {count['revived']} from stale lists"
        )
        for kind in BROKEN:
            read, held = self.held(kind)
            shares = [held / read for read, held, _ in self.cuts[kind] if read]
            median = _share(statistics.median(shares or [0]))
            facts = f"of {read:,} new jobs that were read, in {len(shares)} cuts, median {median}"
            yield _line(f"held before a {kind}", _share(held / max(read, 1)), facts)
        again = count["taken"] / max(count["needed"], 1) - 1
        yield _line("downloaded", f"{count['bytes'] / 1e6:,.1f} MB", "all streams")
        yield _line(
            "downloaded again", _share(again), "of the size of the lists, completed streams"
        )
        yield _line("left behind", sum(self.left.values()), _list(self.left))
        yield _line("seconds", f"{self.seconds:.1f}")
        yield _line("findings", len(self.findings))
        yield from (f"  {finding}" for finding in self.findings)


def _line(label: str, figure: object, facts: str = "") -> str:
    shown = f"{figure:,}" if isinstance(figure, int) else str(figure)
    return f"{label:26}{shown:>10}   {facts}".rstrip()


def _share(share: float) -> str:
    return f"{share:.1%}"


def _list(counts: "Counter[str] | dict[str, int]") -> str:
    parts = sorted(counts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {number:,}" for name, number in parts)
