"""Jobs as a Dask DataFrame, without a cluster: its schema, its rows, and what is fetched when."""

import asyncio
import functools
import math
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import cloudpickle
import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plangrep_async import AsyncPlangrep, ConfigurationError, RetryPolicy, ServerError
from plangrep_async.dask import read_jobs
from plangrep_async.emulator import Emulator, Fault, Limits
from plangrep_async.export import job_batch, job_schema
from tests.clusters import serving
from tests.conftest import KEY, QUICK
from tests.secrets import holds, leaks

pytestmark = pytest.mark.filterwarnings(
    "ignore:The inplace keyword:DeprecationWarning"  # which Dask uses to read Parquet
)

in_this_thread = functools.partial(dask.config.set, scheduler="synchronous")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """Compute in the thread of the test, if it does not say otherwise."""
    with in_this_thread():
        yield


def ids_of(frame: pd.DataFrame) -> list[str]:
    return frame["id"].tolist()


def jobs_of(emulator: Emulator, *project_ids: str) -> list[str]:
    """Give the ids of all jobs of some projects, or of all projects, as the server lists them."""
    wanted = project_ids or emulator.project_ids
    return [job["id"] for project_id in wanted for job in emulator.jobs(project_id)]


def asked(emulator: Emulator) -> list[str | None]:
    return [request.project_id for request in emulator.requests]


@pytest.mark.parametrize(
    ("projects", "jobs"), [(0, 0), (3, 0), (3, 4), (2, 2_500)], ids=lambda number: f"{number:,}"
)
def test_the_schema_is_that_of_the_export_whatever_comes(projects: int, jobs: int) -> None:
    """Known before anything is fetched, it is the same for no projects, no jobs, few and many."""
    with serving(projects=projects, jobs_per_project=jobs) as emulator:
        frame = read_jobs(emulator.project_ids, projects_per_partition=2)
        assert asked(emulator) == []
        computed = frame.compute()
        assert computed.shape == (projects * jobs, len(job_schema()))
        for known in (frame.dtypes, computed.dtypes):
            assert dict(known) == {field.name: pd.ArrowDtype(field.type) for field in job_schema()}
        assert not frame.known_divisions
        assert ids_of(computed) == jobs_of(emulator)


def fetches(collection: Any) -> list[Any]:
    """Give the tasks that fetch something."""
    graph = collection.optimize(fuse=False).__dask_graph__()
    return [task for key, task in graph.items() if key[0].startswith("read_jobs")]


async def all_jobs(emulator: Emulator) -> pa.RecordBatch:
    async with AsyncPlangrep() as client:
        return job_batch(
            [job for one in emulator.project_ids async for job in client.list_jobs(one)]
        )


def test_each_value_is_that_of_the_export(tmp_path: Path) -> None:
    """Nested ones too; written with its schema to Parquet, all is the same, and read back."""
    with serving(projects=5, jobs_per_project=30) as emulator:
        frame = read_jobs(emulator.project_ids, projects_per_partition=2)
        expected = pa.Table.from_batches([asyncio.run(all_jobs(emulator))])
        frame.to_parquet(tmp_path, schema=job_schema(), write_index=False)
        computed = frame.compute().reset_index(drop=True)
    assert pa.Table.from_pandas(computed, schema=job_schema()).equals(expected)
    files = sorted(tmp_path.glob("*.parquet"))
    assert [pq.read_schema(file).equals(job_schema()) for file in files] == [True] * 3
    assert pq.read_table(tmp_path).equals(expected)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path, dtype_backend="pyarrow"), computed)
    back = dd.read_parquet(tmp_path, dtype_backend="pyarrow").astype(dict(frame.dtypes))
    pd.testing.assert_frame_equal(back.compute().reset_index(drop=True), computed)


def test_partitions_are_the_projects_in_order_each_once() -> None:
    """A repeated id counts once, and any iterable of ids will do."""
    with serving(projects=5, jobs_per_project=3) as emulator:
        a, b, c, d, e = emulator.project_ids
        frame = read_jobs(iter([c, a, c, b, e, a, d]), projects_per_partition=2)
        parts = [ids_of(part) for part in dask.compute(*frame.partitions)]
        assert parts == [jobs_of(emulator, *shard) for shard in ((c, a), (b, e), (d,))]
        assert sorted(map(str, asked(emulator))) == sorted(emulator.project_ids)


def test_rows_do_not_come_in_the_order_of_arrival() -> None:
    """A project that is answered last keeps its place."""
    with serving(projects=4, jobs_per_project=5) as emulator:
        first = emulator.project_ids[0]
        emulator.project_limits[first] = Limits(latency=0.1)
        assert ids_of(read_jobs(emulator.project_ids).compute()) == jobs_of(emulator)


def test_created_after_stops_the_download() -> None:
    """Only the head of each list comes, as from the client."""
    with serving(projects=2, jobs_per_project=30) as emulator:
        times = [job["createdAt"] for job in emulator.jobs(emulator.project_ids[0])]
        mark = datetime.fromisoformat(times[10])
        found = read_jobs(emulator.project_ids[:1], created_after=mark).compute()
        assert found["created_at"].min() == mark
        assert len(found) == sum(datetime.fromisoformat(one) >= mark for one in times) < 30


def test_only_the_columns_that_are_used_are_made() -> None:
    """Dask tells the task which ones a computation needs."""
    with serving(projects=2, jobs_per_project=5) as emulator:
        frame = read_jobs(emulator.project_ids)
        (task,) = fetches(frame["page_count"].sum())
        assert task.kwargs["columns"] == ["page_count"]
        expected = [job["pageCount"] for one in emulator.project_ids for job in emulator.jobs(one)]
        assert frame["page_count"].compute().tolist() == expected
        assert len(frame) == len(expected)


def test_a_read_is_one_however_often_it_is_used() -> None:
    """Its name stays when it is pickled, what is persisted is not fetched again; a new read is."""
    with serving(projects=2, jobs_per_project=5) as emulator:
        frame = read_jobs(emulator.project_ids)
        assert cloudpickle.loads(cloudpickle.dumps(frame))._name == frame._name
        kept = frame.persist()
        for column in ("page_count", "successful_page_count"):
            kept[column].sum().compute()
        dask.compute(kept.groupby("project_id")["page_count"].sum(), kept["status"].count())
        assert len(emulator.requests) == 2
        again = read_jobs(emulator.project_ids)
        assert again._name != frame._name
        dask.compute(again["page_count"].sum(), again["page_count"].max())
        assert len(emulator.requests) == 4


def test_a_project_that_fails_fails_its_partition() -> None:
    """With the typed error and its id; the other partitions can be computed."""
    with serving(projects=4, jobs_per_project=3) as emulator:
        bad = emulator.project_ids[1]
        emulator.faults[bad] = [Fault(status=500, times=None)]
        frame = read_jobs(emulator.project_ids, projects_per_partition=2, retry=QUICK)
        with pytest.raises(ServerError) as caught:
            frame.compute()
        assert (caught.value.project_id, caught.value.attempts) == (bad, QUICK.attempts)
        assert ids_of(frame.partitions[1].compute()) == jobs_of(emulator, *emulator.project_ids[2:])


def test_threads_share_the_bound() -> None:
    """Without a cluster one partition at a time is fetched, and has all of the bound."""
    with serving(projects=24, jobs_per_project=1, limits=Limits(latency=0.02)) as emulator:
        frame = read_jobs(emulator.project_ids, projects_per_partition=6, max_concurrency=3)
        with dask.config.set(scheduler="threads", num_workers=4):
            assert ids_of(frame.compute()) == jobs_of(emulator)
        assert emulator.most_in_flight == 3


def test_no_more_requests_a_second_than_wanted() -> None:
    """From the first one on, also where each partition has one project alone."""
    with serving(projects=8, jobs_per_project=1) as emulator:
        for size in (8, 1):
            frame = read_jobs(
                emulator.project_ids, projects_per_partition=size, requests_per_second=25
            )
            begin = time.monotonic()
            frame.compute()
            assert emulator.requests[-1].arrived - begin >= 8 / 25 - 0.02


def test_processes_that_share_no_bound_are_refused() -> None:
    """Those of Dask's multiprocessing scheduler know nothing of each other."""
    frame = read_jobs(["proj_1"], base_url="http://127.0.0.1:1")
    (task,) = fetches(frame)
    elsewhere = attrs.evolve(task.func, process=os.getpid() + 1)
    with pytest.raises(ConfigurationError, match="distributed"):
        elsewhere(("proj_1",), ["id"])


def test_a_loop_that_is_running_is_no_obstacle() -> None:
    """In a notebook the synchronous scheduler runs in the thread of an event loop."""

    async def cell() -> pd.DataFrame:
        return frame.compute()

    with serving(projects=2, jobs_per_project=3) as emulator:
        frame = read_jobs(emulator.project_ids)
        assert ids_of(asyncio.run(cell())) == jobs_of(emulator)


def key_of_a_vault() -> str:
    return os.environ["KEY_OF_THE_VAULT"]


async def key_of_a_service() -> str:
    return os.environ["KEY_OF_THE_VAULT"]


@pytest.mark.parametrize("function", [key_of_a_vault, key_of_a_service])
def test_a_key_can_come_from_a_function(function: Any) -> None:
    """Which is asked where the partition is computed, and not before."""
    with (
        serving(projects=1, jobs_per_project=3) as emulator,
        pytest.MonkeyPatch.context() as patch,  # undone before that of `serving`
    ):
        frame = read_jobs(emulator.project_ids, api_key=function)
        patch.setenv("KEY_OF_THE_VAULT", emulator.api_key)
        patch.delenv("PLANGREP_API_KEY")
        assert ids_of(frame.compute()) == jobs_of(emulator)


class Vault:
    """An object that holds a key."""

    def key(self) -> str:
        """Give it."""
        return KEY


def of_main() -> str:
    return KEY


of_main.__module__ = "__main__"


@pytest.mark.parametrize(
    "api_key",
    [KEY, KEY.encode(), lambda: KEY, functools.partial(str, KEY), Vault().key, Vault(), of_main],
    ids=["text", "bytes", "lambda", "partial", "method", "object", "script"],
)
def test_what_could_hold_a_key_is_refused(api_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickled by value it would carry the key into the task graph. The error does not show it."""
    monkeypatch.setattr("__main__.of_main", of_main, raising=False)
    with pytest.raises(ConfigurationError, match="import it by its name") as caught:
        read_jobs(["proj_1"], api_key=api_key)
    assert leaks(caught.value, KEY) == []


def test_the_graph_holds_no_key() -> None:
    """Not pickled, not in the names of tasks, nor in any text of it."""
    with serving(projects=3, jobs_per_project=1) as emulator:
        frame = read_jobs(emulator.project_ids, projects_per_partition=1)
        graph = frame.optimize().__dask_graph__()
        for shown in (frame, graph, *graph, *graph.values()):
            texts = (repr(shown), str(shown), cloudpickle.dumps(shown).decode("latin-1"))
            assert not holds("".join(texts), emulator.api_key)


@pytest.mark.parametrize(
    "wrong",
    [
        {"project_ids": "proj_1"},
        {"project_ids": 7},
        {"project_ids": ["proj_1", ""]},
        {"project_ids": [7]},
        {"projects_per_partition": 0},
        {"max_concurrency": 0},
        {"requests_per_second": 0},
        {"requests_per_second": math.inf},
        {"requests_per_second": True},
        {"requests_per_second": "10"},
        {"created_after": datetime(2024, 11, 2)},  # noqa: DTZ001  # that is what is wrong
        {"base_url": "http://example.com"},
        {"timeout": 10},
        {"retry": 5},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_at_once(wrong: dict[str, Any]) -> None:
    """Before anything is computed, with the name of the argument."""
    name = str(*wrong).replace("project_ids", "project").replace("timeout", "Timeouts")
    with pytest.raises(ConfigurationError, match=name.replace("retry", "RetryPolicy")):
        read_jobs(**{"project_ids": ["proj_1"], **wrong})


def test_a_key_that_is_missing_is_an_error_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which variable to set."""
    monkeypatch.delenv("PLANGREP_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="PLANGREP_API_KEY"):
        read_jobs(
            ["proj_1"], base_url="http://127.0.0.1:1", retry=RetryPolicy(attempts=1)
        ).compute()


def test_dask_is_imported_when_it_is_used() -> None:
    """Importing the module loads nothing of it; without it, an error says what to install."""
    program = (
        "import sys, plangrep_async.dask as ours\n"
        "assert not {'dask', 'distributed', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "sys.modules['dask'] = None\n"
        "try:\n    ours.read_jobs([])\n"
        f"except ours.{ConfigurationError.__name__} as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert "pip install 'plangrep-async[dask]'" in done.stdout.decode()
