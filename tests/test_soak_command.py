"""`python -m tests.soak`, in short, and that it can find something."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests import soak
from tests.faults.moody import Sample

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_short_soak_leaves_nothing_behind() -> None:
    """A thousand requests, a fifth of them with a fault, leave nothing; the exit code says so."""
    command = [sys.executable, "-m", "tests.soak", "--requests", "1000"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert rows == ["warm", "middle", "end", "faults", "projects", "seconds", "findings"]


@pytest.mark.parametrize("what", ["sockets", "tasks", "descriptors", "resident_bytes"])
def test_more_than_there_was_is_a_finding(what: str) -> None:
    """Each figure that has grown is a finding, and one that has not is none."""
    warm = Sample(sockets=1, descriptors=9, tasks=1, resident_bytes=50 << 20, objects=100_000)
    more = attrs.evolve(warm, **{what: getattr(warm, what) + soak.MOST_BYTES + 1})
    assert soak.left(warm, warm) == []
    assert len(soak.left(warm, more)) == 1
    assert soak.left(more, warm) == []


def test_a_finding_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 1 when something was found."""

    async def found(*_: object) -> list[str]:
        return ["tasks: +1"]

    monkeypatch.setattr(soak, "soak", found)
    assert soak.main(["--requests", "100"]) == 1
