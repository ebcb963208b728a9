"""When a person is asked, with which questionnaires, and which of these forms ever arrive."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Final

from app.synthetic.chance import chance, interpolate
from app.synthetic.courses import Course
from app.synthetic.model import CourseKind

AFTER_DOSE_DAYS: Final = (1, 3, 7)  # days after each dose, as long as the next one has not been given
WEEKS: Final = range(1, 9)  # weeks after the first dose
ANXIETY_WEEKS: Final = (4, 8)  # same, those with a GAD-7
FOLLOW_UP_DAYS: Final = (91, 182, 365)  # months 3, 6 and 12 after the first dose
GAD_7_RATE: Final = 0.4  # of patients who also fill in the GAD-7
ORDER: Final = ("phq-9", "pcl-5-month", "pcl-5-week", "gad-7")  # in which one sitting goes

MISSED_RATE: Final = 0.12  # of check-ins before a person is lost
SKIPPED_RATE: Final = 0.08  # of the further forms of a sitting
# Share of people lost to follow-up, and the day since the first dose by which they are. The rest stay to the end.
LOST_BY: Final = ((0.0, 1.0), (0.25, 56.0), (0.45, 91.0), (0.64, 182.0), (0.8, 365.0))
LAST_WEEK_DAYS: Final = 56  # days; who drops out does so before this
FEW: Final = (3, 5)  # sittings of those who drop out
FEW_NAMED: Final = 4  # sittings

MORNING: Final = (7 * 60, 8 * 60 + 30)  # minutes after midnight; before a dosing session
DAY: Final = (8 * 60, 21 * 60 + 15)  # minutes after midnight; the sitting is over by 22:00


@dataclass(frozen=True, slots=True)
class Sitting:
    """The forms one person fills in one after the other."""

    began_at: datetime
    instruments: tuple[str, ...]


def sittings(
    seed: int,
    index: int,
    course: Course,
    opened_at: datetime,
    started_at: datetime,
    doses: Sequence[datetime],
    now: datetime,
) -> Iterator[Sitting]:
    """The sittings that took place up to `now`, in order: at intake, then around `started_at`, the first dose."""
    draw = chance(seed, index, "check-ins")
    anxious = course.named or draw.random() < GAD_7_RATE
    anchor = started_at.date()
    due = _due(draw, course, opened_at.date(), anchor, [at.date() for at in doses])
    morning_days = frozenset({anchor, *(at.date() for at in doses)})
    attended = 0
    lost_on = _lost_on(draw, course, anchor)
    most = _most(draw, course)
    for day in sorted(due):
        wanted = [instrument for instrument in ORDER if instrument in due[day] and (anxious or instrument != "gad-7")]
        began_at = _began_at(draw, day, opened_at, morning_days)
        came = course.named or day <= anchor or (day <= lost_on and draw.random() >= MISSED_RATE)
        if came and attended < most and began_at + timedelta(minutes=30) <= now:
            attended += 1
            yield Sitting(began_at, tuple(_filled(draw, course, wanted)))


def _due(
    draw: Random, course: Course, opened_on: date, anchor: date, dose_days: Sequence[date]
) -> Mapping[date, set[str]]:
    """The questionnaires due on each day."""
    due: dict[date, set[str]] = {}

    def ask(day: date, *instruments: str) -> None:
        due.setdefault(day, set()).update(instruments)

    ask(opened_on, "phq-9", "pcl-5-month", "gad-7")
    ask(anchor, "phq-9", "pcl-5-week")  # before the first dose: the weekly form needs a baseline of its own
    for number, dosed_on in enumerate(dose_days):
        until = dose_days[number + 1] if number + 1 < len(dose_days) else date.max
        for days in AFTER_DOSE_DAYS:
            if (day := dosed_on + timedelta(days=days)) <= until:
                ask(day, "phq-9")
    for week in WEEKS:
        late = 0 if course.named else draw.choice((0, 0, 0, 1))
        ask(anchor + timedelta(days=7 * week + late), "phq-9", "pcl-5-week", *["gad-7"] * (week in ANXIETY_WEEKS))
    for days in FOLLOW_UP_DAYS:
        late = 0 if course.named else draw.randint(-6, 10)
        ask(anchor + timedelta(days=days + late), *("phq-9", "pcl-5-month", "gad-7"))
    return due


def _lost_on(draw: Random, course: Course, anchor: date) -> date:
    """The last day on which this person answers."""
    lost = draw.random()
    if course.named:
        return date.max
    if course.kind is CourseKind.DROPPED_OUT:
        return anchor + timedelta(days=LAST_WEEK_DAYS)
    return date.max if lost > LOST_BY[-1][0] else anchor + timedelta(days=int(interpolate(LOST_BY, lost)))


def _most(draw: Random, course: Course) -> int:
    """How many sittings this person comes to at most."""
    if course.kind is not CourseKind.DROPPED_OUT:
        return 10_000
    return FEW_NAMED if course.named else draw.randint(*FEW)


def _began_at(draw: Random, day: date, opened_at: datetime, morning_days: frozenset[date]) -> datetime:
    """Local time: soon after intake, before the dose on a dosing day, else at any waking hour."""
    if day == opened_at.date():
        return opened_at + timedelta(minutes=draw.randint(15, 60))
    earliest, latest = MORNING if day in morning_days else DAY
    minutes = draw.randint(earliest, latest)
    return datetime.combine(day, time(minutes // 60, minutes % 60, draw.randrange(60)), opened_at.tzinfo)


def _filled(draw: Random, course: Course, wanted: Sequence[str]) -> Iterator[str]:
    """The first questionnaire of a sitting is always filled in, of the others some are skipped."""
    for place, instrument in enumerate(wanted):
        if place == 0 or course.named or draw.random() >= SKIPPED_RATE:
            yield instrument
