"""The benchmarks' charts: that each mark is where its value says."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks import _chart

SVG = "{http://www.w3.org/2000/svg}"


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def drawn_bars(**values: float) -> ElementTree.Element:
    chart = _chart.bars("Speed", values, unit="jobs/s", notes=["one", "two"], highlight="ours")
    return ElementTree.fromstring(chart)  # noqa: S314  # our own


def drawn_lines(**series: _chart.Points) -> ElementTree.Element:
    chart = _chart.lines("T", series, x_unit="jobs", y_unit="MB", notes=[], highlight="ours")
    return ElementTree.fromstring(chart)  # noqa: S314  # our own


def points(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", line.attrib["points"])]
        for line in root.iter(f"{SVG}polyline")
    ]


def test_bars_begin_at_zero() -> None:
    """Half the value is half the length, from the same left edge."""
    root = drawn_bars(ours=200_000, other=100_000, none=0)
    bars = list(root.iter(f"{SVG}rect"))
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == [widths[0], widths[0] / 2, 0]
    assert len({bar.attrib["x"] for bar in bars}) == 1
    assert texts(root) == [
        *("Speed", "ours", "200,000 jobs/s", "other", "100,000 jobs/s", "none", "0 jobs/s"),
        *("one", "two"),
    ]


def test_ours_alone_has_the_colour() -> None:
    """What the chart is about is blue, all else is the grey of the text."""
    colours = [
        bar.attrib["fill"] for bar in drawn_bars(limit=3, ours=2, other=1).iter(f"{SVG}rect")
    ]
    assert colours[0] == colours[2] != colours[1]


def test_nothing_at_all_can_be_drawn() -> None:
    """Bars of nothing have no length."""
    assert [bar.attrib["width"] for bar in drawn_bars(ours=0).iter(f"{SVG}rect")] == ["0.0"]


def test_names_are_text_and_no_markup() -> None:
    """What XML would take for markup comes out as it went in."""
    name = '<b> & "c"'
    assert name in texts(drawn_bars(**{name: 1.0}))


def test_equal_factors_are_equal_distances() -> None:
    """On both axes ten times as much is one step, up and to the right."""
    ((a, b, c),) = points(drawn_lines(ours=[(10, 1), (100, 10), (1_000, 100)]))
    assert c[0] - b[0] == pytest.approx(b[0] - a[0], abs=0.2)
    assert b[1] - c[1] == pytest.approx(a[1] - b[1], abs=0.2)
    assert a[0] < b[0]
    assert a[1] > b[1]


def test_axes_end_at_powers_of_ten() -> None:
    """The grid goes from the power of ten below all values to the one above, labelled."""
    root = drawn_lines(ours=[(20, 1.2), (500_000, 1.3)], other=[(50_000, 340.0)])
    labels = texts(root)
    assert labels[:6] == ["T", "MB", "1", "10", "100", "1,000"]
    assert labels[6:12] == ["10", "100", "1,000", "10,000", "100,000", "1,000,000"]
    assert labels[12:] == ["jobs", "ours 1.3", "other 340"]
    assert len(list(root.iter(f"{SVG}line"))) == 4 + 6


def test_one_value_alone_has_axes_too() -> None:
    """A single dot on a power of ten still has an axis of one step."""
    ((dot,),) = points(drawn_lines(ours=[(100, 1)]))
    assert dot == (180.0, 336.0)


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ({}, {}),
        ({"a": 10.0, "b": 40.0}, {"a": 10.0, "b": 40.0}),
        ({"a": 10.0, "b": 10.0}, {"a": 5.0, "b": 15.0}),
        ({"b": 12.0, "a": 10.0, "c": 50.0}, {"a": 6.0, "b": 16.0, "c": 46.0}),
    ],
)
def test_labels_stay_apart(heights: dict[str, float], placed: dict[str, float]) -> None:
    """Labels keep their order and their distance, and nearly their places."""
    assert _chart.spread(heights, apart=10.0) == placed
