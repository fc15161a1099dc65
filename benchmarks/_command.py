"""What the command lines of the benchmarks have in common."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from benchmarks._processes import ChildFailed, TotalsMismatch


def parser(name: str, *, quick: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has; `quick` says what that means."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
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
    try:
        found = measure()
    except (ChildFailed, TotalsMismatch) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(found)
    if file is not None:
        file.write_text(json.dumps(attrs.asdict(found), indent=2) + "\n")
    return 0
