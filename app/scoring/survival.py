"""How long something lasts when not everyone has been watched to its end: Kaplan-Meier and its median.

Here it is how long a response or remission lasts: event = relapse, censored = still well at the last check-in.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.scoring.distributions import LEVEL, two_sided_z


class Reason(StrEnum):
    """Why a number is withheld."""

    NOBODY = "nobody"
    NO_EVENTS = "no_events"  # everyone censored: the curve stays at 1
    MEDIAN_NOT_REACHED = "median_not_reached"  # more than half still event-free where the watching ends


@dataclass(frozen=True, slots=True)
class SurvivalStep:
    """One distinct time. Bounds are None where there is no spread to build them from: before any event, and at 0."""

    time: float  # in the unit of the durations
    at_risk: int  # just before this time
    events: int
    censored: int  # at this time, counted as at risk for its events
    survival: float  # share event-free just after this time
    low_log: float | None
    high_log: float | None  # never above 1
    low_log_log: float | None
    high_log_log: float | None


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """The Kaplan-Meier curve as its steps, in order of time. Before the first step it is at 1."""

    n: int
    events: int
    level: float
    steps: tuple[SurvivalStep, ...]


@dataclass(frozen=True, slots=True)
class MedianSurvival:
    """The time by which half have had the event. A bound of None is a bound that the curve never reaches."""

    n: int
    events: int
    median: float | None
    low: float | None
    high: float | None
    level: float
    reason: Reason | None = None  # why there is no median


def kaplan_meier(durations: Sequence[tuple[float, bool]], level: float = LEVEL) -> SurvivalCurve:
    """The share still event-free over time, with pointwise bounds on two scales.

    `durations` holds one (time, event) per person: event True = it happened then, False = last seen without it.
    Variance by Greenwood. `log` bounds: S * exp(-/+ z * e); `log_log` bounds: S ** exp(+/- z * e / ln S), where e is
    the standard error of ln S. The second keep within 0 and 1 by themselves and are the ones the median uses.

    Units and range: times at least 0, in any one unit; survival from 0 to 1; `level` strictly between 0 and 1.
    Missing data: a person whose end is not known is censored at the last time known, never dropped. No one at all gives
        a curve without steps; only censored people a curve that stays at 1, without bounds.
    Raises: ValueError when a time is negative or not finite, or the level is out of range.
    Source: Kaplan and Meier 1958, J Am Stat Assoc 53:457-481; Greenwood 1926; Kalbfleisch and Prentice 1980, The
        Statistical Analysis of Failure Time Data (log-log scale).

    >>> curve = kaplan_meier([(18, True), (27, True), (27, False), (41, True), (60, False)])
    >>> [(step.time, step.at_risk, step.events, step.censored, round(step.survival, 2)) for step in curve.steps]
    [(18, 5, 1, 0, 0.8), (27, 4, 1, 1, 0.6), (41, 2, 1, 0, 0.3), (60, 1, 0, 1, 0.3)]
    """
    z = two_sided_z(level)
    if any(not 0 <= time < math.inf for time, _ in durations):
        raise ValueError("a duration is a finite number, at least 0")
    events = Counter(time for time, event in durations if event)
    everyone = Counter(time for time, _ in durations)
    steps: list[SurvivalStep] = []
    at_risk = len(durations)
    kept, of = 1, 1  # the product of the shares as whole numbers: rounding never decides whether half is left
    greenwood = 0.0
    for time in sorted(everyone):
        failed = events[time]
        kept, of = kept * (at_risk - failed), of * at_risk
        greenwood += failed / (at_risk * (at_risk - failed)) if failed < at_risk else 0.0
        bounds = _bounds(kept / of, math.sqrt(greenwood), z)
        steps.append(SurvivalStep(time, at_risk, failed, everyone[time] - failed, kept / of, *bounds))
        at_risk -= everyone[time]
    return SurvivalCurve(len(durations), sum(events.values()), level, tuple(steps))


def _bounds(
    survival: float, error: float, z: float
) -> tuple[float, float, float, float] | tuple[None, None, None, None]:
    if not 0 < survival < 1:
        return None, None, None, None
    reach = z * error
    twice = reach / math.log(survival)
    return (
        survival * math.exp(-reach),
        min(1.0, survival * math.exp(reach)),
        survival ** math.exp(-twice),
        survival ** math.exp(twice),
    )


def median_survival(curve: SurvivalCurve) -> MedianSurvival:
    """The time by which half have had the event, with its interval.

    The median is the first time at which the curve is at one half or below. The interval holds the times whose
    log-log bounds include one half: it goes from the first time the lower bound is at one half or below to the first
    time the upper bound is.

    Units and range: in the unit of the durations, at least 0; bounds at the curve's own level.
    Missing data: None with a reason when there is nobody, no event, or more than half are event-free to the end. A
        bound the curve never reaches is None: the interval is open there.
    Raises: nothing.
    Source: Brookmeyer and Crowley 1982, Biometrics 38:29-41, on the log-log scale. Where the curve runs level at
        exactly one half we take the first such time; some programs take the middle of the level.

    >>> answer = median_survival(kaplan_meier([(18, True), (27, True), (27, False), (41, True), (60, False)]))
    >>> answer.median, answer.low, answer.high
    (41, 18, None)
    """
    median = _first(curve, lambda step: step.survival)
    reason = None
    if median is None:
        reason = Reason.MEDIAN_NOT_REACHED if curve.events else Reason.NO_EVENTS
    return MedianSurvival(
        n=curve.n,
        events=curve.events,
        median=median,
        low=_first(curve, lambda step: step.low_log_log),
        high=_first(curve, lambda step: step.high_log_log),
        level=curve.level,
        reason=reason if curve.n else Reason.NOBODY,
    )


def _first(curve: SurvivalCurve, height: Callable[[SurvivalStep], float | None]) -> float | None:
    """The first time at which this line of the curve is at one half or below."""
    for step in curve.steps:
        value = height(step)
        if value is not None and value <= 0.5:
            return step.time
    return None
