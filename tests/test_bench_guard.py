"""The benchmarks' guard: what it lets pass, by value."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from benchmarks import __main__ as command
from benchmarks._guard import LIMITS, GuardReport, Limit, judge
from benchmarks._pairs import Result

GOOD: Mapping[tuple[str, str], dict[str, float]] = {
    # question, contender → just what the limits ask for
    ("stream", "ours"): {"peak_growth_mb": 8.0},
    ("stream", "limit"): {"speed_ratio": 0.50},
    ("stream", "aiohttp_json_cattrs"): {
        "speed_ratio": 3.5,
        "first_job_ratio": 50.0,
        "longest_stall_ratio": 40.0,
    },
    ("stream", "httpx_pydantic"): {"speed_ratio": 2.2},
    ("stream", "openai_httpx"): {"speed_ratio": 15.0},
    ("bulk", "limit"): {"speed_ratio": 0.45},
}
FIGURES = [(*place, name) for place, figures in GOOD.items() for name in figures]


def results(
    factor: float = 1.0, only: tuple[str, str, str] | None = None
) -> dict[Any, dict[str, Result]]:
    """Give results with the good figures; those of one place, or all, are multiplied."""
    found: dict[Any, dict[str, Result]] = {"stream": {}, "bulk": {}}
    for (question, contender), figures in GOOD.items():
        changed = {
            name: value * (factor if only in (None, (question, contender, name)) else 1.0)
            for name, value in figures.items()
        }
        blank: dict[str, Any] = dict.fromkeys((field.name for field in attrs.fields(Result)), 1.0)
        found[question][contender] = Result(**{**blank, "contender": contender, **changed})
    return found


def test_what_is_asked_for_holds() -> None:
    """There is a verdict for each limit, and each has the figure that it asks for."""
    verdicts = judge(results())
    assert [verdict.what for verdict in verdicts] == [limit.what for limit in LIMITS]
    assert [verdict.found for verdict in verdicts] == [limit.must for limit in LIMITS]
    assert all(verdict.holds for verdict in verdicts)


@pytest.mark.parametrize("figure", FIGURES, ids=".".join)
def test_each_figure_has_its_own_limit(figure: tuple[str, str, str]) -> None:
    """A figure just within its tolerance passes; just beyond it breaks one limit, and one only."""
    if figure == ("stream", "ours", "peak_growth_mb"):
        within, beyond = 1.0, 1.01  # has no tolerance
    else:
        within, beyond = 0.71, 0.69
    assert [verdict for verdict in judge(results(within, figure)) if not verdict.holds] == []
    (broken,) = [verdict for verdict in judge(results(beyond, figure)) if not verdict.holds]
    assert "BROKEN" in str(broken)


def test_every_limit_is_tried_by_these_tests() -> None:
    """The good figures are as many as there are limits."""
    assert len(FIGURES) == len(LIMITS)


def test_no_number_breaks_a_limit() -> None:
    """What could not be measured does not hold, upper bound or lower bound."""
    assert not any(verdict.holds for verdict in judge(results(float("nan"))))


def test_a_contender_that_is_missing_is_an_error() -> None:
    """A limit without a result is no limit that holds."""
    with pytest.raises(KeyError, match="nobody"):
        judge(results(), [Limit("speed", "stream", "nobody", lambda r: r.speed_ratio, 1.0)])


@pytest.mark.parametrize(("factor", "exit_code"), [(0.8, 0), (0.6, 1)])
def test_the_exit_code_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    factor: float,
    exit_code: int,
) -> None:
    """The command prints a line a limit and ends with 1 when one of them is broken."""
    report = GuardReport(machine="here", versions={}, verdicts=judge(results(factor)))
    monkeypatch.setattr(command, "measure_guard", lambda _: report)
    assert command.main(["guard"]) == exit_code
    output = capsys.readouterr().out
    assert all(limit.what in output for limit in LIMITS)
    assert max(map(len, output.splitlines())) <= 120
    assert ("BROKEN" in output) == (exit_code == 1)
