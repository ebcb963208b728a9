"""Every rule of an instrument read over one pair of totals, side by side, each with its number and its source.

There is deliberately no single "is better": published rules disagree, and the disagreement is part of the answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from app.scoring.change import (
    ChangeCategory,
    Reason,
    Shift,
    categorise,
    comparable,
    distance_to_best,
    holds,
    improvement,
)
from app.scoring.model import Inequality, Instrument, Screen, Threshold, ThresholdKind

_Reading = tuple[bool | None, Shift | None, Reason | None]  # met, direction, reason
CategoryReason = Reason | Literal["no_reliable_change_rule", "no_cutoff"]

RELIABLE_CHANGE: Final = "reliable_change"  # Threshold.rule that categories are built on

# "At least so much better" has a mirror image, "at least so much worse"; "at most so much better" has none.
_MIRRORED: Final = frozenset({Inequality.AT_LEAST, Inequality.MORE_THAN})
_CHANGE_KINDS: Final = frozenset({ThresholdKind.CHANGE_POINTS, ThresholdKind.CHANGE_RATE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one pair of totals, with all that is needed to print the rule next to it."""

    rule: str
    code: str
    kind: ThresholdKind
    inequality: Inequality
    threshold: float  # points of improvement, share of improvement 0 to 1, or a total: `kind` says which
    met: bool | None  # None: cannot be told, `reason` says why
    direction: Shift | None  # change rules: improved, worsened by the same amount, or neither; None for score rules
    population: str
    source: str
    version: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """One word for a course, with the two rules it rests on."""

    category: ChangeCategory | None
    reliable_code: str | None  # code of the reliable-change threshold used
    cutoff_code: str | None  # code of the screen used as the clinical cut-off
    reason: CategoryReason | None
    reliable_value: float | None = None  # points, or share 0 to 1
    cutoff_value: int | None = None  # total from which (or up to which) the screen is met


def judge(
    instrument: Instrument,
    baseline_total: float | None,
    latest_total: float | None,
    extra_thresholds: Iterable[Threshold] = (),
) -> tuple[Verdict, ...]:
    """Every threshold of the instrument, then the clinic's own, each met, not met or not tellable.

    Units and range: totals in points of the scale, prorated decimals included. Improvement counts in the good
    direction of the scale; a rate is improvement over the baseline's distance to the best total (see
    `change.distance_to_best`). Score rules look at the latest total alone and carry no direction.
    Missing data: a total that a rule needs and that is None gives `met` None, `incomplete`. A rate from a baseline
    that is already the best total gives None, `zero_baseline`: never "improved".

    Raises:
        ValueError: a total is infinite or not a number.

    Source: each threshold names its own.

    >>> from app.scoring.model import Answer, Direction, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> items = (Item(1, "", tuple(Answer(value, "") for value in range(28))),)
    >>> half = Threshold("response", "response_50", ThresholdKind.CHANGE_RATE, Inequality.AT_LEAST, 0.5, "all", "ICSI")
    >>> low = Threshold("remission", "remission_5", ThresholdKind.SCORE, Inequality.LESS_THAN, 5, "all", "CMS159")
    >>> scale = Instrument(id="x", version=1, items=items, recall_days=14, direction=Direction.LOWER_IS_BETTER,
    ...                    missing=MissingRule(0, ""), thresholds=(half, low), **text)
    >>> [(verdict.code, verdict.met, verdict.direction) for verdict in judge(scale, 18, 9)]
    [('response_50', True, 'improved'), ('remission_5', False, None)]
    """
    thresholds = (*instrument.thresholds, *extra_thresholds)
    return tuple(verdict_of(instrument, threshold, baseline_total, latest_total) for threshold in thresholds)


def verdict_of(
    instrument: Instrument, threshold: Threshold, baseline_total: float | None, latest_total: float | None
) -> Verdict:
    """What one threshold alone says of two totals, exactly at the boundary.

    Units and range: totals in points. Missing data: as `judge`, `met` None with its reason.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: the threshold names its own.

    >>> from app.scoring.registry import get_instrument
    >>> phq_9 = get_instrument("phq-9")
    >>> half = next(threshold for threshold in phq_9.thresholds if threshold.rule == "response")
    >>> verdict_of(phq_9, half, 18, 9).met, verdict_of(phq_9, half, 18, 10).met, verdict_of(phq_9, half, 0, 0).reason
    (True, False, 'zero_baseline')
    """
    if threshold.kind is ThresholdKind.SCORE:
        met, direction, reason = _read_score(threshold, latest_total)
    else:
        met, direction, reason = _read_change(instrument, threshold, baseline_total, latest_total)
    return Verdict(
        rule=threshold.rule,
        code=threshold.code,
        kind=threshold.kind,
        inequality=threshold.inequality,
        threshold=threshold.value,
        met=met,
        direction=direction,
        population=threshold.population,
        source=threshold.source,
        version=threshold.version,
        reason=reason,
    )


def category_of(
    instrument: Instrument,
    baseline_total: float | None,
    latest_total: float | None,
    *,
    reliable: Threshold | None = None,
    cutoff: Screen | None = None,
) -> CategoryResult:
    """The instrument's own category: its default reliable-change rule read with its default cut-point.

    Clinical range means the cut-point's screen is met. Recovered: baseline in it, latest out of it, reliably better.
    Harmed: baseline out of it, latest in it, reliably worse. A clinic may pass its own rule or cut-point.

    Units and range: totals in points of the scale.
    Missing data: a total that is None gives no category, `incomplete`; an instrument without a reliable-change rule or
    without a cut-point on the total gives none either, and says which.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: the two rules name theirs; the scheme is Jacobson & Truax 1991, J Consult Clin Psychol 59:12-19, with a
    published change value in place of the index (judgement).

    >>> from app.scoring.model import Answer, Direction, Item, MissingRule
    >>> text = dict.fromkeys(("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"), "")
    >>> items = (Item(1, "", tuple(Answer(value, "") for value in range(28))),)
    >>> six = Threshold(RELIABLE_CHANGE, "rc_6", ThresholdKind.CHANGE_POINTS, Inequality.AT_LEAST, 6, "adults", "NHS")
    >>> ten = Screen("cut_10", "", "Kroenke 2001", total_at_least=10, is_default=True)
    >>> scale = Instrument(id="x", version=1, items=items, recall_days=14, direction=Direction.LOWER_IS_BETTER,
    ...                    missing=MissingRule(0, ""), thresholds=(six,), screens=(ten,), **text)
    >>> category_of(scale, 15, 9).category, category_of(scale, 15, 10).category, category_of(scale, None, 9).reason
    (<ChangeCategory.RECOVERED: 'recovered'>, <ChangeCategory.UNCHANGED: 'unchanged'>, 'incomplete')
    """
    rule = reliable or _default_reliable_change(instrument)
    screen = cutoff or _default_cutoff(instrument)
    if screen is None:
        return CategoryResult(None, rule.code if rule else None, None, "no_cutoff", rule.value if rule else None)
    if rule is None:
        return CategoryResult(None, None, screen.code, "no_reliable_change_rule", None, _cutoff_value(screen))
    category, reason = _category(instrument, rule, screen, baseline_total, latest_total)
    return CategoryResult(category, rule.code, screen.code, reason, rule.value, _cutoff_value(screen))


def _read_score(threshold: Threshold, latest: float | None) -> _Reading:
    if latest is None:
        return None, None, "incomplete"
    return holds(comparable(latest), threshold.inequality, comparable(threshold.value)), None, None


def _read_change(
    instrument: Instrument, threshold: Threshold, baseline: float | None, latest: float | None
) -> _Reading:
    if baseline is None or latest is None:
        return None, None, "incomplete"
    gain, bound = improvement(instrument.direction, baseline, latest), comparable(threshold.value)
    if threshold.kind is ThresholdKind.CHANGE_RATE:
        whole = distance_to_best(instrument, baseline)
        if whole <= 0:
            return None, None, "zero_baseline"
        bound *= whole  # gain / whole >= rate, cross-multiplied
    met, mirrored = holds(gain, threshold.inequality, bound), holds(-gain, threshold.inequality, bound)
    if threshold.inequality not in _MIRRORED:
        return met, None, None
    return met, _shift(better=met, worse=mirrored), None


def _shift(*, better: bool, worse: bool) -> Shift:
    if better == worse:  # neither, or a threshold of zero and no change: both
        return "none"
    return "improved" if better else "worsened"


def _category(
    instrument: Instrument, rule: Threshold, screen: Screen, baseline: float | None, latest: float | None
) -> tuple[ChangeCategory | None, CategoryReason | None]:
    if baseline is None or latest is None:
        return None, "incomplete"
    verdict = verdict_of(instrument, rule, baseline, latest)
    if verdict.direction is None:
        return None, verdict.reason or "no_reliable_change_rule"
    was, now = _in_clinical_range(screen, baseline), _in_clinical_range(screen, latest)
    if was is None or now is None:
        return None, "no_cutoff"
    return categorise(verdict.direction, was_clinical=was, is_clinical=now), None


def _default_reliable_change(instrument: Instrument) -> Threshold | None:
    named = [t for t in instrument.thresholds if t.rule == RELIABLE_CHANGE and t.kind in _CHANGE_KINDS]
    chosen = named if len(named) == 1 else [t for t in named if t.is_default]
    return chosen[0] if chosen else None


def _default_cutoff(instrument: Instrument) -> Screen | None:
    defaults = (screen for screen in instrument.screens if screen.is_default)
    return next((screen for screen in defaults if _cutoff_value(screen) is not None), None)


def _cutoff_value(screen: Screen) -> int | None:
    return screen.total_at_most if screen.total_at_least is None else screen.total_at_least


def _in_clinical_range(screen: Screen, total: float) -> bool | None:
    if screen.total_at_least is not None:
        return comparable(total) >= screen.total_at_least
    if screen.total_at_most is not None:
        return comparable(total) <= screen.total_at_most
    return None
