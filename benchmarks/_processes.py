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
from typing import Any

from benchmarks._data import Document, Totals
from benchmarks._measure import Sample
from benchmarks._server import HOST
from benchmarks.contenders import API_KEY

_ROOT = Path(__file__).parent.parent
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_START_SECONDS = 30.0
_END_SECONDS = 10.0
_SUM_SECONDS = 300.0  # of an emulator that adds up all its jobs


class ChildFailed(Exception):
    """Raised when a contender ended badly, said nothing usable or took too long."""


class TotalsMismatch(Exception):
    """Raised when a contender's totals are not the document's: its speed means nothing then."""


@contextlib.contextmanager
def serving(document: Document, warm_up: Document) -> Iterator[int]:
    """Serve the document from a child process; the value is its port."""
    with _server("_server", document.path, warm_up.path) as (_, port):
        yield int(port)


@contextlib.contextmanager
def serving_for_dask(document: Document, projects: int) -> Iterator[dict[str, Any]]:
    """Serve the document as that of so many projects; the value is what `_recorded` greets with."""
    with _server("_server", document.path) as (process, port):
        yield {
            "base_url": f"http://{HOST}:{int(port)}",
            "api_key": API_KEY,
            "project_ids": [f"proj_{number}" for number in range(projects)],
            "pid": process.pid,
        }


@contextlib.contextmanager
def recorded(
    projects: int, jobs: int, rate: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Run the server of `_recorded`; the value is its greeting, and what it saw after the block."""
    seen: dict[str, Any] = {}
    with _server("_recorded", projects, jobs, rate) as (process, greeting):
        yield json.loads(greeting), seen
        with _killed_after(process, _SUM_SECONDS):
            output, _ = process.communicate()
        if not output:
            raise ChildFailed("the server did not end in order")
        seen |= json.loads(output)


@contextlib.contextmanager
def limited(
    kind: str, rate: int, projects: int, jobs: int
) -> Iterator[tuple[str, list[tuple[float, int]]]]:
    """Run a server of `_limited`; the value is its greeting, and what it saw after the block."""
    arrivals: list[tuple[float, int]] = []
    with reporting("_limited", kind, rate, projects, jobs) as (greeting, report):
        yield greeting, arrivals
    arrivals += [(moment, status) for moment, status in report]


@contextlib.contextmanager
def reporting(module: str, *arguments: object, given: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Run a module that serves until its input ends, and then prints a list, as JSON.

    It may read one line that is given to it, and prints one. The value is that line, and the list,
    which is filled after the block.
    """
    report: list[Any] = []
    with _server(module, *arguments, given=given) as (process, greeting):
        yield greeting, report
        with _killed_after(process, _START_SECONDS):
            output, _ = process.communicate()
        if not output:
            raise ChildFailed(f"{module} did not end in order")
        report += json.loads(output)


@contextlib.contextmanager
def _server(
    module: str, *arguments: object, given: str = ""
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a module that prints a line and serves; the value is its process, and the line."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
        cwd=_ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # closes the pipes and waits
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(given)
            process.stdin.flush()
            with _killed_after(process, _START_SECONDS):
                greeting = process.stdout.readline()
            if not greeting:
                raise ChildFailed("the server did not start")
            yield process, greeting
        finally:
            if not process.stdin.closed:
                process.stdin.close()  # asks for its end: nginx is a child of this child
            with _killed_after(process, _END_SECONDS):
                process.wait()


@contextlib.contextmanager
def _killed_after(process: "subprocess.Popen[str]", seconds: float) -> Iterator[None]:
    """Kill the process if the block takes longer."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


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
    arguments = [port] if projects is None else [port, projects]
    output = _output(name, f"contenders.{name}", *arguments, timeout=timeout)
    try:
        sample = Sample.from_json(json.loads(output))
    except (ValueError, TypeError, KeyError):
        raise ChildFailed(f"{name} printed no sample, but {output[:200]!r}") from None
    _check(name, sample.totals, document.totals * (1 if projects is None else projects))
    return sample


def run_structure(name: str, document: Document, *, timeout: float = 300.0) -> float:
    """Let a contender make objects of the document's jobs; return its seconds for all of them."""
    found = json.loads(_output(name, "contenders.structure", name, document.path, timeout=timeout))
    _check(name, Totals(**found["totals"]), document.totals)
    seconds: float = found["seconds"]
    return seconds


def _check(name: str, found: Totals, expected: Totals) -> None:
    if found != expected:
        raise TotalsMismatch(f"{name} counted {found}, but written were {expected}")


def run_throttled(name: str, greeting: str, *, timeout: float = 300.0) -> dict[str, Any]:
    """Run a contender of `contenders.throttled` against that server; return what it found."""
    output = _output(name, "contenders.throttled", name, given=greeting, timeout=timeout)
    found: dict[str, Any] = json.loads(output)
    return found


def run_memory(port: int, projects: int, *, timeout: float = 300.0) -> dict[str, int]:
    """Run `contenders.memory` against the server; return what it found."""
    output = _output("memory", "contenders.memory", port, projects, timeout=timeout)
    found: dict[str, int] = json.loads(output)
    return found


def run_visitors(wishes: dict[str, Any], *, timeout: float = 300.0) -> dict[str, Any]:
    """Run the visitors of a service; return what they found."""
    output = _output("visitors", "_visitors", given=json.dumps(wishes), timeout=timeout)
    found: dict[str, Any] = json.loads(output)
    return found


def run_cluster(
    name: str, server: dict[str, Any], in_flight: int, *, timeout: float = 600.0
) -> dict[str, Any]:
    """Run a contender of `contenders.cluster` against that server; return what it found."""
    given = json.dumps(server)
    output = _output(
        f"cluster {name}", "contenders.cluster", name, in_flight, given=given, timeout=timeout
    )
    found: dict[str, Any] = json.loads(output)
    return found


def run_export(form: str, port: int, path: Path, *, timeout: float = 600.0) -> dict[str, float]:
    """Run `contenders.export` against the server; return what it found."""
    output = _output(f"export {form}", "contenders.export", form, port, path, timeout=timeout)
    found: dict[str, float] = json.loads(output)
    return found


def _output(name: str, module: str, *arguments: object, given: str = "", timeout: float) -> str:
    """Run a contender, or another module, in a new process; return what it printed."""
    try:
        return subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)],
            cwd=_ROOT,
            env=_environment(),
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
        ).stdout
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"{name} was not done after {timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        raise ChildFailed(f"{name} ended with {error.returncode}:\n{error.stderr}") from None


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
