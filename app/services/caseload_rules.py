"""What each number of a caseload rests on, worded from the numbers that it is judged by."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from app.schemas.caseload import CaseloadRules
from app.scoring.default_rules import default_cut_point, default_threshold
from app.scoring.judgement import RELIABLE_CHANGE
from app.scoring.model import Instrument, Screen, Threshold
from app.scoring.on_track import FOURTH_CHECK_IN
from app.scoring.treatment import MAXIMUM_BASELINE_AGE_DAYS
from app.services.caseload_query import MISSED_DAYS, Sort

_BASELINE: Final = (
    "pre_treatment: the last form with a total at or before the first dose of the course, at most "
    f"{MAXIMUM_BASELINE_AGE_DAYS} days older than it. first: where no dose is recorded, the first form with a total. "
    "Without a baseline there is no change, no category and no verdict on the track."
)
_CHANGE: Final = (
    "The last form with a total minus the baseline, in points of the scale, and in percent of the baseline's distance "
    "to the best possible total. change_since_last: the last form against the one with a total before it; null where "
    "the last one has no total. Order is not cause."
)
_ALERTS: Final = (
    "Counted over all instruments. No alert is no all-clear: forms that were not sent raise none, and nobody watches "
    "this list around the clock."
)
_CHECK_INS: Final = (
    "Counted over all instruments. overdue: wanted, not answered, and the window is still open. missed: the window "
    f"closed without an answer within the last {MISSED_DAYS} days."
)
_SILENCE: Final = (
    "Whole days since the last form on this instrument; null where there is none, which is unknown and not well. "
    "silent_for_days counts such a patient from the day the patient was added."
)
_ORDER: Final[Mapping[Sort, str]] = {
    Sort.WORST: "More open alerts first; then those not on track; then harmed, deteriorated, unchanged, unknown, "
    "improved, recovered; then those silent for longest; then by id.",
    Sort.NAME: "By external_ref, character by character; those without one last; then by id.",
    Sort.LAST_FORM: "Those without any form first; then the longest silent; then by id.",
    Sort.NEXT_SESSION: "The soonest planned session first; those without one last, longest silent first; then by id.",
    Sort.CHANGE: "The largest change for the worse since baseline first; those without a change last; then by id.",
}


@cache
def caseload_rules(instrument: Instrument, sort: Sort) -> CaseloadRules:
    rule = FOURTH_CHECK_IN
    return CaseloadRules(
        baseline=_BASELINE,
        change=_CHANGE,
        category=_category(default_threshold(instrument, RELIABLE_CHANGE), default_cut_point(instrument)),
        on_track=f"{rule.code}@{rule.version}: {rule.statement} Source: {rule.source}.",
        alerts=_ALERTS,
        check_ins=_CHECK_INS,
        silence=_SILENCE,
        order=_ORDER[sort],
    )


def _category(reliable: Threshold | None, cutoff: Screen | None) -> str:
    if reliable is None or cutoff is None:
        return "None: this instrument has no reliable-change rule, or no cut-point on its total. All are unknown."
    return (
        f"{reliable.code} (a change {reliable.inequality.value} {reliable.value:g} points; {reliable.source}), read "
        f"with {cutoff.code} ({cutoff.label}; {cutoff.source}). recovered: reliably better and out of the clinical "
        "range. improved: reliably better. unchanged: neither. deteriorated: reliably worse. harmed: reliably worse "
        "and into the clinical range. The unknown have no baseline, or no total."
    )
