"""The essential forms of a course judge its newest ones as all of them do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.scoring.alerting import form_causes
from app.scoring.essential import essential
from app.scoring.model import Instrument, Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.standing import Standing, standing
from app.scoring.treatment import Baseline, Dose, usual_baseline
from app.scoring.worse_after_dose import FormPoint

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
INSTRUMENTS: Final = [get_instrument(reference) for reference in ("phq-9", "pcl-5-week", "who-5", "phq-2")]

Answers = tuple[int, int | None, int | None]  # hours since the form before, total, critical answer
courses = st.lists(
    st.tuples(
        st.integers(1, 24 * 30), st.one_of(st.none(), st.integers(0, 27)), st.one_of(st.none(), st.integers(0, 3))
    ),
    min_size=1,
    max_size=40,
)
dose_hours = st.lists(st.integers(0, 24 * 400), max_size=5, unique=True)


def course_of(instrument: Instrument, answers: list[Answers]) -> list[FormPoint]:
    at, forms = START, []
    for number, (hours, total, value) in enumerate(answers):
        at += timedelta(hours=hours)
        validity = Validity.INCOMPLETE if total is None else Validity.VALID
        critical = {critical.item: value for critical in instrument.critical_items}
        forms.append(FormPoint(Point(f"{number:03d}", at, total, validity), critical))
    return forms


def doses_of(hours: list[int]) -> list[Dose]:
    return [Dose(str(hour), START + timedelta(hours=hour)) for hour in sorted(hours)]


def essential_forms(instrument: Instrument, forms: list[FormPoint], doses: list[Dose], newest: int) -> list[FormPoint]:
    places = essential(
        [form.point.at for form in forms],
        [form.point.total for form in forms],
        lambda place: all(value is not None for value in forms[place].critical_values.values()),
        [dose.started_at for dose in doses],
        newest,
        instrument.direction,
    )
    return [forms[place] for place in places]


def shown(found: Standing | None) -> Standing | None:
    """Without the count, and without why there is no baseline."""
    if found is None:
        return None
    return replace(found, forms=0, baseline=found.baseline if isinstance(found.baseline, Baseline) else None)  # type: ignore[arg-type]  # compared, not used


@given(instrument=st.sampled_from(INSTRUMENTS), answers=courses, hours=dose_hours, last=st.integers(1, 3))
@example(instrument=INSTRUMENTS[0], answers=[(1, 20, 0)] * 30, hours=[5], last=1)
@example(instrument=INSTRUMENTS[0], answers=[(1, 10, 0)] * 6 + [(1, 27, 3), (1, 9, None), (1, 9, 2)], hours=[2], last=1)
@settings(max_examples=400, deadline=None)
def test_newest_forms_are_judged_as_by_all(
    instrument: Instrument, answers: list[Answers], hours: list[int], last: int
) -> None:
    """The same alerts of the newest forms, the same baseline, the same standing."""
    forms, doses = course_of(instrument, answers), doses_of(hours)
    newest = max(0, len(forms) - last)
    some = essential_forms(instrument, forms, doses, newest)
    ids = {form.point.id for form in forms[newest:]}
    found = []
    for chosen in (forms, some):
        points = [form.point for form in chosen]
        baseline = usual_baseline(points, doses)
        causes = [cause for cause in form_causes(instrument, chosen, doses, baseline) if cause.form_id in ids]
        start = baseline.point if isinstance(baseline, Baseline) else None
        found.append((causes, start, shown(standing(instrument, points, doses, baseline))))
    assert found[0] == found[1]


@given(
    answers=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 27), st.integers(0, 3)), min_size=200, max_size=200)
)
@settings(max_examples=5, deadline=None)
def test_they_stay_few(answers: list[Answers]) -> None:
    """However long the course."""
    forms, doses = course_of(INSTRUMENTS[0], answers), doses_of([100, 400, 900])
    assert len(essential_forms(INSTRUMENTS[0], forms, doses, 199)) <= 16
