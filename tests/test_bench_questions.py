"""The benchmarks' questions: that each answer has what it promises, never how fast anything is."""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks._bench import Bench, Scale
from benchmarks._data import Library, Spec
from benchmarks._guard import LIMITS
from benchmarks._processes import TotalsMismatch
from benchmarks.contenders import OTHERS, distributions

TINY = [
    *("--quick", "--jobs", "30", "--pairs", "1", "--projects", "2", "--jobs-each", "3"),
    *("--others", "limit"),
]
FILES = {
    "stream": {"throughput.svg", "memory.svg"},
    "bulk": {"bulk.svg"},
    "structure": {"structure.svg"},
    "latency": {"first_job.svg", "stall.svg"},
}


def test_the_full_form_is_the_one_to_quote() -> None:
    """Unless told otherwise: 7 pairs of every contender, and ours alone up to 500,000 jobs."""
    scale = Scale()
    assert (scale.pairs, scale.others) == (7, OTHERS)
    assert (scale.projects, scale.jobs_each) == (500, 200)
    assert scale.sizes == (20, 2_000, 50_000)
    assert scale.own_sizes == (20, 2_000, 50_000, 500_000)


@pytest.mark.parametrize(("jobs", "sizes"), [(10, (10,)), (20, (20,)), (2_000, (20, 2_000))])
def test_sizes_end_with_the_number_of_jobs(jobs: int, sizes: tuple[int, ...]) -> None:
    """No size is above the one that was asked for, and none comes twice."""
    assert Scale(jobs=jobs).sizes == sizes


def test_a_heading_names_what_the_figures_depend_on() -> None:
    """The distributions of ours and of those beside it, each once."""
    assert distributions([]) == ("aiohttp", "msgspec", "cattrs")
    assert distributions(["limit", "httpx_pydantic"]) == (*distributions([]), "httpx", "pydantic")


@pytest.mark.slow
def test_one_command_answers_all_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every question prints its tables and writes them, its figures and its charts."""
    results, file = tmp_path / "new" / "results", tmp_path / "all.json"
    assert command.main([*TINY, "--results", str(results), "--json", str(file)]) == 0
    output = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert list(figures) == list(FILES)
    assert {path.name for path in results.iterdir()} == set.union(
        *FILES.values(), *({f"{name}.txt", f"{name}.json"} for name in FILES)
    )
    for name in FILES:
        text = (results / f"{name}.txt").read_text()
        assert text in output
        assert max(map(len, text.splitlines())) <= 120
        assert json.loads((results / f"{name}.json").read_text()) == figures[name]
    for chart in results.glob("*.svg"):
        drawn = chart.read_text()
        assert "aiohttp 3." in drawn
        assert "Python" in drawn
        assert {"ours", "limit"} <= words(drawn)

    stream, structure = figures["stream"], figures["structure"]
    assert [cost["jobs"] for cost in stream["costs"]] == [20, 30, 300]
    assert [form["totals"]["jobs"] for form in stream["forms"]] == [30, 30, 30, 3, 3]
    assert figures["bulk"]["report"]["totals"]["jobs"] == 6
    assert [size["totals"]["jobs"] for size in figures["latency"]["sizes"]] == [20, 30]
    assert figures["latency"]["sizes"][1] == stream["typical"]  # measured once
    assert [(one["contender"], one["jobs"]) for one in structure["results"]] == [
        ("ours", 30),
        ("limit", 30),
    ]
    assert all(0 < one["microseconds"] < math.inf for one in structure["results"])


def words(svg: str) -> set[str]:
    """Give the words of a chart's texts."""
    return set(" ".join(ElementTree.fromstring(svg).itertext()).split())  # noqa: S314  # our own


@pytest.mark.slow
def test_one_question_leaves_out_the_others(tmp_path: Path) -> None:
    """A question by its name writes its own files alone."""
    assert command.main(["bulk", *TINY, "--results", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"bulk.txt", "bulk.json", "bulk.svg"}


@pytest.mark.slow
def test_the_guard_measures_what_it_judges(tmp_path: Path) -> None:
    """Each limit gets a figure from a run; so few jobs prove nothing, whatever the verdict."""
    file = tmp_path / "guard.json"
    exit_code = command.main(["guard", *TINY, "--json", str(file)])
    verdicts = json.loads(file.read_text())["verdicts"]
    assert [verdict["what"] for verdict in verdicts] == [limit.what for limit in LIMITS]
    assert all(0 <= verdict["found"] < math.inf for verdict in verdicts)
    assert exit_code == (0 if all(verdict["holds"] for verdict in verdicts) else 1)


def test_wrong_totals_leave_a_question_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The command ends with exit code 1, says who counted wrongly, and writes nothing."""

    def mismatch(bench: Bench) -> None:
        assert isinstance(bench, Bench)
        raise TotalsMismatch("limit counted 2, but written was 1")

    monkeypatch.setitem(command.QUESTIONS, "stream", mismatch)
    monkeypatch.setattr(command, "measure_guard", mismatch)
    for question in ("stream", "guard"):
        file = tmp_path / "all.json"
        options = ["--json", str(file), "--results", str(tmp_path / "results")]
        assert command.main([question, *options]) == 1
        assert "limit counted 2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_report_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two questions about the same document share its report; another document has its own."""
    asked: list[Spec] = []
    monkeypatch.setattr("benchmarks._bench.measure_stream", lambda spec, **_: asked.append(spec))
    bench = Bench(Scale(), Library(tmp_path))
    for jobs in (1, 2, 1):
        bench.report(Spec(jobs=jobs))
    assert asked == [Spec(jobs=1), Spec(jobs=2)]
