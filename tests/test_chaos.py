"""The chaos run in short, and a proof that it can fail."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from yarl import URL

from plangrep_async import ClientClosed
from plangrep_async._resume import ResumePoint
from plangrep_async._stream import JobReader
from tests import chaos
from tests.chaos_plan import draw_plan
from tests.chaos_report import LEAST_HELD, Totals
from tests.chaos_story import BROKEN
from tests.test_chaos_story import names

connections: list[socket.socket] = []


def deliver_all(_: ResumePoint, __: Any) -> bool:
    return True


def count_wrong(reader: JobReader) -> None:
    raise ClientClosed("no reason", project_id=reader._query.project_id, delivered=1)


def connect_too_often(reader: JobReader) -> None:
    if not connections:
        port = URL(reader._lifetime.transport._base_url).port
        connections.append(socket.create_connection(("127.0.0.1", port)))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ((ResumePoint, "is_new", deliver_all), "twice"),
        ((JobReader, "check", count_wrong), "delivered"),
        ((JobReader, "check", connect_too_often), "open"),
        ((JobReader, "check", connect_too_often), "left behind"),
    ],
)
def test_a_broken_library_fails_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: tuple[type, str, Callable[..., Any]],
    expected: str,
) -> None:
    """The whole way, from a client that does wrong to the report and the exit code."""
    monkeypatch.setattr(chaos, "CLOSING_SECONDS", 0.2)
    monkeypatch.setattr(*broken)
    try:
        assert chaos.main(["--seed", "1", "--only", "36"]) == 1
    finally:
        while connections:
            connections.pop().close()
    assert f"  {expected}: " in capsys.readouterr().out


def test_a_right_library_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """The same stream, with nothing broken."""
    assert chaos.main(["--seed", "1", "--only", "36"]) == 0
    assert "findings" in capsys.readouterr().out


def test_a_plan_depends_on_seed_and_number_alone() -> None:
    """So that one stream can be repeated without those before it."""
    assert draw_plan(1, 36) == draw_plan(1, 36)
    assert draw_plan(1, 36) != draw_plan(2, 36)
    assert draw_plan(1, 36) != draw_plan(1, 37)


@pytest.fixture(scope="module")
def totals() -> Totals:
    """Run a hundred streams, among them some of 5,000 jobs."""
    return asyncio.run(chaos.run(1, range(100)))


@pytest.mark.slow
@pytest.mark.timeout(180)
class TestHundredStreams:
    """What came of a hundred streams through random faults."""

    def test_every_stream_was_right(self, totals: Totals) -> None:
        """Every job exactly once, or an honest error; nothing kept open, nothing left behind."""
        assert [finding for finding in totals.findings if names([finding]) != {"held"}] == []

    @pytest.mark.parametrize("kind", BROKEN)
    def test_what_had_been_read_was_held(self, totals: Totals, kind: str) -> None:
        """A broken connection does not cost the jobs that were read from it before."""
        read, held = totals.held(kind)
        assert read > 1_000
        assert held >= LEAST_HELD * read

    def test_everything_took_effect(self, totals: Totals) -> None:
        """Each kind of fault and of change happened, and streams ended in both ways."""
        slow = {"slice_bytes", "latency", "bytes_per_second"}
        assert set(totals.faults) == {*BROKEN, *slow, "429", "503"}
        assert all(totals.counts[name] for name in ("births", "removals", "changes", "stale"))
        assert {"faults", "removed"} <= set(totals.reasons)
        assert totals.counts["longest"] > 0
        assert totals.counts["whole"] > 50
