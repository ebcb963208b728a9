"""What changed around one dose, by a declared rule that pairs a form before it with forms after it.

Association in time is all this can show. A pair that cannot be told apart from another dose, or whose questions reach
back to before the dose, gives no number but a reason.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from app.scoring.change import change
from app.scoring.measurement import measurement_error
from app.scoring.model import Instrument, Point
from app.scoring.timeline import HOUR, InTimeOrder, elapsed, in_time_order, instant
from app.scoring.treatment import Dose, DoseLine, NumberedDose, dose_line, recall_share


@dataclass(frozen=True, slots=True)
class AfterWindow:
    """When a form counts as "24 h after". Hours since the start of the dose, both ends included."""

    code: str
    nominal_hours: float
    from_hours: float
    to_hours: float


@dataclass(frozen=True, slots=True)
class PairingRules:
    """Which forms are paired around a dose. `code` and `version` are told with every result."""

    code: str
    version: int
    before_hours: float  # how long before the start of the dose the form before may lie, inclusive
    after: tuple[AfterWindow, ...]  # in this order the first estimable one gives the headline effect
    minimum_recall_after: float  # share of the recall window that must lie after the dose, 0 to 1


STANDARD_PAIRING: Final = PairingRules(
    code="around_one_dose",
    version=1,
    before_hours=168,  # hours; judgement: the last form of the week before
    after=(
        AfterWindow("24h", 24, 18, 36),  # hours; nominal time as in Feder 2014, tolerance our judgement
        AfterWindow("72h", 72, 60, 96),  # hours; nominal time as in Feder 2014, tolerance our judgement
        AfterWindow("7d", 168, 144, 216),  # hours; nominal time as in Feder 2014, tolerance our judgement
        AfterWindow("28d", 672, 504, 840),  # hours; four weeks as in Abdallah 2022, tolerance our judgement
    ),
    minimum_recall_after=1.0,  # share; judgement: nothing that was asked about may lie before the dose
)


class NotEstimable(StrEnum):
    """Why a pair gives no number."""

    NO_FORM_BEFORE = "no_form_before"  # none in the window before the dose
    PREVIOUS_DOSE_AFTER_FORM = "previous_dose_after_form"  # the only forms before lie before an earlier dose as well
    INVALID_FORM = "invalid_form"  # there are forms in the right place, none of them with a total
    RECALL_STRADDLES_DOSE = "recall_straddles_dose"  # the form after still asks about the time before the dose
    NEXT_DOSE_BEFORE_WINDOW = "next_dose_before_window"  # another dose came before the window opened
    NEXT_DOSE_BEFORE_FORM = "next_dose_before_form"  # another dose came inside the window, and before its forms
    NONE_AFTER = "none_after"  # no form in the window, missed or not yet due


@dataclass(frozen=True, slots=True)
class AfterForm:
    """One window after a dose: the form that was looked at, and its effect or why there is none."""

    window: str  # code of the AfterWindow
    point: Point | None  # shown even where it cannot be judged
    hours_after: float | None
    recall_after_dose: float | None  # share, 0 to 1
    effect: int | float | None  # points, after minus before: a fall is negative
    standard_error: float | None  # points; of the difference of two totals of a person who did not change
    not_estimable: NotEstimable | None


@dataclass(frozen=True, slots=True)
class SessionEffect:
    """One dose with the form before it and the forms after it. The headline is the earliest estimable window."""

    dose_number: int
    dose_id: str
    started_at: datetime
    rules: str  # code and version of the pairing rules, e.g. around_one_dose@1
    before: Point | None
    hours_before: float | None
    after: tuple[AfterForm, ...]  # one per window, in the declared order
    effect: int | float | None  # points
    standard_error: float | None  # points
    effect_window: str | None  # the window the headline comes from: 24h of one dose is not 28d of another
    not_estimable: NotEstimable | None


_Before = Point | NotEstimable
# Of several reasons in several windows, the one that says most: a form that exists but cannot speak, before an absence.
_MOST_TELLING: Final = (
    NotEstimable.RECALL_STRADDLES_DOSE,
    NotEstimable.INVALID_FORM,
    NotEstimable.NEXT_DOSE_BEFORE_FORM,
    NotEstimable.NEXT_DOSE_BEFORE_WINDOW,
    NotEstimable.NONE_AFTER,
)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A dose with its neighbours: the forms that may speak of it alone lie between them."""

    previous: datetime | None
    start: datetime
    following: datetime | None


def session_effects(
    points: Iterable[Point], doses: Iterable[Dose], instrument: Instrument, rules: PairingRules = STANDARD_PAIRING
) -> tuple[SessionEffect, ...]:
    """For every dose, after minus before in points, one window at a time, or the reason why it cannot be estimated.

    Before: the last form with a total in the window before the dose, at its very start included, and after the previous
    dose. Its recall window may reach back over earlier doses; that is the state this dose met. After: of the forms in
    the window, with a total, not later than the next dose, and with enough of their recall window after this dose, the
    one nearest to the nominal time, the earlier of two equally near. Where none qualifies, the nearest form is shown
    with the reason. A form exactly at the start of a dose speaks of the time before it.

    Units and range: points as the scale counts, so a fall is negative; hours since the start of the dose. The standard
    error is sqrt(2) * SD * sqrt(1 - r) of the instrument's own figures: the spread of such a difference in a person
    who did not change, not of a cause.
    Missing data: nothing is carried forward or filled in. A window without a form is `none_after`, whether it was
    missed or is not yet due: no clock is read here. No standard error where the instrument declares no reliability.

    Raises:
        ValueError: a time has no offset, or the instrument's recall window is not longer than 0 days.

    Source: nominal times as in Feder 2014, JAMA Psychiatry, and Abdallah 2022, Neuropsychopharmacology; windows,
    pairing and the recall rule are our judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> dose = Dose("a", datetime(2026, 1, 5, 9, tzinfo=UTC))
    >>> def form(hours, total):
    ...     return Point(f"{hours} h", dose.started_at + hours * HOUR, total, Validity.VALID)
    >>> (weekly,) = session_effects([form(-2, 48), form(26, 30), form(170, 35)], [dose], get_instrument("pcl-5-week"))
    >>> weekly.effect, round(weekly.standard_error, 2), weekly.effect_window
    (-13, 7.92, '7d')
    >>> [(each.window, each.not_estimable and each.not_estimable.value) for each in weekly.after][:3]
    [('24h', 'recall_straddles_dose'), ('72h', 'none_after'), ('7d', None)]
    """
    forms = in_time_order(points)
    line = dose_line(doses)
    error = _error(instrument)
    standard_error = None if error is None else error.s_diff
    return tuple(
        _session(each, stretch, forms, instrument, rules, standard_error)
        for each, stretch in zip(line.doses, _stretches(line), strict=True)
    )


_error: Final = lru_cache(maxsize=64)(measurement_error)


def effect_sizes(
    points: Iterable[Point],
    doses: Iterable[Dose] | DoseLine,
    instrument: Instrument,
    rules: PairingRules = STANDARD_PAIRING,
) -> Iterator[tuple[int, str, int | float]]:
    """The effects of `session_effects` that can be estimated: dose number, window, points. For thousands of courses.

    Units and range: points of the scale. Missing data: what cannot be estimated is left out.

    Raises:
        ValueError: as `session_effects`.

    Source: as `session_effects`.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> dose = Dose("a", datetime(2026, 1, 5, 9, tzinfo=UTC))
    >>> forms = [Point(f"{hours} h", dose.started_at + hours * HOUR, total, Validity.VALID)
    ...          for hours, total in ((-2, 48), (170, 35))]
    >>> list(effect_sizes(forms, [dose], get_instrument("pcl-5-week")))
    [(1, '7d', -13)]
    """
    forms = in_time_order(points)
    line = dose_line(doses)
    for each, stretch in zip(line.doses, _stretches(line), strict=True):
        before = _before(stretch, forms, rules)
        for window in rules.after if isinstance(before, Point) else ():
            effect = _effect(before, *_choose_after(window, stretch, forms, instrument, rules), instrument)
            if effect is not None:
                yield each.number, window.code, effect


def _effect(
    before: _Before, after: Point | None, reason: NotEstimable | None, instrument: Instrument
) -> int | float | None:
    if after is None or reason is not None or isinstance(before, NotEstimable):
        return None
    return _change(instrument, before.total, after.total).points


_change: Final = lru_cache(maxsize=4_096)(change)  # totals are few, and a cohort has thousands of doses


def _stretches(line: DoseLine) -> Iterable[_Stretch]:
    starts = line.starts
    return map(_Stretch, (None, *starts), starts, (*starts[1:], None))  # the first runs one longer


def _session(
    numbered_dose: NumberedDose,
    stretch: _Stretch,
    forms: InTimeOrder,
    instrument: Instrument,
    rules: PairingRules,
    standard_error: float | None,
) -> SessionEffect:
    before = _before(stretch, forms, rules)
    after = tuple(_after(window, before, stretch, forms, instrument, rules, standard_error) for window in rules.after)
    headline = next((each for each in after if each.effect is not None), None)
    return SessionEffect(
        dose_number=numbered_dose.number,
        dose_id=numbered_dose.dose.id,
        started_at=numbered_dose.dose.started_at,
        rules=f"{rules.code}@{rules.version}",
        before=before if isinstance(before, Point) else None,
        hours_before=elapsed(before.at, stretch.start) / HOUR if isinstance(before, Point) else None,
        after=after,
        effect=headline.effect if headline else None,
        standard_error=headline.standard_error if headline else None,
        effect_window=headline.window if headline else None,
        not_estimable=None if headline else _headline_reason(before, after),
    )


def _before(stretch: _Stretch, forms: InTimeOrder, rules: PairingRules) -> _Before:
    near = forms.between(stretch.start - rules.before_hours * HOUR, stretch.start)
    own = [form for form in near if stretch.previous is None or instant(form.at) > stretch.previous]
    judged = [form for form in own if form.total is not None]
    if judged:
        return judged[-1]
    if own:
        return NotEstimable.INVALID_FORM
    return NotEstimable.PREVIOUS_DOSE_AFTER_FORM if near else NotEstimable.NO_FORM_BEFORE


def _after(
    window: AfterWindow,
    before: _Before,
    stretch: _Stretch,
    forms: InTimeOrder,
    instrument: Instrument,
    rules: PairingRules,
    standard_error: float | None,
) -> AfterForm:
    point, reason = _choose_after(window, stretch, forms, instrument, rules)
    if isinstance(before, NotEstimable):
        reason = before
    effect = _effect(before, point, reason, instrument)
    return AfterForm(
        window=window.code,
        point=point,
        hours_after=elapsed(stretch.start, point.at) / HOUR if point else None,
        recall_after_dose=recall_share(point.at, stretch.start, instrument.recall_days) if point else None,
        effect=effect,
        standard_error=None if effect is None else standard_error,
        not_estimable=reason,
    )


def _choose_after(
    window: AfterWindow, stretch: _Stretch, forms: InTimeOrder, instrument: Instrument, rules: PairingRules
) -> tuple[Point | None, NotEstimable | None]:
    opens, closes = stretch.start + window.from_hours * HOUR, stretch.start + window.to_hours * HOUR
    if stretch.following is not None and stretch.following < opens:
        return None, NotEstimable.NEXT_DOSE_BEFORE_WINDOW
    inside = [form for form in forms.between(opens, closes) if instant(form.at) > stretch.start]
    own = [form for form in inside if stretch.following is None or instant(form.at) <= stretch.following]
    judged = [form for form in own if form.total is not None]
    eligible = [
        form
        for form in judged
        if recall_share(form.at, stretch.start, instrument.recall_days) >= rules.minimum_recall_after
    ]
    nominal = stretch.start + window.nominal_hours * HOUR
    if eligible:
        return _nearest(eligible, nominal), None
    if judged:
        return _nearest(judged, nominal), NotEstimable.RECALL_STRADDLES_DOSE
    if own:
        return _nearest(own, nominal), NotEstimable.INVALID_FORM
    return None, NotEstimable.NEXT_DOSE_BEFORE_FORM if inside else NotEstimable.NONE_AFTER


def _nearest(forms: Sequence[Point], nominal: datetime) -> Point:
    return min(forms, key=lambda form: abs(elapsed(nominal, form.at)))  # min keeps the first: forms come in time order


def _headline_reason(before: _Before, after: Sequence[AfterForm]) -> NotEstimable:
    if isinstance(before, NotEstimable):
        return before
    given = {each.not_estimable for each in after}
    return next((reason for reason in _MOST_TELLING if reason in given), NotEstimable.NONE_AFTER)
