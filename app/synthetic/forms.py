"""The forms of one person: answers from the severity of the day."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from app.synthetic.answers import (
    PHQ_9,
    QUESTIONNAIRES,
    Weights,
    leave_blank,
    personal_weights,
    phq_9_items,
    spread,
    with_difficulty,
)
from app.synthetic.chance import chance, clamp
from app.synthetic.checkins import Sitting
from app.synthetic.courses import Course, relative_severity, self_harm_severity
from app.synthetic.model import Mode, SyntheticForm

NAMESPACE: Final = uuid5(NAMESPACE_URL, "tidemark:synthetic-clinic")
NOISE: Final = {"phq-9": 1.3, "pcl-5-month": 3.5, "pcl-5-week": 3.5, "gad-7": 1.2}  # points, standard deviation
NAMED_NOISE: Final = 0.9  # points, bound: small enough that no draw can hide the pattern of a named course
MODES: Final[tuple[Mode, ...]] = ("self",) * 22 + ("interview",) * 2 + ("proxy",)
MINUTES: Final = {"phq-9": (2, 4), "pcl-5-month": (4, 8), "pcl-5-week": (4, 8), "gad-7": (1, 3)}  # min a form takes
SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Day:
    """How severe things are on one day."""

    relative: float
    days_since_dose_2: float | None


def forms(
    seed: int,
    index: int,
    language: str,
    course: Course,
    anchor: datetime,
    doses: Sequence[datetime],
    held: Iterator[Sitting],
) -> Iterator[SyntheticForm]:
    """Every form of every sitting, in order."""
    draw = chance(seed, index, "answers")
    weights = {name: personal_weights(draw, shape) for name, shape in QUESTIONNAIRES.items()}
    weights["pcl-5-week"] = weights["pcl-5-month"]
    for sitting in held:
        day = _day(course, sitting.began_at, anchor, doses)
        mode = "self" if course.named else draw.choice(MODES)
        taken_at = sitting.began_at
        for instrument in sitting.instruments:
            taken_at += timedelta(minutes=draw.randint(*MINUTES[instrument]), seconds=draw.randrange(60))
            responses = _responses(draw, course, instrument, day, weights[instrument])
            yield SyntheticForm(_id(seed, index, instrument, taken_at), instrument, responses, taken_at, mode, language)


def _id(seed: int, index: int, instrument: str, taken_at: datetime) -> UUID:
    return uuid5(NAMESPACE, f"{seed}/{index}/{instrument}/{taken_at.isoformat()}")


def _day(course: Course, at: datetime, anchor: datetime, doses: Sequence[datetime]) -> _Day:
    since_second = _days_between(doses[1], at) if len(doses) > 1 else None
    return _Day(relative_severity(course, _days_between(anchor, at), since_second), since_second)


def _days_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds() / SECONDS_PER_DAY


def _responses(draw: Random, course: Course, instrument: str, day: _Day, weights: Weights) -> tuple[int | None, ...]:
    shape = QUESTIONNAIRES[instrument]
    total = clamp(
        _expected(course, instrument, day.relative) + _noise(draw, course, instrument), 0, _maximum(instrument)
    )
    if instrument != "phq-9":
        return tuple(_blanks(draw, course, spread(draw, total, weights, shape.top), shape.gaps_prorated))
    wavering = 0.0 if course.named else draw.uniform(-0.4, 0.4)
    self_harm = clamp(
        self_harm_severity(course, day.relative, day.days_since_dose_2) + wavering, 0, min(total, PHQ_9.top)
    )
    items = phq_9_items(draw, total, self_harm, weights)
    return with_difficulty(draw, _blanks(draw, course, items, shape.gaps_prorated), course.named)


def _expected(course: Course, instrument: str, relative: float) -> float:
    """The total this person is at, without noise. The PHQ-9 follows the curve; the others do so in part."""
    if instrument == "phq-9":
        return course.phq_9 * relative
    before = course.gad_7 if instrument == "gad-7" else course.pcl_5
    return before * (1 - course.carry * (1 - relative))


def _noise(draw: Random, course: Course, instrument: str) -> float:
    return draw.uniform(-NAMED_NOISE, NAMED_NOISE) if course.named else draw.gauss(0, NOISE[instrument])


def _maximum(instrument: str) -> int:
    return QUESTIONNAIRES[instrument].top * len(QUESTIONNAIRES[instrument].weights)


def _blanks(draw: Random, course: Course, items: Sequence[int], gaps_prorated: int) -> list[int | None]:
    return list(items) if course.named else leave_blank(draw, items, gaps_prorated)
