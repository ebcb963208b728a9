"""The picture of a course: well formed, whole, inside its frame, and the same bytes each time.

`python -m tests.test_charts` writes the golden picture anew; look at it before you commit it.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.chart_frame import WIDTH
from app.charts import JOIN_DAYS, trajectory_svg
from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.trajectory import trajectory
from app.scoring.treatment import BaselineRule, Dose, choose_baseline
from app.scoring.worse_after_dose import FormPoint

GOLDEN: Final = Path(__file__).parent / "data" / "trajectory.golden.svg"
START: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
SVG: Final = "{http://www.w3.org/2000/svg}"
PHQ_9: Final = get_instrument("phq-9")
Form = tuple[float, float | None]  # day, total


def dose(day: float, name: str | None = None) -> Dose:
    return Dose(name or f"dose-{day}", START + timedelta(days=day))


def picture(
    forms: list[Form],
    doses: list[Dose] | None = None,
    amounts_mg: dict[str, float] | None = None,
    instrument: Instrument = PHQ_9,
    shown_from: datetime | None = None,
) -> str:
    """A total with decimals is a prorated one, none an incomplete form."""
    given_doses = doses or []
    points = []
    for place, (day, total) in enumerate(forms):
        kind = Validity.VALID if total is not None and total == int(total) else Validity.PRORATED
        kind = Validity.INCOMPLETE if total is None else kind
        points.append(Point(f"secret-{place}", START + timedelta(days=day), total, kind))
    first = min((each.started_at for each in given_doses), default=None)
    rule = BaselineRule.FIRST if first is None else BaselineRule.PRE_TREATMENT
    baseline = choose_baseline(points, rule, first_dose_at=first)
    as_of = START + timedelta(days=400)
    course = trajectory(instrument, [FormPoint(point) for point in points], given_doses, baseline, as_of)
    return trajectory_svg(instrument, course, given_doses, amounts_mg, shown_from)


def golden() -> str:
    """Every mark there is: three kinds of form, a gap, two doses on one day, one amount not known."""
    forms: list[Form] = [
        (-10, 20), (-3, 19), (4, 14), (8, 11.25), (11, 9), (15, None), (18, 8), (25, 6), (32, 5), (39, 7),
        (67, 11), (74, 12),
    ]  # fmt: skip
    doses = [dose(0), dose(7), dose(14), dose(14.3), dose(28)]
    return picture(forms, doses, {"dose-0": 50.0, "dose-7": 70.0, "dose-14": 70.0, "dose-14.3": 17.5})


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  # our own picture


def forms_of(text: str, kind: str = "") -> list[ET.Element]:
    return [each for each in parsed(text).iter() if each.get("class", "").startswith(f"form {kind}")]


def said(text: str) -> str:
    return str(parsed(text).findtext(f"{SVG}desc"))


def written(text: str) -> list[str]:
    return [each.text or "" for each in parsed(text).iter(f"{SVG}text")]


def corners(text: str) -> list[tuple[float, float]]:
    """Every coordinate of what is drawn in the picture's own units: samples of the legend are moved, and left out."""
    found = []
    for each in (one for part in parsed(text) if "transform" not in part.attrib for one in part.iter()):
        for across, down in (("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy")):
            if across in each.attrib:
                found.append((float(each.attrib[across]), float(each.attrib[down])))
        if each.tag == f"{SVG}rect":
            wide, high = float(each.attrib["width"]), float(each.attrib["height"])
            assert wide >= 0 <= high
            found.append((float(each.get("x", 0)) + wide, float(each.get("y", 0)) + high))
        pairs = (pair.split(",") for pair in each.get("points", "").split())
        found += [(float(across), float(down)) for across, down in pairs]
    return found


def assert_sound(text: str) -> None:
    """Well formed, described, inside its frame."""
    root = parsed(text)
    wide, high = (float(part) for part in root.attrib["viewBox"].split()[2:])
    assert wide == WIDTH
    outside = [(x, y) for x, y in corners(text) if not (0 <= x <= wide and 0 <= y <= high)]
    assert outside == []
    names = root.attrib["aria-labelledby"].split()
    assert root.attrib["role"] == "img"
    assert [each.get("id") for each in root[:2]] == names
    assert all(each.text for each in root[:2])


def test_golden_picture() -> None:
    """Byte for byte; a wanted change is written by `python -m tests.test_charts`."""
    assert golden() == GOLDEN.read_text(encoding="utf-8")
    assert_sound(golden())


def test_golden_picture_in_words() -> None:
    """Who cannot see it is told the same."""
    assert said(golden()) == (
        "Patient Health Questionnaire, 9 items (PHQ-9). Total, 0 to 27; lower is better. "
        "12 forms from 20 Feb 2026 to 15 May 2026: 10 with every item answered, 1 prorated, 1 incomplete, without a "
        "total. Baseline 19 (27 Feb 2026, last before the first dose). Latest total 12, moderate, on 15 May 2026. "
        "Response line 9.5: better by 50 %. 5 dosing sessions: 1 on 2 Mar 2026, 50 mg; 2 on 9 Mar 2026, 70 mg; "
        "3 on 16 Mar 2026, 70 mg; 4 on 16 Mar 2026, 17.5 mg; 5 on 30 Mar 2026, amount not known. "
        "Not known: the total of 1 form; the amount of 1 dose; 5 of 12 expected check-ins. Time order is not cause."
    )


def test_no_forms_yet() -> None:
    """A picture that says so, with and without doses."""
    for text in (picture([]), picture([], [dose(0)])):
        assert_sound(text)
        assert "No forms yet" in written(text)
        assert "No forms yet." in said(text)
        assert forms_of(text) == []


def test_forms_before_the_period_are_left_out() -> None:
    """The baseline still stands; a period without forms says so."""
    forms: list[Form] = [(-1, 19), (10, 8)]
    text = picture(forms, [dose(0)], shown_from=START + timedelta(days=5))
    assert len(forms_of(text)) == 1
    assert any("baseline 19" in each for each in written(text))
    assert 'class="dose"' not in text
    assert "No forms in this period" in written(picture(forms, shown_from=START + timedelta(days=50)))


def test_kinds_of_form_are_told_apart_without_colour() -> None:
    """Filled circle, open circle, cross under the plot."""
    text = picture([(0, 10), (7, 11.25), (14, None)])
    ((valid,), (prorated,), (incomplete,)) = (forms_of(text, kind.value) for kind in Validity)
    assert (valid.tag, prorated.tag, incomplete.tag) == (f"{SVG}circle", f"{SVG}circle", f"{SVG}polygon")
    assert (valid.get("fill"), prorated.get("fill")) == (valid.get("stroke"), "#fff")
    lowest = max(float(each.attrib["cy"]) for each in forms_of(picture([(0, 0)])))
    assert all(float(pair.split(",")[1]) > lowest for pair in incomplete.attrib["points"].split())


@pytest.mark.parametrize(("days", "joined"), [(JOIN_DAYS, 1), (JOIN_DAYS + 0.01, 0)])
def test_a_gap_is_not_joined(days: float, joined: int) -> None:
    """Three weeks are joined, more are not."""
    assert picture([(0, 10), (days, 8)]).count('class="run"') == joined
    both = picture([(0, 10), (7, 9), (7 + days, 8), (14 + days, 8)])
    assert both.count('class="run"') == 2 - joined


def test_two_doses_on_one_day_are_two_marks() -> None:
    """With labels one over the other."""
    text = picture([(-1, 19)], [dose(0, "a"), dose(0, "b")], {"a": 50, "b": 20.5})
    assert text.count('class="dose"') == 2
    assert {"1", "2", "50", "20.5"} <= set(written(text))
    assert_sound(text)


def test_labels_without_room_are_counted() -> None:
    """The mark stays; a note says how many labels there are not."""
    text = picture([(-1, 19)], [dose(0, name) for name in "abcde"])
    assert text.count('class="dose"') == 5
    assert any(each.startswith("2 of 5 dosing sessions have no label") for each in written(text))


def test_all_at_one_time_and_far_apart() -> None:
    """Nothing is divided by no time, and centuries fit."""
    courses: list[list[Form]] = [[(0, 10), (0, 12), (0, None)], [(-300_000, 10), (0, 12)], [(0, 1), (0.1, 2)]]
    for forms in courses:
        text = picture(forms)
        assert_sound(text)
        assert len(forms_of(text)) == len(forms)


def test_a_time_axis_has_two_to_five_dates() -> None:
    """However long the course."""
    for days in (1, 6, 12, 30, 65, 100, 366, 1000, 5000, 40_000):
        text = picture([(0, 10), (days, 12)])
        axis = [each for each in written(text) if re.fullmatch(r"\d+ [A-Z][a-z]{2}", each)]
        assert 2 <= len(axis) <= 5, days


@pytest.mark.parametrize("reference", ["phq-2", "phq-8", "gad-7", "pcl-5-week", "pcl-5-month", "pc-ptsd-5", "who-5"])
def test_every_instrument_is_drawn_from_its_declaration(reference: str) -> None:
    """Its ends, its bands or its cut-point, its precision or that there is none."""
    instrument = get_instrument(reference)
    text = picture([(0, instrument.maximum), (7, instrument.minimum)], instrument=instrument)
    assert_sound(text)
    assert {str(instrument.minimum), str(instrument.maximum)} <= set(written(text))
    assert text.count('class="cut-point"') == (0 if instrument.bands else 1)
    assert ("no measurement error" in said(text)) is ('class="sem"' not in text)


def test_higher_is_better_is_said_and_drawn_upwards() -> None:
    """More well-being stands higher, and the cut-point speaks of what is below it."""
    text = picture([(0, 20), (7, 80)], instrument=get_instrument("who-5"))
    low, high = (float(each.attrib["cy"]) for each in forms_of(text))
    assert high < low
    assert "Total, 0 to 100; higher is better" in written(text)
    assert "cut-point: 50 or less" in " ".join(written(text))


def test_text_is_escaped_and_nobody_is_named() -> None:
    """A title may hold anything; ids of forms and doses are not in the picture."""
    odd = replace(PHQ_9, title="<script>&\"'</script>")
    text = picture([(0, 10)], [dose(0, "secret-dose")], instrument=odd)
    assert_sound(text)
    assert "<script" not in text
    assert "secret" not in text
    assert not re.search(r"(?:href|src|url)\b", text)


def test_no_baseline_draws_no_line_and_says_why() -> None:
    """Neither is there a response to count from it."""
    text = picture([(3, 10)], [dose(0)])
    assert 'class="baseline"' not in text
    assert 'class="response"' not in text
    assert "There is no baseline: no form before the first dose." in written(text)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 700), st.none() | st.integers(0, 27) | st.floats(0, 27)), max_size=25),
    st.lists(st.floats(-60, 710), max_size=12),
)
def test_every_form_appears_once_inside_the_frame(forms: list[Form], days: list[float]) -> None:
    """Whatever the course."""
    doses = [dose(day, str(place)) for place, day in enumerate(days)]
    text = picture(sorted(forms, key=lambda form: form[0]), doses)
    assert_sound(text)
    assert len(forms_of(text)) == len(forms)
    assert len(forms_of(text, "incomplete")) == sum(total is None for _, total in forms)
    assert text.count('class="sem"') == sum(total is not None for _, total in forms)
    assert text.count('class="dose"') == len(days)


def test_three_hundred_forms() -> None:
    """Six years of weeks."""
    text = picture([(7 * week, (week * 5) % 28) for week in range(300)])
    assert_sound(text)
    assert len(forms_of(text)) == 300


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="utf-8")
