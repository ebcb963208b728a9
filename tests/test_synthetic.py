"""The synthetic clinic: repeatable, possible, scoreable and varied."""

import ast
import hashlib
import os
import subprocess
import sys
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


def scored(form: SyntheticForm) -> Score:
    return score(get_instrument(form.instrument), form.responses)


def doses(person: SyntheticPatient) -> tuple[datetime, ...]:
    return dose_times(person.episode.treatment_sessions)


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


def test_a_sitting_that_is_not_over_has_not_happened() -> None:
    """In the middle of a sitting none of its forms may be dated ahead of the clock."""
    evening = NOW.replace(hour=23, minute=59)
    start = evening.date() - timedelta(days=40)
    todays = [
        form.taken_at
        for form in all_forms(synthetic_clinic(1, 60, start=start, now=evening))
        if form.taken_at.astimezone(UTC).date() == evening.date()
    ]
    assert len(todays) > 3
    for taken_at in todays:
        now = taken_at - timedelta(seconds=1)
        assert all(form.taken_at <= now for form in all_forms(synthetic_clinic(1, 60, start=start, now=now)))


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
    return sum(seen(person, first_day, last_day) for person in expected) / len(expected)


def seen(person: SyntheticPatient, first_day: int, last_day: int) -> bool:
    """Whether a PHQ-9 was filled in on any day from the first to before the last, counted from the first dose."""
    first = doses(person)[0]
    days = [(form.taken_at - first) / timedelta(days=1) for form in person.forms if form.instrument == "phq-9"]
    return any(first_day <= day < last_day for day in days)


def test_some_answer_the_self_harm_item_and_most_do_not() -> None:
    """Alerts must be there to be handled, and must not drown the rest."""
    raised = [form.responses[8] for form in all_forms(clinic()) if form.instrument == "phq-9"]
    assert 0.1 < sum(bool(answer) for answer in raised) / len(raised) < 0.5
    assert set(raised) >= {0, 1, 2}


# --- The package ------------------------------------------------------------------------------------------------------


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
