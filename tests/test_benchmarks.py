"""The benchmarks' mechanics: that they measure what they say, never how fast anything is."""

import asyncio
import http.client
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from benchmarks import bench_bulk, bench_cluster, bench_stream, bench_throttled
from benchmarks._data import Document, Library, Shape, Spec, Totals, write
from benchmarks._measure import Heartbeat, Sample, Tally
from benchmarks._pairs import median_of_ratios, summarise
from benchmarks._processes import (
    ChildFailed,
    TotalsMismatch,
    limited,
    run_cluster,
    run_contender,
    run_structure,
    serving,
)
from benchmarks._server import HOST, WARM_UP_PROJECT, ceiling
from benchmarks.contenders import OTHERS, OURS, cluster, limit
from benchmarks.questions.structure import OTHERS as STRUCTURE_OTHERS
from tests.conftest import wire_job

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return write(Spec(jobs=5_000), tmp_path_factory.mktemp("data") / "document.json")


@pytest.fixture(scope="module")
def warm_up(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return write(Spec(jobs=2), tmp_path_factory.mktemp("data") / "warm_up.json")


@pytest.fixture(scope="module")
def port(document: Document, warm_up: Document) -> Iterator[int]:
    with serving(document, warm_up) as port:
        yield port


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return write(Spec(jobs=30), tmp_path_factory.mktemp("data") / "small.json")


@pytest.fixture(scope="module")
def small_port(small: Document, warm_up: Document) -> Iterator[int]:
    with serving(small, warm_up) as port:
        yield port


def parsed_totals(content: bytes) -> Totals:
    jobs = json.loads(content)["jobs"]
    return Totals(
        jobs=len(jobs),
        page_count=sum(job["pageCount"] for job in jobs),
        files=sum(len(job["files"]) for job in jobs),
        credits_debited=sum(job["billing"]["creditsDebited"] for job in jobs),
        completed=sum(job["status"] == "completed" for job in jobs),
    )


def sample(**changes: Any) -> Sample:
    figures = dict.fromkeys((field.name for field in attrs.fields(Sample)), 1.0)
    return Sample(**{**figures, "totals": Totals(jobs=100), **changes})


# Data


@pytest.mark.parametrize("pretty", [False, True])
@pytest.mark.parametrize("shape", ["small", "typical", "huge"])
def test_totals_are_what_a_parser_finds(tmp_path: Path, shape: Shape, pretty: bool) -> None:
    """The generator's totals are the ones that `json` finds in its bytes."""
    written = write(Spec(jobs=200, shape=shape, pretty=pretty), tmp_path / "document.json")
    content = written.path.read_bytes()
    assert parsed_totals(content) == written.totals
    assert len(content) == written.size_bytes
    assert min(written.totals.page_count, written.totals.completed) > 0


def test_pretty_and_compact_hold_the_same(tmp_path: Path) -> None:
    """The pretty-printed document is the compact one with indentation."""
    compact = write(Spec(jobs=50), tmp_path / "compact.json").path.read_text()
    pretty = write(Spec(jobs=50, pretty=True), tmp_path / "pretty.json").path.read_text()
    assert json.dumps(json.loads(compact), indent=2, ensure_ascii=False) == pretty
    assert "\n" not in compact


def test_a_seed_decides_the_bytes(tmp_path: Path) -> None:
    """The same specification gives the same bytes, another seed gives others."""
    contents = [
        write(Spec(jobs=50, seed=seed), tmp_path / "document.json").path.read_bytes()
        for seed in (1, 1, 2)
    ]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_a_typical_document_is_as_large_as_a_real_one(document: Document) -> None:
    """50,000 typical jobs are about 29 MB and have 1.2 files each."""
    size_mb = document.size_bytes / document.spec.jobs * 50_000 / 1e6
    assert size_mb == pytest.approx(29.0, rel=0.05)
    assert document.totals.files / document.spec.jobs == pytest.approx(1.2, rel=0.05)


def test_jobs_are_newest_first(document: Document) -> None:
    """The jobs are in the API's order, and ids do not repeat."""
    jobs = json.loads(document.path.read_bytes())["jobs"]
    times = [job["createdAt"] for job in jobs]
    assert sorted(times, reverse=True) == times
    assert len({job["id"] for job in jobs}) == len(jobs)


def test_a_library_writes_a_document_once(tmp_path: Path) -> None:
    """Asking for a document again gives the one that is there."""
    library = Library(tmp_path)
    first = library.document(Spec(jobs=1))
    assert library.document(Spec(jobs=1)) is first
    assert library.document(Spec(jobs=2)).path != first.path


# Server and processes


def test_the_server_gives_one_body_for_any_path(
    document: Document, warm_up: Document, port: int
) -> None:
    """One connection gets the document from every path but the warm-up's, which has its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    bodies = []
    for path in ("/", "/projects/proj_x/jobs", f"/projects/{WARM_UP_PROJECT}/jobs"):
        connection.request("GET", path)
        bodies.append(connection.getresponse().read())
    connection.close()
    content = document.path.read_bytes()
    assert [content, content, warm_up.path.read_bytes()] == bodies


def test_the_server_knows_its_ceiling(port: int) -> None:
    """The server's own speed is a finite figure."""
    assert 0 < ceiling(port, requests=2) < math.inf


def test_the_server_ends_with_its_block(warm_up: Document) -> None:
    """Nothing listens after the block, even when it was left by an exception."""
    with pytest.raises(KeyError), serving(warm_up, warm_up) as port:
        raise KeyError
    with pytest.raises(ConnectionRefusedError):
        ceiling(port)


def test_a_server_without_its_starter_ends(warm_up: Document) -> None:
    """The server ends when its standard input does, so it cannot outlive who started it."""
    command = [sys.executable, "-m", "benchmarks._server", str(warm_up.path)]
    done = subprocess.run(command, cwd=ROOT, input=b"", capture_output=True, timeout=30, check=True)
    assert int(done.stdout) > 0


def test_wrong_totals_are_an_error(document: Document, port: int) -> None:
    """A contender whose totals are not the generator's is no sample but an exception."""
    totals = attrs.evolve(document.totals, completed=document.totals.completed + 1)
    with pytest.raises(TotalsMismatch, match="limit counted"):
        run_contender("limit", port, attrs.evolve(document, totals=totals))


def test_many_projects_have_the_totals_of_one_each(document: Document, port: int) -> None:
    """Of three projects three times the totals are demanded."""
    sample = run_contender("limit", port, document, projects=3)
    assert document.totals + document.totals + document.totals == sample.totals
    totals = attrs.evolve(document.totals, files=document.totals.files + 1)
    with pytest.raises(TotalsMismatch, match="limit counted"):
        run_contender("limit", port, attrs.evolve(document, totals=totals), projects=3)


def test_a_contender_that_fails_is_an_error(document: Document, port: int) -> None:
    """A contender that ends with an error, or does not end in time, is an exception."""
    with pytest.raises(ChildFailed, match="no_such_module"):
        run_contender("no_such_module", port, document)
    with pytest.raises(ChildFailed, match=r"not done after 0\.01 s"):
        run_contender("limit", port, document, timeout=0.01)


# Contenders


@pytest.mark.parametrize("projects", [None, 3])
@pytest.mark.parametrize("name", [OURS, *OTHERS])
def test_every_contender_reads_the_whole_document(
    small: Document, small_port: int, name: str, projects: int | None
) -> None:
    """One project's jobs and those of three add up to what was written, in finite figures."""
    sample = run_contender(name, small_port, small, projects=projects)
    assert sample.totals == small.totals * (projects or 1)
    assert 0 < sample.first_job_seconds <= sample.seconds < math.inf


@pytest.mark.parametrize("name", [OURS, *STRUCTURE_OTHERS])
def test_every_contender_without_a_network_makes_all_objects(small: Document, name: str) -> None:
    """The bytes of a list become objects with the totals that were written, in a finite time."""
    assert 0 < run_structure(name, small) < math.inf


def test_wrong_totals_of_objects_are_an_error(small: Document) -> None:
    """A contender that made other objects than were written is no figure but an exception."""
    totals = attrs.evolve(small.totals, files=small.totals.files + 1)
    with pytest.raises(TotalsMismatch, match="limit counted"):
        run_structure("limit", attrs.evolve(small, totals=totals))


# Measuring


def test_memory_growth_sees_a_short_peak() -> None:
    """64 MB that were there for a moment only are in the growth, what was there before is not."""
    program = (
        "from benchmarks._measure import MemoryGrowth\n"
        "before = bytes(200_000_000)\n"
        "memory = MemoryGrowth()\n"
        "during = b'x' * 64_000_000\n"
        "del during\n"
        "print(memory.peak())\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=True)
    assert int(done.stdout) == pytest.approx(64_000_000, rel=0.05)


def test_memory_growth_sees_a_whole_document(document: Document, port: int) -> None:
    """A contender that holds the whole document grows by more than its size."""
    assert run_contender("limit", port, document).growth_bytes > document.size_bytes


def test_a_tally_adds_up_many_lists(document: Document) -> None:
    """Lists are added to what was there, and the first job is the first of all of them."""
    jobs = limit.decoder.decode(document.path.read_bytes()).jobs
    tally = Tally()
    for part in ([], jobs[:10], jobs[10:]):
        tally.add_all(part)
        if part:
            assert tally.first_at <= tally.last_at
        else:
            assert tally.first_at == math.inf
    assert document.totals == tally.totals


async def test_a_tally_keeps_the_first_job_of_many_streams() -> None:
    """A stream that begins later does not move the moment of the first job."""

    async def jobs() -> AsyncIterator[Any]:
        for job in limit.structure(json.dumps([wire_job(1), wire_job(2)]).encode()):
            yield job

    tally = Tally()
    await tally.add_stream(jobs())
    first_at = tally.first_at
    await tally.add_stream(jobs())
    assert (tally.first_at, tally.totals.jobs) == (first_at, 4)


async def test_the_heartbeat_sees_a_stall() -> None:
    """A stall counts with its length, and with all the beats that it swallowed."""
    async with Heartbeat() as heartbeat:
        await asyncio.sleep(0.01)
        time.sleep(0.1)  # noqa: ASYNC251 - the stall to be seen
    assert heartbeat.longest > 0.09
    assert 0.05 < heartbeat.p99 <= heartbeat.longest


# Pairs


@pytest.mark.parametrize(
    ("pairs", "median"),
    [
        ([(1.0, 2.0)], 2.0),
        ([(1.0, 2.0), (10.0, 30.0), (2.0, 10.0)], 3.0),
        ([(1.0, 1.0), (1.0, 2.0)], 1.5),
        ([(1.0, 4.0), (4.0, 4.0), (2.0, 1.0)], 1.0),  # the ratio of the medians is 2
    ],
)
def test_median_of_ratios(pairs: list[tuple[float, float]], median: float) -> None:
    """The median is taken of the ratios within each pair."""
    assert median_of_ratios(pairs) == median


def test_a_summary_compares_within_pairs() -> None:
    """Ours stands first with ratios of one, each other with its medians and its pairs' ratios."""
    pairs = [
        (sample(seconds=1.0), sample(seconds=4.0, growth_bytes=2_000_000)),
        (sample(seconds=2.0), sample(seconds=6.0, growth_bytes=8_000_000)),
        (sample(seconds=3.0), sample(seconds=6.0, growth_bytes=4_000_000)),
    ]
    ours, other = summarise({"other": pairs})
    assert (ours.contender, ours.speed_ratio, ours.jobs_per_second) == ("ours", 1.0, 50.0)
    assert (other.contender, other.speed_ratio, other.peak_growth_mb) == ("other", 3.0, 4.0)
    assert (other.speed_ratio_lowest, other.speed_ratio_highest) == (2.0, 4.0)


# The whole


def test_wrong_totals_end_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands end with exit code 1 and say which contender counted wrongly."""

    def mismatch(*_: object, **__: object) -> None:
        raise TotalsMismatch("limit counted 2, but written was 1")

    for benchmark in (bench_stream, bench_bulk):
        monkeypatch.setattr(benchmark, "run_pairs", mismatch)
        assert benchmark.main(["--jobs", "1"]) == 1
        assert "limit counted 2" in capsys.readouterr().err


def run_benchmark(
    name: str, tmp_path: Path, *options: str, quiet: bool = True
) -> tuple[str, dict[str, Any]]:
    """Run the command to its good end; what it printed and what it wrote."""
    file = tmp_path / "report.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr if quiet else "") == (0, "")
    return done.stdout, json.loads(file.read_text())


@pytest.mark.slow
def test_the_quick_form_is_a_small_run(tmp_path: Path) -> None:
    """`--quick` alone means 3,000 jobs and 3 pairs, of every contender."""
    output, report = run_benchmark("bench_stream", tmp_path, "--quick")
    assert (report["totals"]["jobs"], report["pairs"]) == (3_000, 3)
    assert "medians of 3 pairs" in output
    assert "found what was generated: 3,000 jobs" in output
    contenders = [result["contender"] for result in report["results"]]
    assert contenders == ["ours", *bench_stream.OTHERS]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "jobs"),
    [
        ("bench_stream", ["--jobs", "200"], 200),
        ("bench_bulk", ["--jobs", "5", "--projects", "40"], 200),
    ],
)
def test_the_command_measures_every_contender(
    tmp_path: Path, name: str, options: list[str], jobs: int
) -> None:
    """The command checks all totals, prints a line a contender and writes usable figures."""
    output, report = run_benchmark(name, tmp_path, *options, "--pairs", "1")
    assert (report["totals"]["jobs"], report["pairs"]) == (jobs, 1)
    assert f"found what was generated: {jobs} jobs" in output
    assert max(map(len, output.splitlines())) <= 120
    lines = [line.split()[0] for line in output.splitlines() if line]
    contenders = [result.pop("contender") for result in report["results"]]
    assert contenders == ["ours", *bench_bulk.OTHERS]
    assert set(contenders) <= set(lines)
    for result in report["results"]:
        growth = result.pop("peak_growth_mb")  # so few jobs may fit where there was room
        assert 0 <= growth < math.inf
        assert all(0 < figure < math.inf for figure in result.values())


# Many projects


def test_the_histogram_is_around_the_first_refusal() -> None:
    """Requests count in the step in which they came; what is far away does not."""
    arrivals = [(10.0, 200), (10.96, 200), (11.01, 429), (11.02, 429), (12.02, 200), (20.0, 429)]
    counts = bench_throttled.histogram(arrivals)
    assert [(step, count) for step, count in enumerate(counts) if count] == [
        (3, 1),
        (4, 2),
        (24, 1),
    ]
    assert set(bench_throttled.histogram([(1.0, 200)])) == {0}


def test_a_limited_server_remembers_every_request() -> None:
    """The arrivals are there after the block, the refused ones included."""
    with limited("emulator", 2, 3, 1) as (greeting, arrivals):
        server = json.loads(greeting)
        url = urlsplit(server["base_url"])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
        for project_id in server["project_ids"]:
            headers = {"Authorization": f"Bearer {server['api_key']}"}
            connection.request("GET", f"{url.path}/projects/{project_id}/jobs", headers=headers)
            connection.getresponse().read()
        connection.close()
        assert arrivals == []
    assert [status for _, status in arrivals] == [200, 200, 429]


@pytest.mark.slow
def test_throttled_contenders_find_every_job(tmp_path: Path) -> None:
    """Both contenders read all projects of each server, and every refused request is counted."""
    output, report = run_benchmark("bench_throttled", tmp_path, "--projects", "220", quiet=False)
    assert "exactly once" in output
    assert max(map(len, output.splitlines())) <= 120
    runs = {(result["server"], result["contender"]): result for result in report["results"]}
    servers = dict.fromkeys(server for server, _ in runs)
    assert set(runs) == {(server, name) for server in servers for name in ("ours", "gather")}
    for result in runs.values():
        assert (result["requests"] - result["refused"], result["failed_projects"]) == (220, 0)
        assert result["seconds"] > 0


@pytest.mark.slow
def test_memory_is_measured_for_a_tenth_and_for_all(tmp_path: Path) -> None:
    """Two runs find all jobs of 10 and of 100 projects."""
    output, report = run_benchmark("bench_memory", tmp_path, "--projects", "100", "--jobs", "3")
    found = [(result["projects"], result["jobs"]) for result in report["results"]]
    assert found == [(10, 30), (100, 300)]
    assert all(0 <= result["growth_mb"] < math.inf for result in report["results"])
    assert "list_jobs_many" in output


@pytest.mark.slow
def test_exports_are_measured_for_a_tenth_and_for_all(tmp_path: Path) -> None:
    """`bench_export` has a line for each format and size, also in the JSON it writes."""
    output, report = run_benchmark("bench_export", tmp_path, "--jobs", "300")
    found = [(one["format"], one["jobs"]) for one in report["results"]]
    forms = ["none", "ndjson", "csv", "parquet"]
    assert found == [(form, jobs) for jobs in (30, 300) for form in forms]
    assert all((one["size_mb"] > 0) == (one["format"] != "none") for one in report["results"])
    rows = [line.split()[:2] for line in output.splitlines()[-8:]]
    assert rows == [[form, f"{jobs}"] for form, jobs in found]


def run_here(name: str, server: dict[str, Any], most: int) -> dict[str, Any]:
    """Run those with Dask in this process, for worker processes take seconds."""
    run = run_cluster if name == "client" else cluster.run
    return run("client" if name == "client" else "0", server, most)


def test_a_cluster_must_find_what_the_emulator_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its report has a line for each server and contender; a wrong sum is an error."""
    for name in ("PLANGREP_API_KEY", "PLANGREP_BASE_URL"):
        monkeypatch.setenv(name, "as it was")
    found = bench_cluster.measure_cluster(6, 20, rounds=1, run=run_here)
    assert [proof.totals.jobs for proof in found.proofs] == [120, 6]
    assert all(0 < proof.most_in_flight <= bench_cluster.IN_FLIGHT for proof in found.proofs)
    lines = str(found).splitlines()
    for name in ("no limit", "300 requests/s", *bench_cluster.CONTENDERS.values()):
        assert sum(line.startswith(name) for line in lines) == 1

    def miscount(name: str, server: dict[str, Any], most: int) -> dict[str, Any]:
        right = run_here(name, server, most)
        return {**right, "totals": {**right["totals"], "files": 0}}

    with pytest.raises(TotalsMismatch, match="counted"):
        bench_cluster.measure_cluster(2, 20, rounds=1, run=miscount)
