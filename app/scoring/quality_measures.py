"""Yearly depression measures in the style of CMS159 and HEDIS DRR-E, read on courses of treatment.

They are not those measures: encounters, diagnoses, ages and exclusions, which the official ones begin with, are not on
record here. Index is the baseline before the first dose. `DIFFERS` is printed with every figure.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final

from app.scoring.default_rules import default_threshold, verdict_of
from app.scoring.model import Instrument
from app.scoring.timeline import DAY, InTimeOrder, instant
from app.scoring.treatment import Baseline, NoBaseline

INSTRUMENT: Final = "phq-9"
INDEX_ABOVE: Final = 9  # total; "> 9" in CMS159 v0.3.000 and HEDIS DRR-E
CMS159_DAYS: Final = 60  # days before and after index + 12 months, inclusive; CMS159 v0.3.000
DRRE_FROM, DRRE_TO = 120, 240  # days after the index, inclusive; HEDIS DRR-E

DIFFERS: Final = (
    "Not the official measure: index is the baseline of the course, not the first score of an encounter; diagnoses, "
    "ages and exclusions (death, hospice, bipolar and other disorders) are not on record and not applied; dates are "
    "those of UTC."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One course under each measure. None: not in the denominator (index 9 or below, or its period not over)."""

    cms159_remission: bool | None  # no score in the period counts as not met, as in the original
    drre_follow_up: bool | None
    drre_remission: bool | None
    drre_response: bool | None


def measured(
    instrument: Instrument, baseline: Baseline | NoBaseline, points: InTimeOrder, as_of: datetime
) -> Measured | None:
    """Remission at twelve months, and follow-up, remission and response at four to eight months, of one course.

    CMS159 style: the last PHQ-9 from 60 days before to 60 days after index + 12 months is below 5. DRR-E style: a
    PHQ-9 120 to 240 days after the index; the most recent of them below 5; the most recent at least 50 % below index.

    Units and range: whole days of UTC, both ends included; `points` are all of the person, also of later courses.
    Missing data: no score in a period is "not met", as the originals have it. A period not over by `as_of` is left out
    of the denominator, as is a course without a baseline.

    Raises:
        ValueError: a time has no offset.

    Source: CMS159 v0.3.000 (2026) as read in its CQL; HEDIS DRR-E as published by NCQA.

    >>> from datetime import UTC
    >>> from app.scoring.model import Point, Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.timeline import in_time_order
    >>> from app.scoring.treatment import BaselineRule
    >>> start = datetime(2025, 1, 10, 9, tzinfo=UTC)
    >>> forms = in_time_order(Point(str(day), start + day * DAY, total, Validity.VALID)
    ...                       for day, total in ((0, 18), (150, 9), (350, 3)))
    >>> measured(get_instrument("phq-9"), Baseline(forms[0], BaselineRule.PRE_TREATMENT), forms, start + 500 * DAY)
    Measured(cms159_remission=True, drre_follow_up=True, drre_remission=False, drre_response=True)
    """
    if instrument.id != INSTRUMENT:
        return None
    if isinstance(baseline, NoBaseline) or baseline.point.total is None or baseline.point.total <= INDEX_ABOVE:
        return Measured(None, None, None, None)
    index, today = instant(baseline.point.at).date(), instant(as_of).date()
    year = _year_after(index)
    opens, closes = year - CMS159_DAYS * DAY, year + CMS159_DAYS * DAY
    at_year = _last(points, opens, closes)
    cms159 = None if today <= closes else at_year is not None and _meets(instrument, "remission", None, at_year)
    if today <= index + DRRE_TO * DAY:
        return Measured(cms159, None, None, None)
    later = _last(points, index + DRRE_FROM * DAY, index + DRRE_TO * DAY)
    return Measured(
        cms159_remission=cms159,
        drre_follow_up=later is not None,
        drre_remission=later is not None and _meets(instrument, "remission", None, later),
        drre_response=later is not None and _meets(instrument, "response", baseline.point.total, later),
    )


def _year_after(day: date) -> date:
    """Twelve months on; of 29 February the day before 1 March."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


def _last(points: InTimeOrder, opens: date, closes: date) -> int | float | None:
    within = points.between(datetime.combine(opens, time.min, UTC), datetime.combine(closes, time.max, UTC))
    return next((point.total for point in reversed(within) if point.total is not None), None)


@lru_cache(maxsize=1_024)
def _meets(instrument: Instrument, rule: str, index: float | None, total: float) -> bool:
    threshold = default_threshold(instrument, rule)
    return threshold is not None and verdict_of(instrument, threshold, index, total).met is True
