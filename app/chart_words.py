"""A course in words: what a screen reader says of the picture, and the short texts that stand in it.

Pure. Dates are those of UTC: the core knows no clinic's clock, and a caption says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from app.scoring.change import distance_to_best
from app.scoring.default_rules import default_threshold
from app.scoring.model import Direction, Instrument, Threshold, ThresholdKind, Validity
from app.scoring.timeline import instant
from app.scoring.trajectory import Trajectory, TrajectoryPoint
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, NumberedDose

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_KINDS: Final = {
    Validity.VALID: "with every item answered",
    Validity.PRORATED: "prorated",
    Validity.INCOMPLETE: "incomplete, without a total",
}
_RULES: Final = {
    BaselineRule.PRE_TREATMENT: "last before the first dose",
    BaselineRule.FIRST: "first form with a total",
    BaselineRule.NAMED: "named form",
}
_REASONS: Final = {
    BaselineReason.NO_DOSE: "no dose is recorded",
    BaselineReason.NONE_BEFORE_FIRST_DOSE: "no form before the first dose",
    BaselineReason.TOO_OLD: "the last form before the first dose is too old",
    BaselineReason.INCOMPLETE: "no form in the right place has a total",
    BaselineReason.NOT_FOUND: "no form to count from",
}


def date_text(at: datetime) -> str:
    """Day, month, year, whatever the machine's language."""
    utc = instant(at)
    return f"{utc.day} {MONTHS[utc.month - 1]} {utc.year}"


def number_text(value: float) -> str:
    """At most one decimal; whole numbers without any."""
    return f"{value:.1f}".removesuffix(".0")


def range_text(instrument: Instrument) -> str:
    best = "lower" if instrument.direction is Direction.LOWER_IS_BETTER else "higher"
    return f"Total, {instrument.minimum} to {instrument.maximum}; {best} is better"


def amount_text(amount_mg: float | None) -> str:
    return "?" if amount_mg is None else f"{amount_mg:.12g}"


def baseline_text(course: Trajectory) -> str:
    """The baseline and its rule, or why there is none."""
    baseline = course.baseline
    if not isinstance(baseline, Baseline) or baseline.point.total is None:
        reason = BaselineReason.INCOMPLETE if isinstance(baseline, Baseline) else baseline.reason
        return f"no baseline: {_REASONS[reason]}"
    total, day = number_text(baseline.point.total), date_text(baseline.point.at)
    return f"baseline {total} ({day}, {_RULES[baseline.rule]})"


def response_line(instrument: Instrument, course: Trajectory) -> tuple[Threshold, float] | None:
    """The instrument's own response rule and the total it is met at; None where no total can meet it."""
    rule = default_threshold(instrument, "response")
    baseline = course.baseline.point.total if isinstance(course.baseline, Baseline) else None
    if rule is None or baseline is None:
        return None
    if rule.kind is ThresholdKind.SCORE:
        return rule, rule.value
    whole = float(distance_to_best(instrument, baseline))
    gain = rule.value * whole if rule.kind is ThresholdKind.CHANGE_RATE else rule.value
    line = baseline - gain if instrument.direction is Direction.LOWER_IS_BETTER else baseline + gain
    return (rule, line) if 0 < gain <= whole else None


def response_text(rule: Threshold, line: float) -> str:
    if rule.kind is ThresholdKind.SCORE:
        return f"response: {rule.inequality} {number_text(line)}"
    by = f"{rule.value * 100:g} %" if rule.kind is ThresholdKind.CHANGE_RATE else f"{rule.value:g} points"
    return f"response line {number_text(line)}: better by {by}"


def description(
    instrument: Instrument,
    course: Trajectory,
    shown: Sequence[TrajectoryPoint],
    doses: Sequence[NumberedDose],
    amounts_mg: Mapping[str, float],
) -> str:
    """What is seen, said: forms, baseline, latest total, doses, and what is not known."""
    sentences = [
        instrument.title,
        range_text(instrument),
        _forms(shown),
        _capitalised(baseline_text(course)),
        *_totals(instrument, course, shown),
        _doses(doses, amounts_mg),
        *_unknown(instrument, course, shown, doses, amounts_mg),
        "Time order is not cause",
    ]
    return " ".join(f"{sentence}." for sentence in sentences)


def _forms(shown: Sequence[TrajectoryPoint]) -> str:
    if not shown:
        return "No forms yet"
    times = [each.point.at for each in shown]
    first, last = date_text(min(times, key=instant)), date_text(max(times, key=instant))
    when = f"of {first}" if first == last else f"from {first} to {last}"
    counts = Counter(each.point.validity for each in shown)
    kinds = ", ".join(f"{counts[kind]} {text}" for kind, text in _KINDS.items() if counts[kind])
    return f"{_counted(len(shown), 'form')} {when}: {kinds}"


def _totals(instrument: Instrument, course: Trajectory, shown: Sequence[TrajectoryPoint]) -> list[str]:
    scored = [each for each in shown if each.point.total is not None]
    said = []
    if scored and scored[-1].point.total is not None:
        band = scored[-1].severity
        severity = f", {band.label.lower()}" if band else ""
        said.append(
            f"Latest total {number_text(scored[-1].point.total)}{severity}, on {date_text(scored[-1].point.at)}"
        )
    found = response_line(instrument, course)
    return [*said, _capitalised(response_text(*found))] if found else said


def _doses(doses: Sequence[NumberedDose], amounts_mg: Mapping[str, float]) -> str:
    if not doses:
        return "No dosing session"
    each = (f"{one.number} on {date_text(one.dose.started_at)}, {_amount(one, amounts_mg)}" for one in doses)
    return f"{_counted(len(doses), 'dosing session')}: {'; '.join(each)}"


def _amount(one: NumberedDose, amounts_mg: Mapping[str, float]) -> str:
    amount = amounts_mg.get(one.dose.id)
    return "amount not known" if amount is None else f"{amount_text(amount)} mg"


def _unknown(
    instrument: Instrument,
    course: Trajectory,
    shown: Sequence[TrajectoryPoint],
    doses: Sequence[NumberedDose],
    amounts_mg: Mapping[str, float],
) -> list[str]:
    without = sum(each.point.total is None for each in shown)
    amounts = sum(one.dose.id not in amounts_mg for one in doses)
    counts = course.completeness.total if course.completeness else None
    expected, missing = (counts.expected, counts.missing) if counts else (0, 0)
    gaps = {
        "how precise a total is, as no measurement error is declared": course.error is None,
        f"the total of {_counted(without, 'form')}": without,
        f"the amount of {_counted(amounts, 'dose')}": amounts,
        f"{missing} of {expected} expected check-ins": missing,
        "what counts as a response, as no rule is declared": default_threshold(instrument, "response") is None,
    }
    unknown = [text for text, holds in gaps.items() if holds]
    return [f"Not known: {'; '.join(unknown)}"] if unknown else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
