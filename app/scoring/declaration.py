"""Whether an instrument's declaration is whole, and a fingerprint of its wording."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, TypeVar

from app.scoring.model import Criterion, Instrument, Threshold, ThresholdKind, Validity, WorkedExample
from app.scoring.score import ResponseError, score

ID_FORM: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # goes into URLs and references as it is
_T = TypeVar("_T")

FEWEST_EXAMPLES: Final = 5  # worked examples per instrument; house rule


def item_hash(instrument: Instrument) -> str:
    """SHA-256 of what a person reads and may choose: instruction, items, answers, recall window.

    Units and range: 64 hexadecimal digits. Codes, rules and sources do not enter it.

    Missing data: does not arise.

    Source: none; a house rule, so that a change of wording cannot pass unseen under the same version.

    >>> from app.scoring.registry import get_instrument
    >>> len(item_hash(get_instrument("phq-9")))
    64
    """
    wording = {
        "instruction": instrument.instruction,
        "recall": [instrument.recall_days, instrument.recall_label],
        "items": [
            [item.number, item.text, [[answer.value, answer.label] for answer in item.answers]]
            for item in instrument.items
        ],
    }
    return sha256(json.dumps(wording, sort_keys=True).encode()).hexdigest()


def faults(instrument: Instrument) -> tuple[str, ...]:
    """Everything that is wrong with a declaration; empty when it is whole.

    Units and range: one sentence per fault.

    Missing data: does not arise.

    Source: none; house rules for declarations.

    >>> from app.scoring.registry import get_instrument
    >>> faults(get_instrument("phq-9"))
    ()
    """
    shape = [
        *_identity_faults(instrument),
        *_item_faults(instrument),
        *_code_faults(instrument),
    ]
    if shape:  # the rest reads items by number and would only stumble over the same stone
        return tuple(shape)
    rules = [
        *_band_faults(instrument),
        *_subscale_faults(instrument),
        *_screen_faults(instrument),
        *_special_item_faults(instrument),
        *_threshold_faults(instrument),
        *_psychometrics_faults(instrument),
    ]
    return tuple(rules) if rules else tuple(_example_faults(instrument))


def _identity_faults(instrument: Instrument) -> Iterator[str]:
    if not ID_FORM.fullmatch(instrument.id):
        yield "id is not lower-case words joined by hyphens"
    if instrument.version < 1:
        yield "version is below 1"
    for name in ("title", "measures", "instruction", "recall_label", "copyright", "licence", "source"):
        if not getattr(instrument, name).strip():
            yield f"{name} is empty"
    if instrument.recall_days < 1 or instrument.multiplier < 1 or not instrument.languages:
        yield "recall window, multiplier or languages are not given"


def _item_faults(instrument: Instrument) -> Iterator[str]:
    if [item.number for item in instrument.items] != list(range(1, len(instrument.items) + 1)):
        yield "items are not numbered 1 to n in order"
    required = [item.required for item in instrument.items]
    if required != sorted(required, reverse=True):
        yield "an item that may be left out stands before one that may not"
    if not instrument.scored_items:
        yield "no item is scored"
    for item in instrument.items:
        if not item.text.strip() or not all(answer.label.strip() for answer in item.answers):
            yield f"item {item.number} lacks words"
        if len(item.answers) < 2 or _repeated(answer.value for answer in item.answers):
            yield f"item {item.number} needs at least two different answers"
        if item.scored and not item.required:
            yield f"item {item.number} is scored but may be left out"


def _code_faults(instrument: Instrument) -> Iterator[str]:
    kinds: dict[str, list[str]] = {
        "subscale": [each.code for each in instrument.subscales],
        "band": [each.code for each in instrument.bands],
        "screen": [each.code for each in instrument.screens],
        "critical item": [each.code for each in instrument.critical_items],
        "threshold": [each.code for each in instrument.thresholds],
    }
    for kind, codes in kinds.items():
        for code in _repeated(codes):
            yield f"{kind} code {code} is used twice"


def _band_faults(instrument: Instrument) -> Iterator[str]:
    if not instrument.bands:
        return
    starts = [band.minimum for band in instrument.bands]
    ends = [band.maximum for band in instrument.bands]
    if (starts[0], ends[-1]) != (instrument.minimum, instrument.maximum):
        yield "bands do not span the range of the total"
    if starts[1:] != [end + 1 for end in ends[:-1]] or any(map(int.__gt__, starts, ends)):
        yield "bands leave a gap or overlap"


def _subscale_faults(instrument: Instrument) -> Iterator[str]:
    scored = {item.number for item in instrument.scored_items}
    for subscale in instrument.subscales:
        if not set(subscale.items) <= scored or _repeated(subscale.items):
            yield f"subscale {subscale.code} holds an item that is not scored, or one twice"
        if not 0 <= subscale.missing_allowed < len(subscale.items):
            yield f"subscale {subscale.code} could be told from no answer at all"


def _screen_faults(instrument: Instrument) -> Iterator[str]:
    for screen in instrument.screens:
        kinds = (screen.total_at_least is not None, screen.total_at_most is not None, bool(screen.criteria))
        if sum(kinds) != 1:
            yield f"screen {screen.code} is not of exactly one kind"
        if not screen.source.strip() or not screen.label.strip():
            yield f"screen {screen.code} lacks a label or a source"
        for total in (screen.total_at_least, screen.total_at_most):
            if total is not None and not instrument.minimum <= total <= instrument.maximum:
                yield f"screen {screen.code} cuts outside the range of the total"
        if not all(_is_well_formed(criterion, instrument) for criterion in screen.criteria):
            yield f"screen {screen.code} has a criterion that cannot be counted"
    cut_points = [screen for screen in instrument.screens if not screen.criteria]
    if sum(screen.is_default for screen in instrument.screens) != bool(cut_points):
        yield "of the cut-points not exactly one is the default"
    if any(screen.is_default and screen.criteria for screen in instrument.screens):
        yield "the default screen is not a cut-point"


def _is_well_formed(criterion: Criterion, instrument: Instrument) -> bool:
    choices = {item.number: {answer.value for answer in item.answers} for item in instrument.scored_items}
    at_most = len(criterion.endorsed_at) if criterion.at_most is None else criterion.at_most
    return all(value in choices.get(item, ()) for item, value in criterion.endorsed_at.items()) and (
        0 <= criterion.at_least <= at_most <= len(criterion.endorsed_at)
    )


def _special_item_faults(instrument: Instrument) -> Iterator[str]:
    items = {item.number: item for item in instrument.items}
    if not 0 <= instrument.missing.at_most < len(instrument.scored_items) or not instrument.missing.source.strip():
        yield "the missing rule would score an empty form, or has no source"
    for critical in instrument.critical_items:
        item = items.get(critical.item)
        if item is None or critical.at_least not in {answer.value for answer in item.answers}:
            yield f"critical item {critical.code} cannot be raised"
    if instrument.functional_item is not None:
        item = items.get(instrument.functional_item)
        if item is None or item.scored:
            yield "the functional item is not an unscored item"


def _threshold_faults(instrument: Instrument) -> Iterator[str]:
    for threshold in instrument.thresholds:
        if not threshold.source.strip() or not threshold.population.strip():
            yield f"threshold {threshold.code} lacks a source or a population"
        if not _is_in_range(threshold, instrument):
            yield f"threshold {threshold.code} can never be met, or always is"
    for rule in {threshold.rule for threshold in instrument.thresholds}:
        if sum(threshold.is_default for threshold in instrument.thresholds if threshold.rule == rule) != 1:
            yield f"rule {rule} has not exactly one default threshold"


def _is_in_range(threshold: Threshold, instrument: Instrument) -> bool:
    if threshold.kind is ThresholdKind.SCORE:
        return instrument.minimum <= threshold.value <= instrument.maximum
    most = 1 if threshold.kind is ThresholdKind.CHANGE_RATE else instrument.maximum - instrument.minimum
    return 0 < threshold.value <= most


def _psychometrics_faults(instrument: Instrument) -> Iterator[str]:
    for sample in instrument.psychometrics:
        if not sample.source.strip() or not sample.population.strip():
            yield "a sample lacks its population or source"
        if any(value is not None and not 0 < value < 1 for value in (sample.alpha, sample.retest)):
            yield f"a reliability of {sample.population} is not between 0 and 1"
        if sample.retest_days is not None and sample.retest is None:
            yield f"{sample.population} has days between two administrations but no retest reliability"
        if sample.mean is not None and not instrument.minimum <= sample.mean <= instrument.maximum:
            yield f"the mean of {sample.population} is outside the range of the total"
        if sample.sd is not None and sample.sd <= 0:
            yield f"the sd of {sample.population} is not above 0"
    for role in {sample.role for sample in instrument.psychometrics}:
        if sum(sample.is_default for sample in instrument.psychometrics if sample.role == role) != 1:
            yield f"role {role} has not exactly one default sample"


def _example_faults(instrument: Instrument) -> Iterator[str]:
    shown = {example.validity for example in instrument.examples}
    wanted = {Validity.VALID, Validity.INCOMPLETE} | ({Validity.PRORATED} if instrument.missing.at_most else set())
    if len(instrument.examples) < FEWEST_EXAMPLES or shown != wanted:
        yield "the worked examples are too few, or do not show every validity"
    for number, example in enumerate(instrument.examples, start=1):
        try:
            yield from (f"example {number}: {fault}" for fault in _differences(instrument, example))
        except ResponseError as error:
            yield f"example {number}: {error}"


def _differences(instrument: Instrument, example: WorkedExample) -> Iterator[str]:
    form = score(instrument, example.responses)
    severity = form.severity.code if form.severity else None
    if (form.total, form.validity, severity) != (example.total, example.validity, example.severity):
        yield f"scores {form.total}, {form.validity}, {severity}"
    screens = {screen.code: screen.met for screen in form.screens}
    for declared, found in ((example.screens, screens), (example.subscales, form.subscales)):
        for code, value in declared.items():
            if found.get(code, "not there") != value:
                yield f"{code} is {found.get(code, 'not there')}"


def _repeated(values: Iterable[_T]) -> list[_T]:
    return [value for value, times in Counter(values).items() if times > 1]
