"""One course of treatment as a cohort counts it: what is known of it at each named time since the first dose.

A cohort counts persons, so one course stands for each. Time order is all that is shown: nothing here says that a dose
caused what came after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import starmap
from typing import Final

from app.scoring.cohort import TimePoint
from app.scoring.comparison import WEEKS, baseline_group
from app.scoring.default_rules import default_threshold, verdict_of
from app.scoring.durability import FIRST_FORM_WITHOUT, Spell, first_response
from app.scoring.judgement import RELIABLE_CHANGE
from app.scoring.model import Instrument, Point, Threshold
from app.scoring.nhs import PHQ9_GAD7, PHQ9_PCL5, FirstLast, PairOutcome, first_and_last, judge_pair
from app.scoring.quality_measures import Measured, measured
from app.scoring.session_effect import STANDARD_PAIRING, PairingRules, effect_sizes
from app.scoring.timeline import DAY, HOUR, InTimeOrder, elapsed, in_time_order, instant
from app.scoring.treatment import Baseline, BaselineRule, Dose, DoseLine, NoBaseline, choose_baseline, dose_line

_WEEKS: Final = {week.number: week for week in WEEKS}


def _in_week(code: str, number: int) -> TimePoint:
    """With the window in which comparisons look at the same week."""
    week = _WEEKS[number]
    return TimePoint(code, week.middle, early=week.either_side, late=week.either_side)


TIME_POINTS: Final = (
    TimePoint("hours_24", 24 * HOUR, early=6 * HOUR, late=12 * HOUR),  # window as session_effect's 24h; judgement
    *(_in_week(f"week_{number}", number) for number in (1, 2, 4, 8)),
    _in_week("month_3", 13),
    _in_week("month_6", 26),
)
PAIRS: Final = (PHQ9_GAD7, PHQ9_PCL5)
LEAST_CONTACTS: Final = 2  # sessions held in a finished course; Clark 2018, PMC5942544
MINIMUM_RECALL_AFTER: Final = (
    FIRST_FORM_WITHOUT.minimum_recall_after
)  # share after the first dose; as durability has it


class Outcome(StrEnum):
    """What a course is asked at each time point, by the instrument's default rules."""

    RESPONSE = "response"
    REMISSION = "remission"
    RELIABLE_IMPROVEMENT = "reliable_improvement"
    RELIABLE_DETERIORATION = "reliable_deterioration"


class Finding(StrEnum):
    """What is known of one outcome of one course."""

    MET = "met"
    NOT_MET = "not_met"
    UNKNOWN = "unknown"  # no form, none that may speak, or no baseline
    NOT_APPLICABLE = "not_applicable"  # in remission before the first dose, or no symptom that half could be lost of


class Presence(StrEnum):
    """Every course is in exactly one of these at each time point."""

    OBSERVED = "observed"  # a form with a total in the window
    MISSED = "missed"  # none, and the window has closed: also of those who dropped out
    ENDED = "ended"  # none, and another course of the person began before the window closed
    NOT_YET_DUE = "not_yet_due"  # the window is still open, or has not begun


@dataclass(frozen=True, slots=True)
class Look:
    """One course at one time point."""

    presence: Presence
    total: int | float | None  # points, of the form that was looked at
    judged: bool  # whether enough of what that form asks about lies after the first dose
    findings: tuple[Finding, ...]  # in the order of `Outcome`; empty while not yet due


@dataclass(frozen=True, slots=True)
class CourseRecord:
    """What is on record of one course. `points` may reach beyond its end: yearly measures look at the person."""

    doses: tuple[Dose, ...]  # at least one, each started by the time of looking
    points: Sequence[Point]  # of one instrument, taken by the time of looking
    ends_at: datetime | None  # where the record begins to speak of the person's next course
    closed: bool = False  # the course is over
    contacts: int = 0  # sessions held of any kind
    companions: Mapping[str, FirstLast] = field(default_factory=dict)  # first and last total of other instruments

    @property
    def is_finished(self) -> bool:
        """Over after enough contacts, as NHS Talking Therapies counts a course; no other is judged by two measures."""
        return self.closed and self.contacts >= LEAST_CONTACTS


@dataclass(frozen=True, slots=True)
class DoseEffect:
    """After minus before around one dose, in one window."""

    dose_number: int
    window: str
    points: int | float


@dataclass(frozen=True, slots=True)
class CourseOutcome:
    """All that a cohort needs of one course."""

    baseline: int | float | None  # points
    looks: tuple[Look, ...]  # one for each of TIME_POINTS
    response_days: (
        tuple[float, bool] | None
    )  # days from first response, and whether its loss was seen; None: no response
    doses: int
    effects: tuple[DoseEffect, ...]
    pairs: tuple[PairOutcome, ...]  # one for each of PAIRS; empty unless the course is finished
    measured: Measured | None  # None: the yearly measures are not of this instrument


def outcome_rules(instrument: Instrument) -> dict[Outcome, Threshold]:
    """The rule behind each outcome; an outcome without one cannot be told.

    Units and range: thresholds as declared. Missing data: an outcome whose rule the instrument lacks is left out.
    Source: each threshold names its own.

    >>> from app.scoring.registry import get_instrument
    >>> [(outcome.value, rule.code) for outcome, rule in outcome_rules(get_instrument("phq-9")).items()][:2]
    [('response', 'response_50_percent'), ('remission', 'remission_5')]
    """
    names = {
        Outcome.RESPONSE: "response",
        Outcome.REMISSION: "remission",
        Outcome.RELIABLE_IMPROVEMENT: RELIABLE_CHANGE,
        Outcome.RELIABLE_DETERIORATION: RELIABLE_CHANGE,
    }
    found = {outcome: default_threshold(instrument, name) for outcome, name in names.items()}
    return {outcome: rule for outcome, rule in found.items() if rule is not None}


def course_baseline(course: CourseRecord) -> Baseline | NoBaseline:
    """The form before the first dose that all change of a course is counted from, or why there is none.

    Units and range: as `treatment.choose_baseline` with its rule `pre_treatment`. Missing data: as there.

    Raises:
        ValueError: there is no dose, or a time has no offset.

    Source: judgement, as there.

    >>> from datetime import UTC
    >>> course_baseline(CourseRecord((Dose("d", datetime(2026, 1, 5, 9, tzinfo=UTC)),), (), ends_at=None)).reason.value
    'none_before_first_dose'
    """
    if not course.doses:
        raise ValueError("a course of a cohort begins with a dose")
    first = min(instant(dose.started_at) for dose in course.doses)
    return choose_baseline(course.points, BaselineRule.PRE_TREATMENT, first_dose_at=first)


def course_outcome(
    instrument: Instrument, course: CourseRecord, baseline: Baseline | NoBaseline, as_of: datetime
) -> CourseOutcome:
    """One course at every time point since its first dose, with its response and the changes around its doses.

    Of the forms in a window the one nearest to its middle is looked at, first among those of which at least half of
    the recall window lies after the first dose: a two-week form of the day after a dose is shown and judges nothing.

    Units and range: points of the scale; days of 24 hours. The baseline is that of `course_baseline`.
    Missing data: nothing is carried forward. A form without a total answers nothing. Who did not answer, or has no
    baseline, is unknown, neither met nor not met. A window still open at `as_of` is not yet due, answered or not.

    Raises:
        ValueError: a time has no offset.

    Source: time points as in the trials of clinical use (24 h, weeks, months); windows and the recall rule are our
    judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    >>> forms = [Point(str(day), start + day * DAY, total, Validity.VALID) for day, total in ((-1, 18), (1, 6), (8, 9))]
    >>> course = CourseRecord((Dose("d", start),), forms, ends_at=None)
    >>> found = course_outcome(get_instrument("phq-9"), course, course_baseline(course), start + 30 * DAY)
    >>> [(look.presence.value, look.total, look.judged) for look in found.looks[:4]]
    [('observed', 6, False), ('observed', 9, True), ('missed', None, False), ('not_yet_due', None, False)]
    >>> found.looks[0].findings[0].value, found.looks[1].findings[0].value, found.looks[2].findings[0].value
    ('unknown', 'met', 'unknown')
    """
    doses, everything = dose_line(course.doses), in_time_order(course.points)
    own = everything if course.ends_at is None else InTimeOrder(everything.before(course.ends_at))
    before = baseline.point.total if isinstance(baseline, Baseline) else None
    response = first_response(own, baseline, doses, instrument) if before is not None else None
    return CourseOutcome(
        baseline=before,
        looks=_looks(instrument, own, course, doses.starts[0], before, as_of),
        response_days=None if response is None else _response_days(response),
        doses=len(course.doses),
        effects=_effects(instrument, own, doses),
        pairs=_pairs(instrument, own, course),
        measured=measured(instrument, baseline, everything, as_of),
    )


def _looks(
    instrument: Instrument,
    points: InTimeOrder,
    course: CourseRecord,
    first: datetime,
    before: float | None,
    as_of: datetime,
) -> tuple[Look, ...]:
    speaks_from = first + MINIMUM_RECALL_AFTER * instrument.recall_days * DAY
    now, end = instant(as_of), None if course.ends_at is None else instant(course.ends_at)
    looks = []
    for at in TIME_POINTS:
        middle = first + at.after
        opens, closes = middle - at.early, middle + at.late
        if now < closes:
            looks.append(_NOT_YET_DUE)
            continue
        judged = _nearest(points.between(max(opens, speaks_from), closes), middle)
        total = _nearest(points.between(opens, closes), middle) if judged is None else judged
        absent = Presence.ENDED if end is not None and end <= closes else Presence.MISSED
        presence = absent if total is None else Presence.OBSERVED
        looks.append(_look(instrument, before, presence, total, judged=judged is not None))
    return tuple(looks)


_NOT_YET_DUE: Final = Look(Presence.NOT_YET_DUE, None, judged=False, findings=())


def _nearest(points: Sequence[Point], middle: datetime) -> int | float | None:
    scored = [point for point in points if point.total is not None]
    return min(scored, key=lambda point: abs(elapsed(middle, point.at))).total if scored else None


@lru_cache(maxsize=16_384)  # whole totals are few: each pair is judged once, and stored once
def _look(
    instrument: Instrument, before: float | None, presence: Presence, total: float | None, *, judged: bool
) -> Look:
    rules, spoken = outcome_rules(instrument), total if judged else None
    findings = tuple(_finding(instrument, outcome, rules.get(outcome), before, spoken) for outcome in Outcome)
    return Look(presence, total, judged, findings)


def _finding(
    instrument: Instrument, outcome: Outcome, rule: Threshold | None, before: float | None, total: float | None
) -> Finding:
    if rule is None or before is None:
        return Finding.UNKNOWN
    at_baseline = verdict_of(instrument, rule, before, before)
    if at_baseline.reason == "zero_baseline" or (outcome is Outcome.REMISSION and at_baseline.met):
        return Finding.NOT_APPLICABLE
    verdict = verdict_of(instrument, rule, before, total)
    if verdict.met is None or total is None:
        return Finding.UNKNOWN
    met = verdict.direction == "worsened" if outcome is Outcome.RELIABLE_DETERIORATION else verdict.met
    return Finding.MET if met else Finding.NOT_MET


def _response_days(spell: Spell) -> tuple[float, bool] | None:
    return None if spell.days_sustained is None else (spell.days_sustained, not spell.censored)


def _effects(instrument: Instrument, points: InTimeOrder, doses: DoseLine) -> tuple[DoseEffect, ...]:
    return tuple(starmap(_dose_effect, effect_sizes(points, doses, instrument, _pairing(instrument))))


_dose_effect: Final = lru_cache(maxsize=4_096)(DoseEffect)


@lru_cache(maxsize=64)
def _pairing(instrument: Instrument) -> PairingRules:
    """Without the windows in which no form of this recall window could ever speak of the dose alone."""
    needed = STANDARD_PAIRING.minimum_recall_after * instrument.recall_days * DAY / HOUR
    return replace(STANDARD_PAIRING, after=tuple(one for one in STANDARD_PAIRING.after if one.to_hours >= needed))


def _pairs(instrument: Instrument, points: InTimeOrder, course: CourseRecord) -> tuple[PairOutcome, ...]:
    """NHS Talking Therapies judges a finished course alone, and by two measures."""
    if instrument.id != PHQ9_GAD7.depression.instrument_id or not course.is_finished:
        return ()
    own, nothing = first_and_last(points), FirstLast(None, None)
    others = (course.companions.get(pair.anxiety.instrument_id, nothing) for pair in PAIRS)
    return tuple(_judge_pair(pair, own, other) for pair, other in zip(PAIRS, others, strict=True))


_judge_pair: Final = lru_cache(maxsize=16_384)(judge_pair)


# --- What a cohort may be chosen by -----------------------------------------------------------------------------------
# Coarse on purpose: the finer the choice, the more pairs of cohorts differ by one person.

DOSE_BANDS: Final = {"under_50_mg": 0.0, "50_to_149_mg": 50.0, "150_mg_or_more": 150.0}  # mg from; judgement
DOSE_COUNTS: Final = {"1": 1, "2_to_3": 2, "4_to_6": 4, "7_or_more": 7}  # doses from; judgement


@dataclass(frozen=True, slots=True)
class Traits:
    """What a course is chosen by; all are known before the first follow-up but for the number of doses."""

    month: str  # of the first dose, YYYY-MM in UTC
    modality: str
    route: str  # of the first dose
    dose_band: str  # of the first dose
    doses: str  # band of their number so far
    severity: str | None  # group of the baseline; None: no baseline, or an instrument without bands and cut-point


@dataclass(frozen=True, slots=True)
class CohortFilter:
    """Which courses make up a cohort. None leaves a trait open; months include both ends."""

    first_dose_from: str | None = None
    first_dose_to: str | None = None
    modality: str | None = None
    route: str | None = None
    dose_band: str | None = None
    doses: str | None = None
    severity: str | None = None

    def admits(self, traits: Traits) -> bool:
        """Whether a course with these traits belongs to the cohort."""
        return (
            (self.first_dose_from is None or traits.month >= self.first_dose_from)
            and (self.first_dose_to is None or traits.month <= self.first_dose_to)
            and self.modality in {None, traits.modality}
            and self.route in {None, traits.route}
            and self.dose_band in {None, traits.dose_band}
            and self.doses in {None, traits.doses}
            and self.severity in {None, traits.severity}
        )


def band_of(value: float, bands: Mapping[str, float]) -> str:
    """The name of the band a value lies in; each begins with its own number, the first at or below every value.

    Units and range: as the bands. Missing data: none.
    Source: arithmetic.

    >>> band_of(35, DOSE_BANDS), band_of(50, DOSE_BANDS), band_of(3, DOSE_COUNTS)
    ('under_50_mg', '50_to_149_mg', '2_to_3')
    """
    return max((name for name, begins in bands.items() if value >= begins), key=bands.__getitem__)


def severity_group(instrument: Instrument, baseline: Baseline | NoBaseline) -> str | None:
    """What a baseline must share with another to be in the same cohort of severity, as comparisons have it.

    Units and range: code of a band, or the side of the cut-point. Missing data: None without a baseline.
    Source: judgement.

    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineReason
    >>> severity_group(get_instrument("phq-9"), NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.TOO_OLD)) is None
    True
    """
    if isinstance(baseline, NoBaseline) or baseline.point.total is None:
        return None
    return baseline_group(instrument, baseline.point.total)
