"""Puts a clinic together, one patient at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

from app.synthetic.chance import chance
from app.synthetic.checkins import sittings
from app.synthetic.courses import NAMED, Course, course_of, reference
from app.synthetic.forms import forms
from app.synthetic.model import (
    CourseKind,
    Modality,
    SyntheticClinic,
    SyntheticEpisode,
    SyntheticPatient,
    SyntheticTreatmentSession,
)
from app.synthetic.sessions import dose_times, treatment_sessions

NAME: Final = "Synthetic clinic (nobody here is real)"
TIME_ZONE: Final = "America/Phoenix"  # no summer time, so that a patient's offset holds all year
HOME_OFFSET: Final = -420  # min from UTC, the clinic's own
OFFSETS: Final = (HOME_OFFSET,) * 14 + (-480, -360, -300, -300, 60, 330)  # min from UTC, one per patient
KETAMINE: Final[Modality] = "ketamine_assisted_psychotherapy"
OTHER_MODALITIES: Final[tuple[Modality, ...]] = ("exposure_therapy", "exposure_therapy", "medication")
OTHER_MODALITY_RATE: Final = 0.25  # of those whose curve does not speak of doses
ANY_MODALITY: Final = frozenset({CourseKind.SLOW, CourseKind.PARTIAL, CourseKind.NEVER})
LANGUAGES: Final = ("en",) * 9 + ("es",)
SHORTEST_WINDOW_DAYS: Final = 3  # days; room for an intake in every time zone
NAMED_INTAKE_SHARE: Final = 0.08  # of the window: named patients come first, so that their course is over by `now`
EPISODE_DAYS: Final = 380  # days from start of treatment to closing: the last follow-up has been answered
DROPPED_DAYS: Final = (
    90  # days from intake to closing, for those who dropped out; the last dose they had planned is over
)


@dataclass(frozen=True, slots=True)
class _Window:
    start: date
    now: datetime

    @property
    def days(self) -> int:
        return (self.now.astimezone(UTC).date() - self.start).days


def synthetic_clinic(seed: int = 1, patients: int = 60, *, start: date, now: datetime) -> SyntheticClinic:
    """A clinic of invented patients who came between `start` and `now`. The same arguments give the same clinic.

    The first eight are one of each kind of course and have names of their own (`demo-slow`). A patient does not
    depend on how many others there are. Follow-up at month 12 needs a window of about thirteen months.

    Raises:
        ValueError: `patients` is negative, `now` has no offset, or the window is shorter than three days.

    >>> clinic = synthetic_clinic(patients=2, start=date(2025, 1, 1), now=datetime(2026, 1, 1, tzinfo=UTC))
    >>> [patient.external_ref for patient in clinic.patients]
    ['demo-fast-relapse', 'demo-fast-durable']
    """
    people = tuple(synthetic_patients(seed, patients, start=start, now=now))
    return SyntheticClinic(name=NAME, time_zone=TIME_ZONE, seed=seed, now=now, patients=people)


def synthetic_patients(seed: int = 1, patients: int = 60, *, start: date, now: datetime) -> Iterator[SyntheticPatient]:
    """The patients of `synthetic_clinic`, made one at a time: memory does not grow with their number.

    Raises:
        ValueError: as for `synthetic_clinic`, before the first patient is asked for.
    """
    if patients < 0:
        raise ValueError("the number of patients is negative")
    if now.tzinfo is None:
        raise ValueError("now has no offset")
    window = _Window(start, now)
    if window.days < SHORTEST_WINDOW_DAYS:
        raise ValueError(f"the window is shorter than {SHORTEST_WINDOW_DAYS} days")
    return (_patient(seed, index, window) for index in range(patients))


def _patient(seed: int, index: int, window: _Window) -> SyntheticPatient:
    draw = chance(seed, index, "person")
    course = course_of(seed, index)
    offset = HOME_OFFSET if course.named else draw.choice(OFFSETS)
    language = "en" if course.named else draw.choice(LANGUAGES)
    opened_at = _opened_at(seed, index, window, offset)
    modality = _modality(seed, index, course)
    sessions = treatment_sessions(seed, index, course, opened_at, window.now) if modality == KETAMINE else ()
    doses = dose_times(sessions)
    anchor = _anchor(opened_at, doses, sessions)
    held = sittings(seed, index, course, opened_at, anchor, doses, window.now)
    closed_at = _closed_at(course, opened_at, anchor, window.now)
    return SyntheticPatient(
        external_ref=reference(index),
        kind=course.kind,
        utc_offset_minutes=offset,
        language=language,
        episode=SyntheticEpisode(modality, opened_at, closed_at, sessions),
        forms=tuple(forms(seed, index, language, course, anchor, doses, held)),
    )


def _opened_at(seed: int, index: int, window: _Window, offset: int) -> datetime:
    """Intake: early in the window for the named, any day of it for the others, in the patient's own morning."""
    draw = chance(seed, index, "intake")
    last = window.days - SHORTEST_WINDOW_DAYS
    day = draw.randint(0, int(last * NAMED_INTAKE_SHARE) if index < len(NAMED) else last)
    at = time(draw.randint(9, 15), draw.choice((0, 15, 30, 45)), tzinfo=timezone(timedelta(minutes=offset)))
    return datetime.combine(window.start + timedelta(days=day), at)


def _modality(seed: int, index: int, course: Course) -> Modality:
    draw = chance(seed, index, "modality")
    if course.named or course.kind not in ANY_MODALITY or draw.random() >= OTHER_MODALITY_RATE:
        return KETAMINE
    return draw.choice(OTHER_MODALITIES)


def _anchor(
    opened_at: datetime, doses: tuple[datetime, ...], sessions: tuple[SyntheticTreatmentSession, ...]
) -> datetime:
    """The start of treatment: the first dose; as long as there is none, the day it is planned for or a week on."""
    planned = (session.planned_at for session in sessions if session.kind == "dosing" and session.status == "planned")
    return doses[0] if doses else next(planned, opened_at + timedelta(days=7))


def _closed_at(course: Course, opened_at: datetime, anchor: datetime, now: datetime) -> datetime | None:
    dropped = course.kind is CourseKind.DROPPED_OUT
    closed_at = opened_at + timedelta(days=DROPPED_DAYS) if dropped else anchor + timedelta(days=EPISODE_DAYS)
    return closed_at if closed_at <= now else None
