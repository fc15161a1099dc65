"""The load test of a web service: that it measures what it says, never how fast anything is."""

import json
from pathlib import Path

import pytest

from benchmarks._processes import ChildFailed, TotalsMismatch
from benchmarks.bench_service import Load, check, main, sort_by_windows

LOAD = Load(seconds=12, large_jobs=100)


@pytest.mark.slow
def test_the_quick_form_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Service, API and visitors start, agree on what came, and the figures are written."""
    file = tmp_path / "figures.json"
    assert main(["--quick", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert 0 < figures["requests"] <= 4
    assert [row["when"] for row in figures["results"]] == ["with a large list", "without"]
    assert sum(row["answers"] for row in figures["results"]) > 20
    assert len(figures["large_seconds"]) == 1
    assert figures["growth_mb"] > 0
    said = capsys.readouterr().out
    assert f"took {figures['requests']} requests of 4 allowed" in said


def test_what_was_seen_is_sorted_by_time() -> None:
    """An answer, or a beat, counts as one with a large list if it overlaps with its way at all."""
    answers = [(1.0, 0.1), (1.5, 0.6), (2.5, 0.2), (3.9, 0.2), (4.5, 0.3)]
    beats = [(1.0, 0.001, 0.001), (2.3, 0.4, 0.1), (3.0, 0.002, 0.002), (5.0, 0.003, 0.0)]
    inside, outside = sort_by_windows(answers, beats, [(2.0, 4.0)])
    assert (inside.answers, outside.answers) == (3, 2)
    assert inside.longest_ms == pytest.approx(600)
    assert outside.longest_ms == pytest.approx(300)
    assert inside.longest_lag_ms == pytest.approx(400)
    assert outside.longest_lag_ms == pytest.approx(3)
    assert (inside.longest_busy_ms, outside.longest_busy_ms) == pytest.approx((100, 1))
    with pytest.raises(ChildFailed, match="with a large list"):
        sort_by_windows(answers, beats, [])


def test_too_many_requests_and_short_lists_are_failures() -> None:
    """A project may be asked for once in five seconds, and a large list is whole."""
    check(LOAD, {"proj_1": 3, "proj_2": 1}, [(0.0, 1.0, 100)])
    check(LOAD, {}, [])
    with pytest.raises(TotalsMismatch, match="asked for 4 times"):
        check(LOAD, {"proj_1": 1, "proj_2": 4}, [])
    with pytest.raises(TotalsMismatch, match="99 of 100"):
        check(LOAD, {}, [(0.0, 1.0, 100), (2.0, 3.0, 99)])
