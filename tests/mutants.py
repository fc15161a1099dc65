"""Proof that the tests of the faults can fail: `python -m tests.mutants`.

Each mutant is the package with one cure switched off. The tests that carry its rows of the matrix
run against a copy of it, and the command prints which of them went red. It fails where none did,
or where a mutant's text is not to be found any more, once exactly.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import plangrep_async
from tests.cures import MUTANTS, Mutant
from tests.matrix import collect

ROOT = Path(__file__).parent.parent
PACKAGE = Path(plangrep_async.__file__).parent
COPIED = (
    PACKAGE,
    *(ROOT / name for name in ("tests", "benchmarks", "pyproject.toml", "README.md")),
)

# One test that hangs without its cure must not hold up the others.
OPTIONS = ("-q", "--no-header", "-p", "no:cacheprovider", "-o", "timeout=10", "-rfE", "--tb=no")


def mutate(mutant: Mutant, package: Path) -> None:
    """Switch the cure off in a copy of the package."""
    file = package / mutant.file
    code = file.read_text()
    if code.count(mutant.text) != 1:
        raise LookupError(f"{mutant.cure}: its text is not once in {mutant.file}")
    file.write_text(code.replace(mutant.text, mutant.instead))


def red_tests(mutant: Mutant, tests: Sequence[str]) -> list[str]:
    """Run these tests against the mutant; give the names of those that fail."""
    with tempfile.TemporaryDirectory() as folder:
        for path in COPIED:
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, Path(folder, path.name))
        mutate(mutant, Path(folder, "plangrep_async"))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, *tests],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{mutant.cure}: {done.stdout}{done.stderr}")
    return sorted(
        set(re.findall(r"^(?:FAILED|ERROR) (\S+?)(?:\[|\s|$)", done.stdout, re.MULTILINE))
    )


def main() -> int:
    """Print each mutant and the tests that went red; give the number that none noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with one of these in their cure")
    words = parser.parse_args().words
    chosen = [mutant for mutant in MUTANTS if not words or any(w in mutant.cure for w in words)]
    rows = collect()
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = []
        for mutant in chosen:
            tests = sorted({test for row in mutant.rows.split() for test in rows.get(row, [])})
            runs.append(pool.submit(partial(red_tests, mutant, tests)) if tests else None)
        for mutant, run in zip(chosen, runs, strict=True):
            red = run.result() if run else []
            print(f"{mutant.cure} ({mutant.rows}): {f'{len(red)} red' if red else 'STAYS GREEN'}")
            for test in red:
                print(f"    {test.removeprefix('tests/')}", flush=True)
            survivors += not red
    print(f"\n{len(chosen)} cures switched off, {survivors} unnoticed")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
