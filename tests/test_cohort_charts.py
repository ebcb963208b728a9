"""Pictures of a cohort: well formed, inside their frame, honest about what is not told, the same bytes each time.

`python -m tests.test_cohort_charts` writes the golden pictures anew; look at them before you commit them.
"""

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chart_frame import WIDTH
from app.cohort_charts import (
    HIDDEN,
    FlowRow,
    MeanPoint,
    SurvivalPoint,
    attrition_svg,
    mean_svg,
    survival_svg,
)

DATA: Final = Path(__file__).parent / "data"
SVG: Final = "{http://www.w3.org/2000/svg}"
AS_OF: Final = "2026-11-20"

MEANS: Final = (
    MeanPoint("before", 79, 17.5, 16.5, 18.5),
    MeanPoint("24 h", 71, 9.0, 8.0, 10.5, judged=False),
    MeanPoint("wk 1", 66, 9.5, 8.5, 11.0),
    MeanPoint("wk 2", None, None, None, None),
    MeanPoint("wk 4", 60, 8.0, 6.5, 9.5),
    MeanPoint("wk 8", 48, 9.5, 7.5, 11.0),
    MeanPoint("mo 3", 31, 11.0, 9.0, 13.5),
    MeanPoint("mo 6", 14, 12.5, 9.0, 16.0),
)
CURVE: Final = (
    SurvivalPoint(21, 38, 0.78, 0.63, 0.87),
    SurvivalPoint(42, 22, 0.52, 0.36, 0.65),
    SurvivalPoint(84, None, 0.31, 0.18, 0.45),
)
CAME: Final = (("never dosed", None), ("dosed", 82), ("baseline", 79))
FLOW: Final = (
    FlowRow("24 h", 73, None, None, None),
    FlowRow("wk 4", 60, 19, None, None),
    FlowRow("mo 3", 31, 28, None, 17),
    FlowRow("mo 6", 14, 24, 12, 31),
)


def pictures() -> dict[str, str]:
    """Every mark there is."""
    return {
        "cohort-mean": mean_svg("PHQ-9: mean of a cohort", 0, 27, MEANS, AS_OF),
        "cohort-survival": survival_svg("PHQ-9: how long a response lasts", CURVE, 51, 42, AS_OF),
        "cohort-attrition": attrition_svg("PHQ-9: who answered when", CAME, FLOW, AS_OF),
    }


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # our own picture


def words_of(text: str) -> list[str]:
    return [element.text or "" for element in parsed(text).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["cohort-mean", "cohort-survival", "cohort-attrition"])
def test_the_picture_is_the_golden_one(name: str) -> None:
    """Byte for byte; a change is looked at by a person."""
    assert pictures()[name] == (DATA / f"{name}.golden.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["cohort-mean", "cohort-survival", "cohort-attrition"])
def test_it_is_described_and_needs_nothing_from_elsewhere(name: str) -> None:
    """A title and words for screen readers; no script, no address, no colour but ink and grey."""
    text = pictures()[name]
    root = parsed(text)
    assert root.get("role") == "img"
    ids = str(root.get("aria-labelledby")).split()
    assert [element.get("id") for element in root[:2]] == ids
    assert "not cause" in str(root[1].text) or "Dropping out is missed" in str(root[1].text)
    assert "<script" not in text
    assert re.findall(r"(?:href|src|url)\s*[=(]", text) == []
    for colour in re.findall(r'"#([0-9a-f]{3,6})"', text):
        parts = [int(part * 2 if len(part) == 1 else part, 16) for part in re.findall("." * (len(colour) // 3), colour)]
        assert max(parts) - min(parts) <= 30, colour


def numbers(element: ET.Element, *names: str) -> list[float]:
    return [float(element.get(name, "0")) for name in names]


@given(
    st.lists(st.tuples(st.integers(11, 10**6), st.floats(0, 27), st.floats(0, 9)), max_size=8),
    st.lists(st.none() | st.integers(11, 10**5), min_size=4, max_size=4),
)
def test_everything_lies_inside_the_frame(means: list[tuple[int, float, float]], counts: list[int | None]) -> None:
    """Whatever the figures are."""
    points = [MeanPoint("mo 6", n, mean, mean - spread, mean + spread) for n, mean, spread in means]
    for text in (
        mean_svg("x", 0, 27, points, AS_OF),
        attrition_svg("x", [("dosed", counts[0])], [FlowRow("mo 6", *counts)], AS_OF),
    ):
        root = parsed(text)
        height = float(str(root.get("viewBox")).split()[3])
        for element in root.iter():
            if element.tag == f"{SVG}rect":
                x, y, width, tall = numbers(element, "x", "y", "width", "height")
                assert x + width <= WIDTH + 0.1
                assert 0 <= y <= y + tall <= height
            if element.tag in {f"{SVG}circle", f"{SVG}text"}:
                x, y = numbers(element, *(("cx", "cy") if element.tag.endswith("circle") else ("x", "y")))
                assert 0 <= x <= WIDTH
                assert 0 <= y <= height


@pytest.mark.parametrize("name", ["cohort-mean", "cohort-survival", "cohort-attrition"])
def test_words_end_inside_the_frame(name: str) -> None:
    """Also in a wide typeface: 7 units a character at size 12."""
    for element in parsed(pictures()[name]).iter(f"{SVG}text"):
        size, bold = numbers(element, "font-size")[0] or 12, 1.1 if element.get("font-weight") else 1
        width = 7 * bold * len(str(element.text)) * size / 12
        before = {"middle": width / 2, "end": width}.get(str(element.get("text-anchor")), 0)
        left = numbers(element, "x")[0] - before
        assert left >= -1, element.text
        assert left + width <= WIDTH + 1, element.text


def test_what_is_not_told_is_drawn_as_not_told() -> None:
    """A question mark and no line through it; a count that is hidden is said to be."""
    text = pictures()["cohort-mean"]
    assert text.count('class="not-told"') == 1
    assert text.count('class="run"') == 5  # seven gaps between eight points, two of them beside what is not told
    assert words_of(text).count(HIDDEN) == 1
    assert "wk 2, not told" in str(parsed(text)[1].text)
    assert "next course &lt;11" in pictures()["cohort-attrition"]


def test_a_form_that_may_not_speak_is_an_open_circle() -> None:
    """Told apart without colour."""
    circles = [one.get("fill") for one in parsed(pictures()["cohort-mean"]).iter(f"{SVG}circle")]
    assert circles.count("#fff") == 1
    assert len(circles) == 7


def test_numbers_at_risk_stand_under_the_curve() -> None:
    """Those of every point, the first being all who responded."""
    found = words_of(pictures()["cohort-survival"])
    assert {"at risk", "51", "38", "22", HIDDEN} <= set(found)


def test_an_untold_curve_says_so() -> None:
    """No line that could be read as nobody ever losing a response."""
    text = survival_svg("x", (), None, None, AS_OF)
    assert "Too few to be told" in words_of(text)
    assert 'class="run"' not in text


if __name__ == "__main__":
    for kind, drawn in pictures().items():
        (DATA / f"{kind}.golden.svg").write_text(drawn, encoding="utf-8")
