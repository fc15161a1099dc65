"""All questions, or one of them, with tables, figures and charts; or the guard.

    python -m benchmarks [stream|bulk|structure|latency|guard] [--quick] [--json FILE]
                         [--results DIRECTORY]

Each question's tables (`.txt`), figures (`.json`) and charts (`.svg`) are written into a directory,
`benchmarks/results` if no other is given; all tables are printed, too. The guard writes and charts
nothing: its exit code is 1 when a limit of `_guard` is broken. It is short by itself, and `--quick`
does not change it.

`--quick` shows in a few minutes that everything works. Its ratios are too noisy to quote, and fixed
costs, such as making a client, weigh more in it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from benchmarks import _command
from benchmarks._bench import QUICK, Bench, Scale
from benchmarks._data import Library
from benchmarks._guard import measure_guard
from benchmarks.contenders import OTHERS
from benchmarks.questions import Answer, bulk, latency, stream, structure

QUESTIONS: dict[str, Callable[[Bench], Answer]] = {
    "stream": stream.ask,
    "bulk": bulk.ask,
    "structure": structure.ask,
    "latency": latency.ask,
}
GUARD = Scale(pairs=5)  # a minute in all
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(_scale(options), Library(Path(directory)))
        if options.question == "guard":
            found = _command.measured(lambda: measure_guard(bench))
            figures = None if found is None else attrs.asdict(found)
            exit_code = 0 if found is not None and found.holds else 1
        else:
            names = [options.question] if options.question else list(QUESTIONS)
            figures = _answers(bench, names, options.results)
            exit_code = 0 if figures is not None else 1
    if figures is not None and options.json is not None:
        _command.write(options.json, figures)
    return exit_code


def _answers(bench: Bench, names: Sequence[str], directory: Path) -> dict[str, Any] | None:
    """Answer the questions; return the figures of each, or nothing when one has no answer."""
    figures = {}
    for name in names:
        answer = _command.measured(partial(QUESTIONS[name], bench))
        if answer is None:
            return None
        print()
        figures[name] = attrs.asdict(answer)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.txt").write_text(f"{answer}\n")
        _command.write(directory / f"{name}.json", figures[name])
        for file, chart in answer.charts().items():
            (directory / file).write_text(chart)
    return figures


def _scale(options: argparse.Namespace) -> Scale:
    short = QUICK if options.quick else Scale()
    scale = GUARD if options.question == "guard" else short
    given = {name: getattr(options, name) for name in attrs.fields_dict(Scale)}
    return attrs.evolve(scale, **{name: value for name, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    parser = _command.parser("benchmarks", quick="much less of everything, to see that it works")
    number = _command.positive
    parser.add_argument("question", nargs="?", choices=[*QUESTIONS, "guard"], help="all if none")
    parser.add_argument("--results", type=Path, metavar="DIRECTORY", default=RESULTS)
    parser.add_argument("--jobs", type=number, metavar="N", help="in one list (50,000)")
    parser.add_argument("--pairs", type=number, metavar="K", help="adjacent pairs a contender (7)")
    parser.add_argument("--projects", type=number, metavar="N", help="that bulk reads (500)")
    parser.add_argument("--jobs-each", type=number, metavar="N", help="in each of those (200)")
    parser.add_argument(
        "--others", nargs="+", metavar="NAME", choices=OTHERS, help="beside ours (all)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
