"""What a cohort of courses shows at named times since the first dose, with everybody who is missing from it counted.

Attrition flatters: who feels worse answers less. Every rate therefore stands twice, of those observed and of all
treated whose time had come, the unknown counted as the worse outcome. Neither says that treatment caused anything.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.scoring.cohort import EffectSize, MeanChange, Proportion, TimePoint, hedges_g, mean_change, wilson
from app.scoring.cohort_course import PAIRS, TIME_POINTS, CourseOutcome, Finding, Look, Outcome, Presence
from app.scoring.distributions import LEVEL
from app.scoring.model import Instrument
from app.scoring.nhs import PHQ9_GAD7, PairOutcome
from app.scoring.survival import MedianSurvival, SurvivalCurve, kaplan_meier, median_survival


@dataclass(frozen=True, slots=True)
class EventCount:
    """How many persons, and how many of their doses, had at least one such adverse event."""

    persons: int
    doses: int


@dataclass(slots=True)
class CohortRecord:
    """What was read of a cohort, as of one moment."""

    as_of: datetime
    courses: list[CourseOutcome] = field(default_factory=list)
    events: dict[str, EventCount] = field(default_factory=dict)  # by term
    not_dosed: int | None = None  # persons whose course never had a dose; None: the filter speaks of doses


@dataclass(frozen=True, slots=True)
class Tally:
    """Persons by what is known of one outcome. The four add up to everybody it was asked of."""

    met: int = 0
    not_met: int = 0
    unknown: int = 0
    not_applicable: int = 0

    @property
    def observed(self) -> int:
        """Those of whom it is known."""
        return self.met + self.not_met

    @property
    def treated(self) -> int:
        """Those it applies to, known or not."""
        return self.observed + self.unknown


@dataclass(frozen=True, slots=True)
class TimePointFigures:
    """The cohort at one time point. The four presences add up to all persons."""

    at: TimePoint
    presences: dict[Presence, int]
    judged: int  # of the observed: with a form that may speak, and with a baseline
    total: MeanChange  # mean of the totals that were looked at, points
    change: MeanChange  # of the judged, since baseline
    effect: EffectSize  # of the judged: Hedges' g, in standard deviations of the baselines
    tallies: dict[Outcome, Tally]  # of all whose time had come

    @property
    def due(self) -> int:
        """Everybody whose window had closed: observed, missed, ended."""
        return sum(count for presence, count in self.presences.items() if presence is not Presence.NOT_YET_DUE)


@dataclass(frozen=True, slots=True)
class DoseFigures:
    """All persons' change around their nth dose, in one window."""

    number: int
    persons: int  # who were given an nth dose
    window: str
    change: MeanChange  # of those in whom it can be estimated


@dataclass(frozen=True, slots=True)
class MeasureFigures:
    """One quality measure over all courses."""

    code: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class CohortOutcomes:
    persons: int
    baseline: MeanChange  # of the totals before the first dose, points; left_out have none
    time_points: tuple[TimePointFigures, ...]
    response: SurvivalCurve  # days from first response to its loss; of those who responded
    response_median: MedianSurvival
    doses: tuple[DoseFigures, ...]
    measures: tuple[MeasureFigures, ...]


def cohort_outcomes(courses: Sequence[CourseOutcome], level: float = LEVEL) -> CohortOutcomes:
    """All figures of a cohort, one course for each person.

    Units and range: points, days, persons; `level` strictly between 0 and 1.
    Missing data: who is not observed is counted as missed, ended or not yet due, and as unknown in every tally; a
    figure without persons is None with its reason, as its own function says.

    Raises:
        ValueError: the level is out of range.

    Source: each part names its own; STROBE items 13 and 16 (von Elm 2007, PLoS Med 4:e296) for what is told.

    >>> from datetime import UTC, datetime
    >>> from app.scoring.cohort_course import CourseRecord, course_baseline, course_outcome
    >>> from app.scoring.model import Point, Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.timeline import DAY
    >>> from app.scoring.treatment import Dose
    >>> start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> def course(*forms):
    ...     points = [Point(str(day), start + day * DAY, total, Validity.VALID) for day, total in forms]
    ...     record = CourseRecord((Dose("d", start),), points, ends_at=None)
    ...     return course_outcome(get_instrument("phq-9"), record, course_baseline(record), start + 20 * DAY)
    >>> found = cohort_outcomes([course((-1, 18), (8, 9)), course((-1, 20), (8, 16)), course((-1, 15))])
    >>> week_1 = found.time_points[1]
    >>> week_1.due, week_1.judged, week_1.change.mean, week_1.tallies[Outcome.RESPONSE]
    (3, 2, -6.5, Tally(met=1, not_met=1, unknown=1, not_applicable=0))
    """
    return CohortOutcomes(
        persons=len(courses),
        baseline=_mean([course.baseline for course in courses], level),
        time_points=tuple(_at(place, at, courses, level) for place, at in enumerate(TIME_POINTS)),
        response=(curve := kaplan_meier([days for course in courses if (days := course.response_days)], level)),
        response_median=median_survival(curve),
        doses=_doses(courses, level),
        measures=(*_paired(courses), *_yearly(courses)),
    )


def of_observed(tally: Tally, level: float = LEVEL) -> Proportion:
    """The share of those of whom the outcome is known.

    Units and range: share 0 to 1, with Wilson's interval. Missing data: left out, so attrition can flatter it.

    Raises:
        ValueError: the level is out of range.

    Source: Wilson 1927, J Am Stat Assoc 22:209-212.

    >>> of_observed(Tally(met=12, not_met=8, unknown=20)).rate
    0.6
    """
    return wilson(tally.met, tally.observed, level)


def of_treated(outcome: Outcome, tally: Tally, level: float = LEVEL) -> Proportion:
    """The share of all treated, whoever is unknown counted as the worse outcome.

    Not responded, not in remission, not improved; but deteriorated.

    Units and range: share 0 to 1, with Wilson's interval. Missing data: counted against the treatment.

    Raises:
        ValueError: the level is out of range.

    Source: worst-case imputation, a convention of intention-to-treat reporting; the interval as `of_observed`.

    >>> tally = Tally(met=12, not_met=8, unknown=20)
    >>> of_treated(Outcome.RESPONSE, tally).rate, of_treated(Outcome.RELIABLE_DETERIORATION, tally).rate
    (0.3, 0.8)
    """
    return wilson(worst_case(outcome, tally), tally.treated, level)


def worst_case(outcome: Outcome, tally: Tally) -> int:
    """How many have the outcome if everyone unknown fared worse.

    Units and range: persons. Missing data: that is what it is about. Source: as `of_treated`.

    >>> worst_case(Outcome.REMISSION, Tally(3, 4, 5)), worst_case(Outcome.RELIABLE_DETERIORATION, Tally(3, 4, 5))
    (3, 8)
    """
    return tally.met + (tally.unknown if outcome is Outcome.RELIABLE_DETERIORATION else 0)


def _mean(values: Sequence[float | None], level: float) -> MeanChange:
    """A mean with its interval is a mean change from nothing."""
    return mean_change([(0, value) for value in values], level)


def _at(place: int, at: TimePoint, courses: Sequence[CourseOutcome], level: float) -> TimePointFigures:
    looks = [(course.baseline, course.looks[place]) for course in courses]
    present = Counter(look.presence for _, look in looks)
    pairs = [(before, look.total) for before, look in looks if look.judged and before is not None]
    observed = [look.total for _, look in looks if look.presence is Presence.OBSERVED]
    return TimePointFigures(
        at=at,
        presences={presence: present[presence] for presence in Presence},
        judged=len(pairs),
        total=_mean(observed, level),
        change=mean_change(pairs, level),
        effect=hedges_g(pairs, level),
        tallies={outcome: _tally(number, (look for _, look in looks)) for number, outcome in enumerate(Outcome)},
    )


def _tally(number: int, looks: Iterable[Look]) -> Tally:
    return _counted(look.findings[number] for look in looks if look.findings)


def _counted(findings: Iterable[Finding]) -> Tally:
    found = Counter(findings)
    return Tally(*(found[finding] for finding in Finding))


MOST_DOSES: Final = 12  # dose numbers told; judgement: two induction courses, beyond which few are left


def _doses(courses: Sequence[CourseOutcome], level: float) -> tuple[DoseFigures, ...]:
    given = Counter(number for course in courses for number in range(1, min(course.doses, MOST_DOSES) + 1))
    effects: dict[tuple[int, str], list[float]] = defaultdict(list)
    for course in courses:
        for effect in course.effects:
            if effect.dose_number <= MOST_DOSES:
                effects[effect.dose_number, effect.window].append(effect.points)
    return tuple(
        DoseFigures(number, given[number], window, _mean(values, level))
        for (number, window), values in sorted(effects.items(), key=lambda item: item[0])
    )


# --- Quality measures -------------------------------------------------------------------------------------------------

_OF_CASES: Final = ("recovery", "reliable_recovery")  # of those at caseness at first
_OF_ALL: Final = ("reliable_improvement", "reliable_deterioration")
_YEARLY: Final = {
    "cms159_style_remission": "cms159_remission",
    "drre_style_follow_up": "drre_follow_up",
    "drre_style_remission": "drre_remission",
    "drre_style_response": "drre_response",
}


def measure_codes(instrument: Instrument) -> tuple[str, ...]:
    """The quality measures of an instrument, in the order in which they are told; of most there is none.

    Units and range: codes. Missing data: also those that nobody's course can be judged by yet.
    Source: judgement.

    >>> from app.scoring.registry import get_instrument
    >>> measure_codes(get_instrument("phq-9"))[::5], measure_codes(get_instrument("pcl-5-month"))
    (('nhs_phq9_gad7_recovery', 'nhs_phq9_pcl5_reliable_recovery', 'drre_style_remission'), ())
    """
    if instrument.id != PHQ9_GAD7.depression.instrument_id:
        return ()
    return (*(f"{pair.code}_{name}" for pair in PAIRS for name in (*_OF_CASES, *_OF_ALL)), *_YEARLY)


def _paired(courses: Sequence[CourseOutcome]) -> Iterable[MeasureFigures]:
    for place, pair in enumerate(PAIRS):
        outcomes = [course.pairs[place] for course in courses if course.pairs]
        for name in (*_OF_CASES, *_OF_ALL) if outcomes else ():
            yield MeasureFigures(f"{pair.code}_{name}", _counted(_of_pair(one, name) for one in outcomes))


def _of_pair(outcome: PairOutcome, name: str) -> Finding:
    if name in _OF_CASES and outcome.caseness is False:
        return Finding.NOT_APPLICABLE
    return _finding(getattr(outcome, name))


def _yearly(courses: Sequence[CourseOutcome]) -> Iterable[MeasureFigures]:
    found = [course.measured for course in courses if course.measured is not None]
    for code, name in _YEARLY.items() if found else ():
        values = (getattr(one, name) for one in found)
        yield MeasureFigures(code, _counted(_finding(value) for value in values if value is not None))


def _finding(value: bool | None) -> Finding:
    return Finding.UNKNOWN if value is None else Finding.MET if value else Finding.NOT_MET
