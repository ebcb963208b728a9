"""A survival curve as it may be told: few points, each with enough people behind it.

Every step of a Kaplan-Meier curve is somebody's day. What is told are round days at which enough people have had the
event since the day told before, so that no step is anybody's.
"""

import math
from dataclasses import dataclass
from typing import Final

from app.privacy.cells import SMALLEST_CELL
from app.scoring.survival import SurvivalCurve

EVERY_DAYS: Final = 7.0  # between days at which a point may stand; judgement: the rhythm of check-ins


@dataclass(frozen=True, slots=True)
class ToldPoint:
    """The curve on one day."""

    day: float
    at_risk: int  # after this day; exact, to be told with noise
    survival: float  # just after this day
    low: float  # log-log bounds
    high: float


def told_points(curve: SurvivalCurve) -> tuple[ToldPoint, ...]:
    """The points of a curve that may be told, in order of time. The curve begins at 1 on day 0.

    A point stands at the first multiple of `EVERY_DAYS` by which at least `SMALLEST_CELL` more have had the event, as
    long as at least so many remain at risk after it.

    Units and range: days; shares 0 to 1; at least `SMALLEST_CELL` at risk.
    Missing data: censored persons leave the risk set, as in the curve; a curve with fewer events has no point.
    Raises: nothing.

    Source: judgement, from the CMS cell size suppression policy (1 to 10, not derivable either).

    >>> from app.scoring.survival import kaplan_meier
    >>> curve = kaplan_meier([(day, True) for day in range(1, 25)] + [(90, False)] * 16)
    >>> [(point.day, point.at_risk, round(point.survival, 2)) for point in told_points(curve)]
    [(14.0, 26, 0.65)]
    """
    told: list[ToldPoint] = []
    events = 0
    for step, following in zip(curve.steps, (*curve.steps[1:], None), strict=False):
        events += step.events
        day = math.ceil(step.time / EVERY_DAYS) * EVERY_DAYS
        left = step.at_risk - step.events - step.censored
        if following is not None and following.time <= day:
            continue
        enough = min(events, left) >= SMALLEST_CELL
        if enough and step.low_log_log is not None and step.high_log_log is not None:
            told.append(ToldPoint(day, left, step.survival, step.low_log_log, step.high_log_log))
            events = 0
    return tuple(told)
