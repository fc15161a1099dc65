"""What the command lines of the benchmarks have in common."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from benchmarks._processes import ChildFailed, TotalsMismatch

T = TypeVar("T")


def parser(name: str, *, quick: str) -> argparse.ArgumentParser:
    """Return a parser for a module, with the options that every benchmark has.

    `quick` says what the short form is.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser


def positive(text: str) -> int:
    """Read an option's number, which must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def report(measure: Callable[[], Any], file: Path | None) -> int:
    """Print what was measured, and write it as JSON where there is a file; return the exit code."""
    found = measured(measure)
    if found is None:
        return 1
    if file is not None:
        write(file, attrs.asdict(found))
    return 0


def measured(measure: Callable[[], T]) -> T | None:
    """Print what was measured and return it, or print why it could not be and return nothing."""
    try:
        found = measure()
    except (ChildFailed, TotalsMismatch) as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    print(found, flush=True)
    return found


def write(file: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON."""
    file.write_text(json.dumps(figures, indent=2) + "\n")
