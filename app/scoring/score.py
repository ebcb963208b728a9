"""One form in, what it says out: check, sum, prorate, subscales, band, screens, critical items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Final

from app.scoring.model import (
    Criterion,
    CriticalFinding,
    Instrument,
    Score,
    Screen,
    ScreenResult,
    SeverityBand,
    Subscale,
    Validity,
)

HALF: Final = Fraction(1, 2)  # points; a prorated total is rounded half up to find its band (judgement: none published)

Answers = Mapping[int, int | None]  # item number -> chosen value, None where unanswered
Choices = Mapping[int, frozenset[int]]  # item number -> values of its answers
Total = int | Fraction  # whole unless something is missing: exact either way, and the common case stays cheap


@dataclass(frozen=True, slots=True)
class ResponseFault:
    """One thing wrong with a list of responses. The message never repeats the answer: it may end up in a log."""

    index: int | None  # position in the list from 0; None when the list as a whole is wrong
    code: str  # wrong_length, not_an_integer, not_a_choice
    message: str


class ResponseError(ValueError):
    """The responses are not a form of this instrument; `faults` names everything that is wrong with them."""

    def __init__(self, faults: tuple[ResponseFault, ...]) -> None:
        super().__init__(faults)
        self.faults: Final = faults

    def __str__(self) -> str:
        return "; ".join(fault.message for fault in self.faults)


def score(instrument: Instrument, responses: Sequence[int | None]) -> Score:
    """Score one form.

    Units and range: `responses` holds one answer value or None per item, in item order; trailing items that are
    not required may be left out. `total` is in points, `instrument.minimum` to `instrument.maximum`. Subscales are
    plain sums of their items.

    Missing data: never counted as zero. With up to `instrument.missing.at_most` scored items unanswered the total
    is the person mean of the answered ones times the number of items, unrounded, and the form is `prorated`; its
    band is that of the total rounded half up. Beyond it the form is `incomplete`: no total, no band. A subscale is
    prorated in the same way within its own limit. Screens are never read off a prorated total: `met` is told only
    where no possible answer to the missing items could change it. Critical items are reported on every form.

    Raises:
        ResponseError: the list has the wrong length, or holds something that is not a choice of its item.

    Source: the rules and their sources stand in the instrument's declaration; the missing-item rules follow
    Arrieta 2017, J Clin Psychol, doi 10.1002/jclp.22390, for the PHQ-9 and are our judgement elsewhere.

    >>> from app.scoring.registry import get_instrument
    >>> form = score(get_instrument("phq-9"), [2, 1, 3, 2, 0, 1, 1, 0, 0, 1])
    >>> form.total, form.severity.code, form.functional_difficulty
    (10, 'moderate', 1)
    >>> {screen.code: screen.met for screen in form.screens}
    {'cut_point_10': True, 'major_depressive_syndrome': False, 'other_depressive_syndrome': True}
    >>> score(get_instrument("phq-9"), [2, None, 3, 2, 0, 1, 1, 0, 0]).total
    10.125
    """
    layout = _layout(instrument)
    answers = _check(instrument, layout, responses)
    missing = tuple(number for number in layout.scored if answers[number] is None)
    total = _prorated_sum(answers, layout.scored, instrument.missing.at_most)
    if total is not None:
        total *= instrument.multiplier
    return Score(
        instrument=layout.key,
        total=_number(total),
        minimum=layout.minimum,
        maximum=layout.maximum,
        validity=_validity(total, missing),
        answered=len(layout.scored) - len(missing),
        missing=missing,
        subscales={subscale.code: _subscale(subscale, answers) for subscale in instrument.subscales},
        severity=_band(instrument.bands, total),
        screens=_screens(instrument, layout, answers, missing),
        critical_items=_critical_items(instrument, answers),
        functional_difficulty=answers[instrument.functional_item] if instrument.functional_item else None,
    )


def severity_of(instrument: Instrument, total: float) -> SeverityBand | None:
    """The band a total lies in.

    Units and range: points of the scale; a prorated total is rounded half up, exactly.
    Missing data: None for an instrument without bands.

    Raises:
        ValueError: the total is not a finite number.

    Source: the bands name theirs in the instrument's declaration; the rounding is our judgement.

    >>> from app.scoring.registry import get_instrument
    >>> severity_of(get_instrument("phq-9"), 9.5).code, severity_of(get_instrument("pcl-5-week"), 40)
    ('moderate', None)
    """
    return _band(instrument.bands, Fraction(total))


# --- Layout -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """What every form of an instrument is read by, worked out from its declaration once."""

    key: str
    fewest: int  # responses; items after these may be left out
    choices: Choices  # of every item, in item order
    scored: tuple[int, ...]  # item numbers
    minimum: int  # points, of the total
    maximum: int  # same


@lru_cache(maxsize=64)  # the declared instruments several times over; a limit for made-up ones alone
def _layout(instrument: Instrument) -> _Layout:
    return _Layout(
        key=instrument.key,
        fewest=max(item.number for item in instrument.items if item.required),
        choices={item.number: frozenset(answer.value for answer in item.answers) for item in instrument.items},
        scored=tuple(item.number for item in instrument.scored_items),
        minimum=instrument.minimum,
        maximum=instrument.maximum,
    )


# --- Check ------------------------------------------------------------------------------------------------------------


def _check(instrument: Instrument, layout: _Layout, responses: Sequence[int | None]) -> Answers:
    """The answers by item number, items left out as None; raises with every fault found."""
    faults = [*_length_faults(instrument, layout, len(responses)), *_answer_faults(layout, responses)]
    if faults:
        raise ResponseError(tuple(faults))
    left_out = len(layout.choices) - len(responses)
    return dict(zip(layout.choices, [*responses, *[None] * left_out], strict=True))


def _length_faults(instrument: Instrument, layout: _Layout, given: int) -> Iterable[ResponseFault]:
    least, most = layout.fewest, len(layout.choices)
    if not least <= given <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        yield ResponseFault(None, "wrong_length", f"{instrument.id} takes {wanted} responses, {given} were given")


def _answer_faults(layout: _Layout, responses: Sequence[object]) -> Iterable[ResponseFault]:
    for index, ((number, choices), answer) in enumerate(zip(layout.choices.items(), responses, strict=False)):
        if answer is None:
            continue
        # Not isinstance: True is an int to Python, and 1.0 equals 1, but neither is a box somebody ticked.
        if type(answer) is not int:
            yield ResponseFault(index, "not_an_integer", f"item {number} takes a whole number or null")
        elif answer not in choices:
            yield ResponseFault(index, "not_a_choice", f"item {number} has no such answer")


# --- Totals -----------------------------------------------------------------------------------------------------------


def _prorated_sum(answers: Answers, numbers: Sequence[int], missing_allowed: int) -> Total | None:
    """Person mean of the answered items times the number of items; None when too many are missing."""
    given = [answer for number in numbers if (answer := answers[number]) is not None]
    if len(given) == len(numbers):
        return sum(given)
    if not given or len(numbers) - len(given) > missing_allowed:
        return None
    return Fraction(sum(given) * len(numbers), len(given))


def _number(value: Total | None) -> int | float | None:
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)


def _validity(total: Total | None, missing: tuple[int, ...]) -> Validity:
    if total is None:
        return Validity.INCOMPLETE
    return Validity.PRORATED if missing else Validity.VALID


def _subscale(subscale: Subscale, answers: Answers) -> int | float | None:
    return _number(_prorated_sum(answers, subscale.items, subscale.missing_allowed))


def _band(bands: Iterable[SeverityBand], total: Total | None) -> SeverityBand | None:
    if total is None:
        return None
    rounded = total if isinstance(total, int) else floor(total + HALF)
    return next((band for band in bands if band.minimum <= rounded <= band.maximum), None)


# --- Screens ----------------------------------------------------------------------------------------------------------


def _screens(
    instrument: Instrument, layout: _Layout, answers: Answers, missing: Sequence[int]
) -> tuple[ScreenResult, ...]:
    """Whether each screen holds on every way the missing items could be filled in, on none, or on some (None)."""
    open_choices = {number: layout.choices[number] for number in missing}
    extremes = _extreme_totals(instrument, layout, answers, open_choices)
    results = []
    for screen in instrument.screens:
        if screen.criteria:
            outcomes = _criteria_outcomes(screen.criteria, answers, open_choices)
        else:
            outcomes = {_total_meets(screen, total) for total in extremes}
        results.append(ScreenResult(screen.code, outcomes.pop() if len(outcomes) == 1 else None))
    return tuple(results)


def _total_meets(screen: Screen, total: int) -> bool:
    if screen.total_at_least is not None:
        return total >= screen.total_at_least
    return screen.total_at_most is not None and total <= screen.total_at_most


def _extreme_totals(
    instrument: Instrument, layout: _Layout, answers: Answers, open_choices: Choices
) -> tuple[int, int]:
    """Lowest and highest total still possible. A cut-point is monotone, so these two settle all in between."""
    given = sum(answers[number] or 0 for number in layout.scored)
    lowest, highest = (given + sum(map(extreme, open_choices.values())) for extreme in (min, max))
    return instrument.multiplier * lowest, instrument.multiplier * highest


def _criteria_outcomes(criteria: Sequence[Criterion], answers: Answers, open_choices: Choices) -> set[bool]:
    """Every outcome the form can still have.

    Criteria share items, so each one open does not mean all can hold at once. The counts of all criteria are
    therefore carried together: from the one vector of counts that the answers given make, to the set of vectors that
    some filling-in reaches, missing item by missing item. A count is capped where more would change nothing: the set
    stays small (36 vectors for the PCL-5) however many are missing.
    """
    caps = tuple(c.at_least if c.at_most is None else c.at_most + 1 for c in criteria)
    reached = {tuple(min(_endorsements(c, answers), cap) for c, cap in zip(criteria, caps, strict=True))}
    for number, choices in open_choices.items():
        steps = {_endorsed(criteria, number, value) for value in choices}
        reached = {_add(counts, step, caps) for counts in reached for step in steps}
    return {all(map(_holds, criteria, counts)) for counts in reached}


def _endorsements(criterion: Criterion, answers: Answers) -> int:
    """How many of the answers given count towards the criterion."""
    count = 0
    for number, at_least in criterion.endorsed_at.items():
        answer = answers[number]
        count += answer is not None and answer >= at_least
    return count


def _endorsed(criteria: Sequence[Criterion], number: int, value: int) -> tuple[int, ...]:
    """1 for each criterion that this answer to this item counts towards."""
    return tuple(int(number in c.endorsed_at and value >= c.endorsed_at[number]) for c in criteria)


def _add(counts: tuple[int, ...], step: tuple[int, ...], caps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(count + more, cap) for count, more, cap in zip(counts, step, caps, strict=True))


def _holds(criterion: Criterion, count: int) -> bool:
    return criterion.at_least <= count and (criterion.at_most is None or count <= criterion.at_most)


# --- Critical items ---------------------------------------------------------------------------------------------------


def _critical_items(instrument: Instrument, answers: Answers) -> tuple[CriticalFinding, ...]:
    findings = []
    for critical in instrument.critical_items:
        value = answers[critical.item]
        raised = None if value is None else value >= critical.at_least
        findings.append(CriticalFinding(critical.item, critical.code, value, raised))
    return tuple(findings)
