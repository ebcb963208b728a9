"""The synthetic clinic: repeatable, possible, scoreable, and with the courses it promises."""

import ast
import hashlib
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.schemas.assessments import AssessmentSubmit
from app.scoring import get_instrument, score
from app.scoring.model import Score, Validity
from app.synthetic import (
    CourseKind,
    SyntheticClinic,
    SyntheticForm,
    SyntheticPatient,
    SyntheticTreatmentSession,
    forms_stream,
    synthetic_clinic,
    synthetic_patients,
)
from app.synthetic.answers import QUESTIONNAIRES, personal_weights, spread
from app.synthetic.courses import SHARES
from app.synthetic.sessions import dose_times

ROOT = Path(__file__).parents[1]
START = date(2025, 9, 1)
NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
SEEDS = range(12)


@cache
def clinic(seed: int = 1, patients: int = 60) -> SyntheticClinic:
    return synthetic_clinic(seed, patients, start=START, now=NOW)


def patient(external_ref: str, seed: int = 1) -> SyntheticPatient:
    return next(each for each in clinic(seed, 8).patients if each.external_ref == external_ref)


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


def all_forms(of: SyntheticClinic) -> Iterator[SyntheticForm]:
    return (form for person in of.patients for form in person.forms)


def all_sessions(of: SyntheticClinic) -> Iterator[SyntheticTreatmentSession]:
    return (session for person in of.patients for session in person.episode.treatment_sessions)


def digest(of: SyntheticClinic) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()


# --- Repeatable -------------------------------------------------------------------------------------------------------


IN_ANOTHER_PROCESS = """
from datetime import UTC, date, datetime
from hashlib import sha256
from app.synthetic import synthetic_clinic
clinic = synthetic_clinic(start=date(2025, 9, 1), now=datetime(2026, 11, 20, 18, 0, tzinfo=UTC))
print(sha256(repr(clinic).encode()).hexdigest())
"""


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_same_seed_and_dates_give_the_same_clinic_in_any_process(hash_seed: str) -> None:
    """Neither the process nor its hash seed may change a byte."""
    answer = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == digest(clinic())


def test_another_seed_gives_another_clinic() -> None:
    """A seed that changes nothing would be no seed."""
    assert len({digest(clinic(seed, 8)) for seed in SEEDS}) == len(SEEDS)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(), few=st.integers(0, 15), more=st.integers(0, 15))
def test_a_patient_does_not_depend_on_how_many_others_there_are(seed: int, few: int, more: int) -> None:
    """A larger clinic is the smaller one and some more people."""
    small = synthetic_clinic(seed, few, start=START, now=NOW).patients
    large = synthetic_clinic(seed, few + more, start=START, now=NOW).patients
    assert large[:few] == small
    assert len({person.external_ref for person in large}) == few + more


def test_form_ids_are_unique_and_repeatable() -> None:
    """Loading the clinic twice must store each form once, and never mistake one for another."""
    ids = [form.id for form in all_forms(clinic())]
    assert len(set(ids)) == len(ids)
    assert ids == [form.id for form in all_forms(synthetic_clinic(start=START, now=NOW))]


def test_patients_can_be_made_one_at_a_time() -> None:
    """A clinic too large for memory is still a walk through its patients."""
    assert tuple(islice(synthetic_patients(1, 10**12, start=START, now=NOW), 9)) == clinic().patients[:9]


@pytest.mark.parametrize(
    ("patients", "start", "now"),
    [
        (-1, START, NOW),
        (1, START, NOW.replace(tzinfo=None)),
        (1, NOW.date() - timedelta(days=2), NOW),
        (1, NOW.date() + timedelta(days=1), NOW),
    ],
)
def test_impossible_clinics_are_refused(patients: int, start: date, now: datetime) -> None:
    """A negative clinic, a clock without an offset, and a window without room are mistakes of the caller."""
    with pytest.raises(ValueError, match=r"negative|offset|window"):
        synthetic_patients(1, patients, start=start, now=now)


# --- Possible ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), days=st.integers(3, 800), hour=st.integers(0, 23))
def test_every_clinic_is_possible(seed: int, days: int, hour: int) -> None:
    """Whatever the window: each form scores, was taken in waking hours by the patient's clock, and not after now."""
    now = datetime.combine(START, datetime.min.time(), UTC) + timedelta(days=days, hours=hour)
    for person in synthetic_patients(seed, 30, start=START, now=now):
        check_forms(person, now)
        check_sessions(person, now)


def check_forms(person: SyntheticPatient, now: datetime) -> None:
    offset = timedelta(minutes=person.utc_offset_minutes)
    closed_at = person.episode.closed_at
    assert person.episode.opened_at <= now
    assert closed_at is None or person.episode.opened_at < closed_at <= now
    for earlier, later in pairwise(person.forms):
        assert earlier.taken_at < later.taken_at
    for form in person.forms:
        scored(form)
        assert form.taken_at.utcoffset() == offset
        assert 7 <= form.taken_at.hour < 22
        assert person.episode.opened_at < form.taken_at <= (closed_at or now)


def check_sessions(person: SyntheticPatient, now: datetime) -> None:
    sessions = person.episode.treatment_sessions
    assert [session.number for session in sessions] == list(range(1, len(sessions) + 1))
    given_ = doses(person)
    assert all(earlier.date() < later.date() for earlier, later in pairwise(given_))
    for session in sessions:
        assert session.planned_at.utcoffset() == timedelta(minutes=person.utc_offset_minutes)
        assert session.planned_at.weekday() < 5
        assert (session.status == "done") == (session.started_at is not None) == (session.ended_at is not None)
        assert (session.status == "moved") == (session.moved_to_at is not None)
        assert (session.dose_mg is not None) == (session.kind == "dosing" and session.status == "done")
        check_status(session, sessions, now)
        check_dosing_day(session, now)
        if person.episode.closed_at is not None:
            assert session.status != "planned"


def check_status(
    session: SyntheticTreatmentSession, sessions: tuple[SyntheticTreatmentSession, ...], now: datetime
) -> None:
    match session.status:
        case "done":
            assert session.started_at is not None
            assert session.ended_at is not None
            assert session.planned_at <= session.started_at < session.ended_at <= now
        case "planned":
            assert session.planned_at + timedelta(hours=4) > now
        case "cancelled":
            assert session.planned_at <= now
        case "moved":
            assert session.planned_at <= now
            assert any(s.planned_at == session.moved_to_at and s.kind == session.kind for s in sessions)


def check_dosing_day(session: SyntheticTreatmentSession, now: datetime) -> None:
    if session.dose_mg is None or session.started_at is None or session.ended_at is None:
        assert not session.observations
        assert not session.adverse_events
        return
    assert session.weight_kg is not None
    assert 15 <= session.dose_mg <= 400
    assert session.route != "intravenous" or 0.4 <= session.dose_mg / session.weight_kg <= 0.6
    for reading in session.observations:
        assert session.started_at - timedelta(minutes=15) <= reading.at <= session.ended_at
    for event in session.adverse_events:
        assert session.started_at < event.onset_at <= now
        assert event.resolved_at is None or event.onset_at < event.resolved_at <= now


def test_forms_are_what_the_service_takes() -> None:
    """Every form must pass the door of the service as it stands."""
    for form in all_forms(clinic()):
        AssessmentSubmit(
            id=form.id,
            patient_id=form.id,
            instrument=form.instrument,
            responses=list(form.responses),
            taken_at=form.taken_at,
            mode=form.mode,
            language=form.language,
        )


def test_the_difficulty_question_is_answered_only_by_those_who_are_bothered() -> None:
    """The form asks it only if any of the nine items was checked off."""
    forms = [form.responses for form in all_forms(clinic(2, 200)) if form.instrument == "phq-9"]
    assert all(any(items[:9]) for items in forms if len(items) == 10)
    assert {len(items) for items in forms} == {9, 10}
    assert any(not any(items[:9]) for items in forms)


def test_the_shapes_of_the_questionnaires_are_those_declared() -> None:
    """Items, answers and the number of blanks that can be prorated must not drift from the declarations."""
    for name, shape in QUESTIONNAIRES.items():
        instrument = get_instrument(name)
        assert len(shape.weights) == len(shape.groups) == len(instrument.scored_items)
        assert {answer.value for item in instrument.scored_items for answer in item.answers} == {*range(shape.top + 1)}
        assert shape.gaps_prorated == instrument.missing.at_most


@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(QUESTIONNAIRES)), share=st.floats(0, 1))
def test_the_answers_sum_to_the_total_they_were_made_from(seed: int, name: str, share: float) -> None:
    """Severity decides the total; how it is spread over the items must not change it."""
    shape = QUESTIONNAIRES[name]
    draw = Random(seed)  # noqa: S311 - a repeatable draw is the point
    total = round(share * shape.top * len(shape.weights))
    answers = spread(draw, total, personal_weights(draw, shape), shape.top)
    assert sum(answers) == total
    assert all(0 <= answer <= shape.top for answer in answers)


# --- Varied -----------------------------------------------------------------------------------------------------------


def test_blanks_are_occasional() -> None:
    """Prorated forms must occur with every instrument, incomplete ones too, and the more blanks the rarer."""
    count = Counter((form.instrument, scored(form).validity) for form in all_forms(clinic(1, 400)))
    for name in QUESTIONNAIRES:
        valid, prorated, incomplete = (count[name, validity] for validity in Validity)
        assert 0 < incomplete < prorated < valid / 10


def test_each_twenty_patients_after_the_named_ones_hold_the_stated_shares() -> None:
    """Benchmarks of two sizes must see the same mixture."""
    kinds = [person.kind for person in clinic(3, 48).patients]
    assert kinds[:8] == list(CourseKind)
    assert Counter(kinds[8:28]) == Counter(kinds[28:48]) == SHARES
    assert kinds[8:28] != kinds[28:48]


def test_the_demo_shows_every_kind_of_treatment_session_and_status() -> None:
    """The default clinic is what people look at first: nothing in the model may be absent from it."""
    sessions = list(all_sessions(clinic()))
    assert {session.kind for session in sessions} == {"preparation", "dosing", "integration"}
    assert {session.status for session in sessions} == {"planned", "done", "cancelled", "moved"}
    given_ = [session for session in sessions if session.dose_mg is not None]
    assert {session.route for session in given_} == {"intramuscular", "sublingual", "intravenous"}
    assert {session.setting for session in given_} == {"clinic", "home"}
    assert {session.concomitant_benzodiazepine for session in given_} == {True, False}
    assert {reading.unit for session in given_ for reading in session.observations} == {"mmHg", "/min", "%", "0-10"}
    events = [event for session in given_ for event in session.adverse_events]
    assert {event.severity for event in events} == {"mild", "moderate", "severe"}
    assert {event.serious for event in events} == {True, False}


def test_the_demo_shows_every_treatment_mode_and_offset() -> None:
    """A few people are in other treatments, a few forms are interviews, and a few people live elsewhere."""
    people = clinic().patients
    modalities = Counter(person.episode.modality for person in people)
    assert set(modalities) == {"ketamine_assisted_psychotherapy", "exposure_therapy", "medication"}
    assert modalities["ketamine_assisted_psychotherapy"] > 45
    assert all(
        person.episode.modality == "ketamine_assisted_psychotherapy" or not person.episode.treatment_sessions
        for person in people
    )
    assert {form.mode for form in all_forms(clinic())} == {"self", "interview", "proxy"}
    assert {form.language for form in all_forms(clinic())} == {"en", "es"}
    assert len({person.utc_offset_minutes for person in people}) > 3


def test_most_courses_have_four_to_six_doses_within_eight_weeks() -> None:
    """The usual course, among those who had the time to finish theirs and did not stop early."""
    stopped = {CourseKind.WORSE_AFTER_DOSE_2, CourseKind.DROPPED_OUT}
    courses = [
        given_
        for person in clinic(1, 400).patients
        if (given_ := doses(person)) and person.kind not in stopped and given_[0] < NOW - timedelta(days=70)
    ]
    assert sum(4 <= len(given_) <= 6 for given_ in courses) > 0.85 * len(courses)
    assert all(given_[-1] - given_[0] < timedelta(days=8 * 7) for given_ in courses)


def test_more_people_are_lost_the_later_it_gets() -> None:
    """Completeness is the field's failure: it must be there to be seen."""
    longer = synthetic_clinic(1, 400, start=date(2023, 9, 1), now=NOW)  # so that most have come to month 12
    people = [person for person in longer.patients[8:] if doses(person)]
    observed = [observed_rate(people, *days) for days in ((0, 8), (40, 60), (80, 110), (170, 200), (350, 380))]
    assert observed == sorted(observed, reverse=True)
    assert observed[0] > 0.95
    assert observed[-1] < 0.35


def observed_rate(people: list[SyntheticPatient], first_day: int, last_day: int) -> float:
    expected = [person for person in people if doses(person)[0] + timedelta(days=last_day) < NOW]
    return sum(bool(between(person, first_day, last_day)) for person in expected) / len(expected)


def test_some_answer_the_self_harm_item_and_most_do_not() -> None:
    """Alerts must be there to be handled, and must not drown the rest."""
    raised = [form.responses[8] for form in all_forms(clinic()) if form.instrument == "phq-9"]
    assert 0.1 < sum(bool(answer) for answer in raised) / len(raised) < 0.5
    assert set(raised) >= {0, 1, 2}


# --- The named courses, whatever the seed -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_named_patients_are_seen_when_they_should_be(seed: int) -> None:
    """Before the first dose, a day, three days and a week after, weekly to week 8, and at months 3, 6 and 12."""
    for person in clinic(seed, 8).patients:
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


# --- Streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_is_repeatable_ordered_and_scoreable() -> None:
    """Load tests need rows the service takes, in the same order each time, as many as asked for."""
    rows = list(forms_stream(5, 3_000, start=NOW, patients=50))
    assert rows == list(forms_stream(5, 3_000, start=NOW, patients=50))
    assert rows != list(forms_stream(6, 3_000, start=NOW, patients=50))
    assert len(rows) == 3_000
    assert {row.patient_index for row in rows} == set(range(50))
    assert all(earlier.taken_at < later.taken_at for earlier, later in pairwise(rows))
    assert rows[0].taken_at == NOW
    assert rows[-1].taken_at < NOW + timedelta(days=365)
    validity = Counter(score(get_instrument(row.instrument), row.responses).validity for row in rows)
    assert 0 < validity[Validity.PRORATED] < 0.1 * len(rows)
    self_harm = [row.responses[8] for row in rows if row.instrument == "phq-9"]
    assert 0 < sum(bool(answer) for answer in self_harm) < 0.5 * len(self_harm)


def test_a_stream_takes_no_memory_that_grows() -> None:
    """Ten thousand rows must cost no more than the tables they are made from."""
    rows = forms_stream(1, 10**12, start=NOW)
    next(rows)
    tracemalloc.start()
    try:
        for _ in islice(rows, 10_000):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000  # bytes


def test_a_stream_spans_thousands_of_years_without_overflow() -> None:
    """The place of a row in time is worked out exactly, however long the stream."""
    span = timedelta(days=365 * 7_000)
    rows = list(forms_stream(1, 1_000, start=datetime(2000, 1, 1, tzinfo=UTC), span=span))
    assert rows[500].taken_at == datetime(2000, 1, 1, tzinfo=UTC) + span / 2


@pytest.mark.parametrize(("count", "patients", "start"), [(-1, 1, NOW), (1, 0, NOW), (1, 1, NOW.replace(tzinfo=None))])
def test_impossible_streams_are_refused(count: int, patients: int, start: datetime) -> None:
    """Before the first row, not in the middle of a load test."""
    with pytest.raises(ValueError, match=r"stream|offset"):
        forms_stream(1, count, start=start, patients=patients)


# --- The package and its page -----------------------------------------------------------------------------------------


def test_the_generator_imports_the_standard_library_and_itself_alone() -> None:
    """It must run where there is no database, no web framework and no scoring."""
    for path in (ROOT / "app" / "synthetic").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                assert name.startswith("app.synthetic") or name.split(".")[0] in sys.stdlib_module_names


def test_the_page_shows_the_named_patients_as_they_are() -> None:
    """The figures of docs/synthetic-clinic.md are those of the clinic it names."""
    page = (ROOT / "docs" / "synthetic-clinic.md").read_text(encoding="utf-8")
    for person in clinic().patients[:8]:
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
