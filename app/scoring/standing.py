"""Where a patient stands on one instrument: what a caseload shows of a course, and nothing that it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from app.scoring.change import Change, ChangeCategory, change
from app.scoring.judgement import category_of
from app.scoring.model import Instrument, Point
from app.scoring.on_track import on_track
from app.scoring.score import severity_of
from app.scoring.timeline import InTimeOrder, in_time_order, instant
from app.scoring.treatment import Baseline, Dose, NoBaseline

_NO_CHANGE: Final = Change(None, None)  # without a baseline, or without a total after it


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest form, what changed, and what the rules say. In all of it the trajectory would say the same."""

    latest: Point  # the newest form, with a total or without
    severity: str | None  # code of its band
    change_since_last: int | float | None  # points, against the form with a total before it
    baseline: Baseline | NoBaseline
    change: int | float | None  # points, of the newest form with a total since baseline
    percent_change: float | None  # of the same form
    category: ChangeCategory | None  # of the same form
    on_track: bool | None
    on_track_reason: str
    forms: int
    doses: int
    last_dose_at: datetime | None


def standing(
    instrument: Instrument, points: Sequence[Point], doses: Sequence[Dose], baseline: Baseline | NoBaseline
) -> Standing | None:
    """What a caseload shows of one course on one instrument.

    Built from the functions the trajectory is built from, so that list and detail cannot disagree.

    Units and range: points of the scale; percent as a number, 50.0 is half. `points` are of this instrument and course
    alone, in any order; those of one instant are ordered by id.
    Missing data: None without any form. An incomplete newest form has no severity and no change since the last; change
    since baseline, its percent and its category are then those of the newest form that has a total, because a
    deterioration does not end with a form left half empty. They are None without such a form after the baseline.

    Raises:
        ValueError: a total is not a finite number, or a time has no offset.

    Source: each part names its own; what is put together here is judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> forms = [Point(str(day), datetime(2026, 3, day, tzinfo=UTC), total, Validity.VALID)
    ...          for day, total in ((1, 19), (8, 14), (23, 8))]
    >>> now = standing(get_instrument("phq-9"), forms, [], Baseline(forms[0], BaselineRule.FIRST))
    >>> now.severity, now.change_since_last, now.change, now.category.value, now.on_track
    ('mild', -6, -11, 'recovered', True)
    """
    if not points:
        return None
    ordered = in_time_order(points)
    latest, starts = ordered[-1], [instant(dose.started_at) for dose in doses]
    changed, category = _since_baseline(instrument, ordered, baseline)
    track = on_track(ordered, baseline, instrument, first_dose_at=min(starts, default=None))
    return Standing(
        latest=latest,
        severity=None if latest.total is None else _severity(instrument, latest.total),
        change_since_last=_since_last(instrument, ordered),
        baseline=baseline,
        change=changed.points,
        percent_change=changed.percent_change,
        category=category,
        on_track=track.met,
        on_track_reason=track.reason.value,
        forms=len(ordered),
        doses=len(starts),
        last_dose_at=max(starts, default=None),
    )


def latest_category(
    instrument: Instrument, points: Sequence[Point], baseline: Baseline | NoBaseline
) -> ChangeCategory | None:
    """The category that `standing` would say, where nothing else is wanted of it.

    Units and range: points of the scale, as in `standing`. Missing data: None without a form with a total after the
    baseline, and without a baseline.

    Raises:
        ValueError: a total is not a finite number, or a time has no offset.

    Source: as `standing`.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> forms = [Point(str(day), datetime(2026, 3, day, tzinfo=UTC), total, Validity.VALID)
    ...          for day, total in ((1, 19), (23, 8))]
    >>> latest_category(get_instrument("phq-9"), forms, Baseline(forms[0], BaselineRule.FIRST)).value
    'recovered'
    """
    return _since_baseline(instrument, in_time_order(points), baseline)[1]


def _since_last(instrument: Instrument, ordered: InTimeOrder) -> int | float | None:
    before = next((point.total for point in ordered[-2::-1] if point.total is not None), None)
    return _change(instrument, before, ordered[-1].total).points


def _since_baseline(
    instrument: Instrument, ordered: InTimeOrder, baseline: Baseline | NoBaseline
) -> tuple[Change, ChangeCategory | None]:
    if isinstance(baseline, NoBaseline):
        return _NO_CHANGE, None
    start = baseline.point
    judged = next((point for point in reversed(ordered) if point.total is not None and point.id != start.id), None)
    if judged is None or instant(judged.at) < instant(start.at):
        return _NO_CHANGE, None
    return _change(instrument, start.total, judged.total), _category(instrument, start.total, judged.total)


# Asked at every check-in, of totals that are few: each pair is worked out once.
_change: Final = lru_cache(maxsize=4_096)(change)


@lru_cache(maxsize=4_096)
def _category(instrument: Instrument, baseline: float | None, latest: float | None) -> ChangeCategory | None:
    return category_of(instrument, baseline, latest).category


@lru_cache(maxsize=1_024)
def _severity(instrument: Instrument, total: float) -> str | None:
    band = severity_of(instrument, total)
    return band.code if band else None
