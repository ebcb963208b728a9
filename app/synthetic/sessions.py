"""The calendar of one course: preparation, four to six doses over two to eight weeks, integration."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from random import Random
from typing import Final

from app.synthetic.chance import chance
from app.synthetic.courses import Course
from app.synthetic.dosing import MEDICINE, Dosing, adverse_events, dose_mg, dosing_of, observations
from app.synthetic.model import CourseKind, SessionKind, SyntheticTreatmentSession

Days = tuple[int, ...]

# Days of the doses since the first one. A relapse at week five is only seen where the doses are over by then.
SHORT: Final[tuple[Days, ...]] = ((0, 4, 7, 11), (0, 2, 4, 7, 9, 11), (0, 7, 14, 21))
LONG: Final[tuple[Days, ...]] = ((0, 7, 14, 21, 28), (0, 7, 14, 21, 28, 35), (0, 14, 28, 42), (0, 10, 21, 35, 49))
NAMED: Final[Mapping[CourseKind, Days]] = {
    CourseKind.FAST_RELAPSE: (0, 4, 7, 11),
    CourseKind.SLOW: (0, 7, 14, 21, 28, 35),
}
NAMED_OTHERWISE: Final[Days] = (0, 7, 14, 21)
STOPS_AFTER: Final[Mapping[CourseKind, int]] = {CourseKind.WORSE_AFTER_DOSE_2: 2, CourseKind.DROPPED_OUT: 2}  # doses

MOVED_RATE: Final = 0.07  # of doses of patients without a name of their own
CANCELLED_RATE: Final = 0.03  # same, first two excepted
INTEGRATION_RATE: Final = 0.7  # of doses of patients without a name of their own that a talk follows
DOSING_STARTS: Final = (time(9, 0), time(10, 30), time(13, 0))  # over well before the evening
TALK_STARTS: Final = (time(9, 0), time(11, 0), time(14, 0), time(16, 0))
TALK_MINUTES: Final = 50  # min
DOSING_MINUTES: Final = (130, 180)  # min, observation included


@dataclass(frozen=True, slots=True)
class _Appointment:
    kind: SessionKind
    planned_at: datetime
    cancelled: bool = False
    moved_to_at: datetime | None = None


def treatment_sessions(
    seed: int, index: int, course: Course, opened_at: datetime, now: datetime
) -> tuple[SyntheticTreatmentSession, ...]:
    """All appointments of one course in planned order, as they look at `now`."""
    draw = chance(seed, index, "calendar")
    appointments = [appointment for planned in _plan(draw, course, opened_at) for appointment in _unfold(planned, now)]
    sessions: list[SyntheticTreatmentSession] = []
    doses = 0
    dosing = dosing_of(seed, index)
    for number, appointment in enumerate(sorted(appointments, key=lambda each: each.planned_at), start=1):
        session = _held(chance(seed, index, "session", number), number, appointment, now)
        if session.kind == "dosing":
            given = session.status == "done"
            doses += given
            session = replace(session, medicine=MEDICINE, route=dosing.route, setting=dosing.setting)
            if given:
                session = _dosed(chance(seed, index, "dose", doses), course, dosing, session, doses, now)
        sessions.append(session)
    return tuple(sessions)


def dose_times(sessions: Iterable[SyntheticTreatmentSession]) -> tuple[datetime, ...]:
    """When the doses were given."""
    return tuple(
        session.started_at for session in sessions if session.kind == "dosing" and session.started_at is not None
    )


# --- The plan ---------------------------------------------------------------------------------------------------------


def _plan(draw: Random, course: Course, opened_at: datetime) -> Iterator[_Appointment]:
    """What is agreed at intake, and how it is moved or called off later."""
    zone = opened_at.tzinfo
    for days in (3, 7) if course.named or draw.random() < 0.5 else (4,):
        day = _workday(opened_at.date() + timedelta(days=days))
        yield _Appointment("preparation", _at(day, draw, TALK_STARTS, zone))
    last_day = opened_at.date() + timedelta(days=11 if course.named else draw.randint(8, 20))
    first_day = _workday(last_day + timedelta(days=1))
    for number, offset in enumerate(_pattern(draw, course), start=1):
        day = _workday(max(first_day + timedelta(days=offset), last_day + timedelta(days=1)))
        dose = _dose(draw, course, number, _at(day, draw, DOSING_STARTS, zone))
        last_day = (dose.moved_to_at or dose.planned_at).date()
        yield dose
        if not dose.cancelled and (course.named or draw.random() < INTEGRATION_RATE):
            yield _Appointment("integration", _at(_workday(last_day + timedelta(days=1)), draw, TALK_STARTS, zone))


def _dose(draw: Random, course: Course, number: int, planned_at: datetime) -> _Appointment:
    """One planned dose; those who stop early have theirs called off, and any other may be called off or moved."""
    stopped = number > STOPS_AFTER.get(course.kind, number)
    missed = not course.named and number > 2 and draw.random() < CANCELLED_RATE
    if stopped or missed:
        return _Appointment("dosing", planned_at, cancelled=True)
    if course.named or draw.random() >= MOVED_RATE:
        return _Appointment("dosing", planned_at)
    day = _workday(planned_at.date() + timedelta(days=draw.randint(1, 2)))
    return _Appointment("dosing", planned_at, moved_to_at=datetime.combine(day, planned_at.timetz()))


def _pattern(draw: Random, course: Course) -> Days:
    if course.named:
        return NAMED.get(course.kind, NAMED_OTHERWISE)
    return draw.choice(SHORT if course.kind is CourseKind.FAST_RELAPSE else SHORT + LONG)


def _workday(day: date) -> date:
    """The day itself, or the Monday after it."""
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() >= 5 else 0)


def _at(day: date, draw: Random, starts: tuple[time, ...], zone: tzinfo | None) -> datetime:
    return datetime.combine(day, draw.choice(starts), zone)


def _unfold(appointment: _Appointment, now: datetime) -> Iterator[_Appointment]:
    """The appointment; or, where it was moved, the moved one and the one in its place."""
    if appointment.moved_to_at is None:
        yield appointment
    elif appointment.planned_at > now:  # nobody knows yet that it will be moved
        yield replace(appointment, moved_to_at=None)
    else:
        yield appointment
        yield replace(appointment, planned_at=appointment.moved_to_at, moved_to_at=None)


# --- What became of it ------------------------------------------------------------------------------------------------


def _held(draw: Random, number: int, appointment: _Appointment, now: datetime) -> SyntheticTreatmentSession:
    """The appointment as it looks at `now`: nothing that lies ahead is moved, called off or done."""
    planned_at = appointment.planned_at
    session = SyntheticTreatmentSession(
        number=number,
        kind=appointment.kind,
        status="planned",
        planned_at=planned_at,
        moved_to_at=appointment.moved_to_at,
    )
    started_at = planned_at + timedelta(minutes=draw.randint(0, 20))
    minutes = draw.randint(*DOSING_MINUTES) if appointment.kind == "dosing" else TALK_MINUTES
    ended_at = started_at + timedelta(minutes=minutes)
    if appointment.moved_to_at is not None:
        return replace(session, status="moved")
    if appointment.cancelled:
        return replace(session, status="cancelled") if planned_at <= now else session
    return replace(session, status="done", started_at=started_at, ended_at=ended_at) if ended_at <= now else session


def _dosed(
    draw: Random,
    course: Course,
    dosing: Dosing,
    session: SyntheticTreatmentSession,
    dose_number: int,
    now: datetime,
) -> SyntheticTreatmentSession:
    if session.started_at is None:
        return session
    weight_kg = round(dosing.weight_kg + draw.uniform(-0.8, 0.8), 1)
    return replace(
        session,
        dose_mg=dose_mg(dosing, weight_kg, dose_number),
        weight_kg=weight_kg,
        concomitant_benzodiazepine=dosing.benzodiazepine and draw.random() < 0.8,
        observations=tuple(observations(draw, dosing, session.started_at, dose_number)),
        adverse_events=tuple(adverse_events(draw, course, session.started_at, dose_number, now)),
    )
