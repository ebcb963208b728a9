"""Any number of forms for load tests: cheap, in order of time, in memory that does not grow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from app.synthetic.answers import QUESTIONNAIRES, Questionnaire, personal_weights, phq_9_items, spread
from app.synthetic.chance import chance

PROFILES: Final = 16  # ways in which one total is spread over the items
INSTRUMENTS: Final = ("phq-9", "phq-9", "phq-9", "pcl-5-week", "pcl-5-week", "gad-7")  # as often as each is listed
BLANK_RATE: Final = 0.03  # of forms with one item left out
SPAN: Final = timedelta(days=365)

Form = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class StreamedForm:
    """One row of a load test."""

    patient_index: int
    instrument: str
    responses: tuple[int | None, ...]
    taken_at: datetime


def forms_stream(
    seed: int, count: int, *, start: datetime, patients: int = 1_000, span: timedelta = SPAN
) -> Iterator[StreamedForm]:
    """`count` forms of `patients` people, evenly over `span` from `start`, the last one before its end.

    For writing and reading under load, not for statistics: people get slowly better, each from a level of their own,
    and times keep neither to a schedule nor to waking hours. `start` carries an offset, and so does every row.

    Raises:
        ValueError: `count` is negative, there are no patients, or `start` has no offset; before the first row.

    >>> from datetime import UTC
    >>> rows = forms_stream(1, 10**9, start=datetime(2026, 1, 1, tzinfo=UTC))
    >>> next(rows).taken_at.isoformat()
    '2026-01-01T00:00:00+00:00'
    """
    if count < 0 or patients < 1:
        raise ValueError("a stream needs patients and cannot be shorter than nothing")
    if start.tzinfo is None:
        raise ValueError("start has no offset")
    return _rows(chance(seed, "stream"), count, patients, start, span)


def _rows(draw: Random, count: int, patients: int, start: datetime, span: timedelta) -> Iterator[StreamedForm]:
    shapes = {name: _forms_by_total(draw, name, shape) for name, shape in QUESTIONNAIRES.items() if name in INSTRUMENTS}
    span_microseconds = span // timedelta(microseconds=1)
    for number in range(count):
        patient = int(draw.random() * patients)
        instrument = INSTRUMENTS[int(draw.random() * len(INSTRUMENTS))]
        profiles = shapes[instrument]
        level = (patient * 0.6180339887) % 1  # the golden ratio spreads neighbours over the whole range
        share = (0.3 + 0.65 * level) * (1 - 0.6 * number / count) + 0.1 * (draw.random() - 0.5)
        by_total = profiles[patient % PROFILES]
        responses = by_total[int(min(max(share, 0.0), 1.0) * (len(by_total) - 1))]
        if draw.random() < BLANK_RATE:
            responses = _with_blank(draw, responses)
        # Not span * number: past some millions of rows that is more than a timedelta holds.
        taken_at = start + timedelta(microseconds=span_microseconds * number // count)
        yield StreamedForm(patient, instrument, responses, taken_at)


def _forms_by_total(draw: Random, instrument: str, shape: Questionnaire) -> Sequence[Sequence[Form]]:
    """Every total of an instrument, ready made, in each profile."""
    maximum = shape.top * len(shape.weights)
    return [
        [_form(draw, instrument, total, weights, shape.top) for total in range(maximum + 1)]
        for weights in (personal_weights(draw, shape) for _ in range(PROFILES))
    ]


def _form(draw: Random, instrument: str, total: int, weights: tuple[float, ...], top: int) -> Form:
    if instrument != "phq-9":
        return tuple(spread(draw, total, weights, top))
    self_harm = max(0, total // 9 - 1, total - 8 * top)  # from 18 points on, so that load tests raise alerts too
    return tuple(phq_9_items(draw, total, self_harm, weights))


def _with_blank(draw: Random, responses: Form) -> Form:
    blank = int(draw.random() * len(responses))
    return (*responses[:blank], None, *responses[blank + 1 :])
