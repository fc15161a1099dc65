"""The processes of a benchmark: started clean, timed out, and ended by their own process id.

A child gets the few environment variables that decide which Python it is, and none that change
how Python or a library behaves (development mode, proxies, keys).
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks._data import Document
from benchmarks._measure import Sample

_ROOT = Path(__file__).parent.parent
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_START_SECONDS = 30.0


class ChildFailed(Exception):
    """Raised when a contender ended badly, said nothing usable or took too long."""


class TotalsMismatch(Exception):
    """Raised when a contender's totals are not the document's: its speed means nothing then."""


@contextlib.contextmanager
def serving(document: Document, warm_up: Document) -> Iterator[int]:
    """Serve the document from a child process; the value is its port."""
    arguments = ["benchmarks._server", str(document.path), str(warm_up.path)]
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=_ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    starting = threading.Timer(_START_SECONDS, process.kill)
    with process:  # closes the pipes and waits
        try:
            starting.start()
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise ChildFailed("the server did not start")
            starting.cancel()
            yield int(port)
        finally:
            starting.cancel()
            process.kill()  # it holds nothing that needs an orderly end


def run_contender(
    name: str,
    port: int,
    document: Document,
    *,
    projects: int | None = None,
    timeout: float = 300.0,
) -> Sample:
    """Run one contender once against the server, in a new process, and check its totals.

    It reads one project as a stream, or as many as `projects` says, each with that document.
    `timeout` is in seconds and covers the whole process. Raises `ChildFailed` or `TotalsMismatch`.
    """
    command = [sys.executable, "-m", f"benchmarks.contenders.{name}", str(port)]
    if projects is not None:
        command.append(str(projects))
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"{name} was not done after {timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ChildFailed(f"{name} ended with {error.returncode}:\n{error.stderr}") from None
    try:
        sample = Sample.from_json(json.loads(done.stdout))
    except (ValueError, TypeError, KeyError):
        raise ChildFailed(f"{name} printed no sample, but {done.stdout[:200]!r}") from None
    expected = document.totals * (1 if projects is None else projects)
    if sample.totals != expected:
        raise TotalsMismatch(f"{name} counted {sample.totals}, but written were {expected}")
    return sample


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
