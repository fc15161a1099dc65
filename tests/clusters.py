"""What tests with Dask need: an emulator that a computation may wait for, and a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from distributed import Client, LocalCluster

from plangrep_async.emulator import Emulator


@contextmanager
def serving(**options: Any) -> Iterator[Emulator]:
    """Run the emulator in a thread of its own; its key and address are in the environment."""
    with Emulator(**options) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANGREP_API_KEY", emulator.api_key)
        patch.setenv("PLANGREP_BASE_URL", emulator.base_url)
        yield emulator


@contextmanager
def cluster(
    workers: int, *, threads: int = 1, processes: bool = False
) -> Iterator[tuple[LocalCluster, Client]]:
    """Run a cluster, in threads of this process if nothing else is asked for, and compute on it."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=processes,
            dashboard_address="127.0.0.1:0",  # the default is one port, for one cluster at a time
        ) as local,
        Client(local) as client,
    ):
        yield local, client
