"""The named patients of the synthetic clinic show their course under every seed, and the page shows them."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from app.scoring import get_instrument, score
from app.scoring.model import Score
from app.synthetic import CourseKind, SyntheticClinic, SyntheticForm, SyntheticPatient, synthetic_clinic
from app.synthetic.courses import SHARES
from app.synthetic.sessions import dose_times

ROOT = Path(__file__).parents[1]
START = date(2025, 9, 1)
NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
SEEDS = range(12)


@cache
def clinic(seed: int = 1) -> SyntheticClinic:
    return synthetic_clinic(seed, 8, start=START, now=NOW)


def patient(external_ref: str, seed: int = 1) -> SyntheticPatient:
    return next(each for each in clinic(seed).patients if each.external_ref == external_ref)


def scored(form: SyntheticForm) -> Score:
    return score(get_instrument(form.instrument), form.responses)


def doses(person: SyntheticPatient) -> tuple[datetime, ...]:
    return dose_times(person.episode.treatment_sessions)


def totals(person: SyntheticPatient) -> list[tuple[float, float]]:
    """Days since the first dose, and PHQ-9 total."""
    first = doses(person)[0]
    return [
        ((form.taken_at - first) / timedelta(days=1), total)
        for form in person.forms
        if form.instrument == "phq-9" and (total := scored(form).total) is not None
    ]


def baseline(person: SyntheticPatient) -> float:
    return [total for day, total in totals(person) if day < 0][-1]


def between(person: SyntheticPatient, first_day: float, last_day: float) -> list[float]:
    return [total for day, total in totals(person) if first_day <= day < last_day]


@pytest.mark.parametrize("seed", SEEDS)
def test_named_patients_are_seen_when_they_should_be(seed: int) -> None:
    """Before the first dose, a day, three days and a week after, weekly to week 8, and at months 3, 6 and 12."""
    for person in clinic(seed).patients:
        if person.kind is not CourseKind.DROPPED_OUT:
            seen = {form.taken_at.date() - doses(person)[0].date() for form in person.forms}
            wanted = {0, 1, 3, *(7 * week for week in range(1, 9)), 91, 182, 365}
            assert {timedelta(days=day) for day in wanted} <= seen
            assert baseline(person) == totals(person)[1][1]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fast_relapse_halves_within_a_week_and_is_back_at_week_five(seed: int) -> None:
    """`demo-fast-relapse`: what a look at baseline and month 3 alone would miss."""
    person = patient("demo-fast-relapse", seed)
    assert min(between(person, 0, 7)) <= baseline(person) / 2
    assert max(between(person, 14, 25)) <= baseline(person) / 2
    assert min(between(person, 34, 400)) > baseline(person) / 2
    assert len(between(person, 34, 36)) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fast_durable_responder_stays_in_response(seed: int) -> None:
    """`demo-fast-durable`: response within a week, remission by week four, held for a year."""
    person = patient("demo-fast-durable", seed)
    assert min(between(person, 0, 7)) <= baseline(person) / 2
    assert max(between(person, 28, 400)) < 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_slow_responder_responds_only_after_week_five(seed: int) -> None:
    """`demo-slow`: no response in the first five weeks, response by week eight."""
    person = patient("demo-slow", seed)
    assert min(between(person, 0, 35)) > baseline(person) / 2
    assert max(between(person, 55, 400)) <= baseline(person) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_the_partial_responder_falls_by_a_quarter_to_a_half(seed: int) -> None:
    """`demo-partial`: better, and not a responder."""
    person = patient("demo-partial", seed)
    assert all(0.5 < total / baseline(person) <= 0.75 for total in between(person, 14, 400))


@pytest.mark.parametrize("seed", SEEDS)
def test_who_never_responds_stays_within_the_error_of_the_scale(seed: int) -> None:
    """`demo-never`: no five-point change at any time, item 9 answered throughout."""
    person = patient("demo-never", seed)
    assert all(abs(total - baseline(person)) < 5 for total in between(person, 0, 400))
    assert {form.responses[8] for form in person.forms if form.instrument == "phq-9"} == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_who_gets_worse_does_so_after_the_second_dose(seed: int) -> None:
    """`demo-worse-after-dose-2`: reliable worsening, item 9 from 0 to 2, a serious event, the rest called off."""
    person = patient("demo-worse-after-dose-2", seed)
    second = doses(person)[1]
    after = [form for form in person.forms if form.instrument == "phq-9" and form.taken_at > second]
    before = [form for form in person.forms if form.instrument == "phq-9" and form.taken_at < second]
    assert {form.responses[8] for form in before} == {0}
    assert {form.responses[8] for form in after} == {2}
    assert max(between(person, 8, 20)) - baseline(person) >= 6
    sessions = person.episode.treatment_sessions
    assert [s.status for s in sessions if s.kind == "dosing"] == ["done", "done", "cancelled", "cancelled"]
    assert any(event.serious for session in sessions for event in session.adverse_events)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_drops_out_leaves_few_forms_and_a_closed_episode(seed: int) -> None:
    """`demo-dropped-out`: four sittings, then silence."""
    person = patient("demo-dropped-out", seed)
    assert len(totals(person)) == 4
    assert totals(person)[-1][0] < 7
    assert person.episode.closed_at is not None
    assert any(session.status == "cancelled" for session in person.episode.treatment_sessions)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_low_severity_patient_never_reaches_caseness(seed: int) -> None:
    """`demo-low-severity`: below 10 on the PHQ-9 and 33 on the PCL-5 from the start."""
    person = patient("demo-low-severity", seed)
    limits = {"phq-9": 10, "pcl-5-month": 33, "pcl-5-week": 33, "gad-7": 8}
    assert all((scored(form).total or 0) < limits[form.instrument] for form in person.forms)


def test_the_page_shows_the_named_patients_as_they_are() -> None:
    """The figures of docs/synthetic-clinic.md are those of the clinic it names."""
    page = (ROOT / "docs" / "synthetic-clinic.md").read_text(encoding="utf-8")
    for person in clinic().patients:
        assert table_row(person) in page
    for kind, count in SHARES.items():
        assert f"| `{kind}` | {count * 5} % |" in page


def table_row(person: SyntheticPatient) -> str:
    """Last form before the first dose, day 3, weeks 1, 3, 5 and 8, month 12."""
    columns = [baseline(person), *(at_day(person, day) for day in (3, 7, 21, 35, 56, 365))]
    return (
        f"| `{person.external_ref}` | " + " | ".join("-" if total is None else f"{total}" for total in columns) + " |"
    )


def at_day(person: SyntheticPatient, day: int) -> float | None:
    first = doses(person)[0].date()
    wanted = [
        form
        for form in person.forms
        if form.instrument == "phq-9" and form.taken_at.date() == first + timedelta(days=day)
    ]
    return scored(wanted[0]).total if wanted else None
