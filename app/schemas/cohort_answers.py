"""Figures of a cohort as they may be told: counts with noise, hidden where too few people stand behind them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from app.privacy.answers import Hidden, to_nearest, told_count, told_effect, told_mean, told_parts, told_rate
from app.privacy.cells import SMALLEST_CELL
from app.privacy.curves import EVERY_DAYS, told_points
from app.schemas.adverse_events import Term
from app.schemas.cohorts import (
    Cell,
    CohortAnswer,
    CohortChoice,
    CohortDoseAnswer,
    CohortDurabilityAnswer,
    CohortEventAnswer,
    CohortMeasureAnswer,
    CohortOutcomeAnswer,
    CohortPersons,
    CohortTimePointAnswer,
    CurvePointAnswer,
    DisclosureAnswer,
    EffectAnswer,
    FlowAnswer,
    Mean,
    MeanAnswer,
    Share,
    ShareAnswer,
    SuppressedAnswer,
)
from app.scoring.cohort import EffectSize, MeanChange, wilson
from app.scoring.cohort_course import CohortFilter, Outcome, Presence, outcome_rules
from app.scoring.cohort_outcomes import (
    CohortOutcomes,
    CohortRecord,
    EventCount,
    MeasureFigures,
    Tally,
    TimePointFigures,
    cohort_outcomes,
    measure_codes,
    worst_case,
)
from app.scoring.durability import FIRST_FORM_WITHOUT
from app.scoring.model import Instrument
from app.scoring.nhs import PHQ9_GAD7, PHQ9_PCL5
from app.scoring.quality_measures import DIFFERS
from app.scoring.survival import MedianSurvival
from app.scoring.timeline import DAY

RULE: Final = (
    f"Figures behind which fewer than {SMALLEST_CELL} people stand are not told, none among them; nor is a share that "
    f"leaves fewer than {SMALLEST_CELL} out. Counts bear noise of about 3 people, always the same for the same answer, "
    "so that no subtraction finds a person; they need not add up. Shares are made of these counts, means are in steps "
    "of half a point."
)
NOTES: Final = (
    "Describes who was treated here. Nobody was randomised: time order is not cause; people come at their worst.",
    "Each person counts once, with their first course that has a dose, from that dose on.",
    "of_observed leaves out whoever did not answer, and those often fare worse; of_treated counts them as the worse.",
    "A form less than half of whose recall window lies after the first dose is shown in `total` and judges nothing.",
    "By number of doses is by what came later: who had many doses stayed long enough to have them.",
)
_NHS_DIFFERS: Final = (
    "Finished courses with two or more sessions held, by the first and last form of each instrument in the course; "
    "the service's own rules on referral and discharge are not on record. {note}"
)
_SOURCES: Final[Mapping[str, tuple[str, str]]] = {  # by how the code begins: source, how it differs
    PHQ9_GAD7.code: (PHQ9_GAD7.source, _NHS_DIFFERS.format(note=PHQ9_GAD7.note)),
    PHQ9_PCL5.code: (PHQ9_PCL5.source, _NHS_DIFFERS.format(note=PHQ9_PCL5.note)),
    "cms159_style": ("CMS159 v0.3.000, depression remission at twelve months", DIFFERS),
    "drre_style": ("HEDIS DRR-E, depression remission or response, 120 to 240 days", DIFFERS),
}


def cohort_answer(
    instrument: Instrument, only: CohortFilter, of: CohortPersons, cohort: CohortRecord, key: bytes, whom: bytes
) -> CohortAnswer:
    """With the noise of one key; `whom` names the cohort as it is seen, and no instrument."""
    found = cohort_outcomes(cohort.courses)
    told = _Told(key, whom, instrument.key)
    return CohortAnswer(
        instrument=instrument.key,
        as_of=cohort.as_of,
        cohort=CohortChoice(of=of, **asdict(only)),
        disclosure=DisclosureAnswer(minimum=SMALLEST_CELL, rule=RULE),
        flow=FlowAnswer(
            not_dosed=None if cohort.not_dosed is None else told.count(f"{_TREATED}not_dosed", cohort.not_dosed),
            dosed=told.count(_DUE, found.persons),
            with_baseline=told.count("baseline", found.baseline.n),
        ),
        baseline=told.mean("baseline", found.baseline),
        time_points=[_time_point(told, instrument, one) for one in found.time_points],
        durability=_durability(told, found),
        doses=list(_doses(told, found)),
        adverse_events=list(_events(told, cohort, found.persons)),
        measures=[_measure(told, one) for one in _measures(instrument, found)],
        notes=list(NOTES),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """Tells figures of one answer.

    The same people bear the same noise wherever they are counted, in the answers of all instruments: drawn again and
    again it would average out. People have a name, and figures of one name share their noise where their numbers are
    equal. Under two names equal numbers differ: else it would show that all who were due have answered.
    """

    key: bytes
    whom: bytes
    instrument: str

    def count(self, people: str, count: int) -> Cell:
        return _cell(told_count(count, self.key, self.whom, self._noise_of(people, count)))

    def share(self, people: str, count: int, among: str, n: int) -> Share:
        names = self._noise_of(people, count), self._noise_of(among, n)
        told = told_rate(count, n, self.key, self.whom, *names)
        if isinstance(told, Hidden):
            return _suppressed(told)
        interval = wilson(told.numerator, told.denominator)
        return ShareAnswer(
            count=told.numerator, n=told.denominator, rate=told.rate, low=interval.low, high=interval.high
        )

    def parts(self, name: str, counts: Mapping[str, int]) -> dict[str, Cell]:
        """Of people whose number may be known: no small part follows from the others."""
        names = {self._noise_of(f"{name}/{part}", count): count for part, count in counts.items()}
        told = told_parts(names, self.key, self.whom)
        return dict(zip(counts, map(_cell, told.values()), strict=True))

    def mean(self, people: str, found: MeanChange) -> Mean:
        told = told_mean(found, self.key, self.whom, self._noise_of(people, found.n))
        return _suppressed(told) if isinstance(told, Hidden) else MeanAnswer.model_validate(told)

    def effect(self, people: str, found: EffectSize) -> EffectAnswer | SuppressedAnswer:
        told = told_effect(found, self.key, self.whom, self._noise_of(people, found.n[0]))
        if isinstance(told, Hidden):
            return _suppressed(told)
        return EffectAnswer(standardiser=found.standardiser, **asdict(told))

    def _noise_of(self, people: str, count: int) -> str:
        whose = people if people.startswith(_TREATED) else f"{self.instrument}/{people}"
        return f"{whose}/{count}"


_TREATED: Final = "treated/"  # how the names begin of people who are counted without regard to any form
_DUE: Final = f"{_TREATED}due"  # by the calendar alone: of one name at every time


def _cell(told: int | Hidden) -> Cell:
    return _suppressed(told) if isinstance(told, Hidden) else told


def _suppressed(reason: str) -> SuppressedAnswer:
    return SuppressedAnswer(reason=str(reason))


def _time_point(told: _Told, instrument: Instrument, found: TimePointFigures) -> CohortTimePointAnswer:
    code, present = found.at.code, found.presences
    observed, judged = f"{code}/{Presence.OBSERVED}", f"{code}/judged"
    return CohortTimePointAnswer(
        code=code,
        from_days=(found.at.after - found.at.early) / DAY,
        to_days=(found.at.after + found.at.late) / DAY,
        due=told.count(_DUE, found.due),
        **told.parts(code, {presence.value: present[presence] for presence in Presence}),
        observed_rate=told.share(observed, present[Presence.OBSERVED], _DUE, found.due),
        judged=told.count(judged, found.judged),
        total=told.mean(observed, found.total),
        change=told.mean(judged, found.change),
        effect=told.effect(judged, found.effect),
        outcomes=[_outcome(told, instrument, code, outcome, tally) for outcome, tally in found.tallies.items()],
    )


def _outcome(told: _Told, instrument: Instrument, code: str, outcome: Outcome, tally: Tally) -> CohortOutcomeAnswer:
    rule = outcome_rules(instrument).get(outcome)
    if rule is None:
        nothing = _suppressed("no_rule")
        return CohortOutcomeAnswer(
            outcome=outcome, rule=None, threshold=None, source=None, of_observed=nothing, of_treated=nothing
        )
    return CohortOutcomeAnswer(
        outcome=outcome,
        rule=rule.code,
        threshold=rule.value,
        source=rule.source,
        of_observed=told.share(f"{code}/{outcome}", tally.met, f"{code}/judged", tally.observed),
        of_treated=told.share(f"{code}/{outcome}", worst_case(outcome, tally), f"{code}/treated", tally.treated),
    )


def _durability(told: _Told, found: CohortOutcomes) -> CohortDurabilityAnswer:
    points = told_points(found.response)
    return CohortDurabilityAnswer(
        rule=f"{FIRST_FORM_WITHOUT.code}@{FIRST_FORM_WITHOUT.version}",
        persons=told.count("responded", found.response.n),
        lost=told.count("lost", found.response.events),
        median_days=_median(found.response_median, points[-1].survival if points else None),
        curve=[
            CurvePointAnswer(
                day=point.day,
                at_risk=told.count("at_risk", point.at_risk),
                survival=round(point.survival, 2),
                low=round(point.low, 2),
                high=round(point.high, 2),
            )
            for point in points
        ],
    )


def _median(found: MedianSurvival, told_down_to: float | None) -> float | SuppressedAnswer:
    """To the step of the curve, where what is told of it reaches that far. Why it is not told is not told either."""
    if found.median is None or told_down_to is None or told_down_to > 0.5:
        return _suppressed("too_few")
    return to_nearest(found.median, EVERY_DAYS)


# Which entries a list has must tell as little as what stands in them: one person's seizure, twelfth dose or finished
# course would else be told by the entry being there.


def _doses(told: _Told, found: CohortOutcomes) -> Iterator[CohortDoseAnswer]:
    """Those told of."""
    for one in found.doses:
        persons = told.count(_DUE if one.number == 1 else f"{_TREATED}dose/{one.number}", one.persons)
        change = told.mean(f"dose/{one.number}/{one.window}", one.change)
        if change != _suppressed(Hidden.TOO_FEW):
            yield CohortDoseAnswer(dose_number=one.number, window=one.window, persons=persons, change=change)


def _events(told: _Told, cohort: CohortRecord, persons: int) -> Iterator[CohortEventAnswer]:
    """All terms there are, also those of nobody."""
    doses = sum(course.doses for course in cohort.courses)
    for term, count in (dict.fromkeys(get_args(Term), EventCount(0, 0)) | cohort.events).items():
        of_persons = told.share(f"{_TREATED}event/{term}/persons", count.persons, _DUE, persons)
        hidden = isinstance(of_persons, SuppressedAnswer)
        of_doses = (
            of_persons
            if hidden
            else told.share(f"{_TREATED}event/{term}/doses", count.doses, f"{_TREATED}doses", doses)
        )
        yield CohortEventAnswer(term=term, persons=of_persons, doses=of_doses)


def _measures(instrument: Instrument, found: CohortOutcomes) -> Iterator[MeasureFigures]:
    """All of the instrument, also where nobody's course is finished."""
    known = {one.code: one for one in found.measures}
    return (known.get(code) or MeasureFigures(code, Tally()) for code in measure_codes(instrument))


def _measure(told: _Told, found: MeasureFigures) -> CohortMeasureAnswer:
    source, differs = next(value for code, value in _SOURCES.items() if found.code.startswith(code))
    return CohortMeasureAnswer(
        code=found.code,
        rate=told.share(found.code, found.tally.met, "measured", found.tally.observed),
        unknown=told.count(f"{found.code}/unknown", found.tally.unknown),
        source=source,
        differs=differs,
    )


def example() -> dict[str, Any]:
    """An answer in short, for the document."""
    share = {"count": 30, "n": 61, "rate": 0.4918, "low": 0.3706, "high": 0.6141}
    worst = {"count": 29, "n": 78, "rate": 0.3718, "low": 0.2733, "high": 0.4825}
    few = {"suppressed": True, "reason": "too_few"}
    rule = {
        "outcome": "response",
        "rule": "response_50_percent",
        "threshold": 0.5,
        "source": "ICSI adult depression guideline; MNCM 1884 and 1885",
    }
    return {
        "instrument": "phq-9@1",
        "as_of": "2026-11-20T19:30:00Z",
        "cohort": {"of": "consenting"} | asdict(CohortFilter(first_dose_from="2026-01", first_dose_to="2026-06")),
        "disclosure": {"minimum": SMALLEST_CELL, "rule": RULE},
        "flow": {"not_dosed": few, "dosed": 82, "with_baseline": 79},
        "baseline": {"n": 78, "mean": 17.5, "sd": 4.0, "low": 16.5, "high": 18.5},
        "time_points": [
            {
                "code": "week_4",
                "from_days": 25.0,
                "to_days": 31.0,
                "due": 81,
                "observed": 63,
                "missed": 15,
                "ended": few,
                "not_yet_due": few,
                "observed_rate": {"count": 62, "n": 77, "rate": 0.8052, "low": 0.7031, "high": 0.8783},
                "judged": 60,
                "total": {"n": 62, "mean": 9.5, "sd": 5.0, "low": 8.5, "high": 11.0},
                "change": {"n": 61, "mean": -8.0, "sd": 5.5, "low": -9.5, "high": -6.5},
                "effect": {"n": 59, "g": -1.9, "low": -2.4, "high": -1.45, "standardiser": "sd_before"},
                "outcomes": [rule | {"of_observed": share, "of_treated": worst}],
            }
        ],
        "durability": {
            "rule": "first_form_without@1",
            "persons": 44,
            "lost": 25,
            "median_days": 42.0,
            "curve": [{"day": 35.0, "at_risk": 27, "survival": 0.72, "low": 0.55, "high": 0.83}],
        },
        "doses": [{"dose_number": 1, "window": "28d", "persons": 82, "change": few}],
        "adverse_events": [{"term": "any", "persons": share, "doses": worst}],
        "measures": [
            {
                "code": "cms159_style_remission",
                "rate": share,
                "unknown": few,
                "source": _SOURCES["cms159_style"][0],
                "differs": DIFFERS,
            }
        ],
        "notes": list(NOTES),
    }
