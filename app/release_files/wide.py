"""Forms beside each other: one row for each person and point in time, from the rows of `scores` alone."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Final

from app.release_files.model import Column, ReleaseFileError, Row, TableShape, Value
from app.release_files.shapes import TIME_COLUMNS
from app.scoring.model import Instrument, Item

WIDE: Final = "scores_wide"  # the table's name
ANSWERS: Final = "responses"  # a JSON list in the order of the items, null where one was left out
_ONE_OF_SEVERAL: Final = "Of several forms of one instrument at one point one is drawn by lot, with a total if any has."


def scores_wide(scores: TableShape, instruments: Sequence[Instrument]) -> TableShape:
    """Columns of each instrument are named after its key: `phq_9_v1_total`."""
    index = [column for column in scores.columns if column.name in (scores.person, *TIME_COLUMNS)]
    told = [column for instrument in instruments for column in _columns_of(instrument, _told(scores))]
    description = f"One row for each person and point in time. {_ONE_OF_SEVERAL}"
    return TableShape(WIDE, (*index, *told), tuple(column.name for column in index), description)


def wide_rows(scores: TableShape, instruments: Sequence[Instrument], rows: Iterable[Row]) -> Iterator[Row]:
    """Whole courses, ordered by person; one is in memory at a time."""
    person, told, known = scores.names.index(scores.person), _told(scores), by_key(instruments)
    for _, course in groupby(rows, key=itemgetter(person)):
        moments = _moments(scores, known, course)
        for moment in sorted(moments, key=_in_time):
            forms = moments[moment]
            cells = (_cells(scores, instrument, told, forms.get(instrument.key, [])) for instrument in instruments)
            yield (*moment, *chain.from_iterable(cells))


def _moments(
    scores: TableShape, known: Mapping[Value, Instrument], course: Iterable[Row]
) -> Mapping[Row, Mapping[str, list[Row]]]:
    index = [place for place, name in enumerate(scores.names) if name in (scores.person, *TIME_COLUMNS)]
    instrument = scores.names.index("instrument")
    moments: defaultdict[Row, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in course:
        moments[tuple(row[place] for place in index)][instrument_of(known, row[instrument]).key].append(row)
    return moments


def answers_of(instrument: Instrument, text: Value) -> list[int | None]:
    """The answers to all items, those not sent included; the text is that of one form."""
    given = json.loads(text) if isinstance(text, str) else []
    if len(given) > len(instrument.items):
        raise ReleaseFileError(f"{instrument.key} has fewer items than a form has answers")
    return [*given, *[None] * (len(instrument.items) - len(given))]


def by_key(instruments: Iterable[Instrument]) -> dict[Value, Instrument]:
    """As forms name them."""
    return {instrument.key: instrument for instrument in instruments}


def instrument_of(known: Mapping[Value, Instrument], key: Value) -> Instrument:
    """A form that would be left out without a word is a mistake."""
    if key not in known:
        raise ReleaseFileError("a form is of an instrument that is not of this table")
    return known[key]


def slug(instrument: Instrument) -> str:
    """A key as a name that every statistics program takes."""
    return f"{instrument.id.replace('-', '_')}_v{instrument.version}"


def item_name(instrument: Instrument, item: Item) -> str:
    """Of the column with the answers to one item."""
    return f"{slug(instrument)}_item_{item.number}"


def _told(scores: TableShape) -> list[Column]:
    return [column for column in scores.columns if column.name not in (scores.person, "instrument", *TIME_COLUMNS)]


def _columns_of(instrument: Instrument, told: Sequence[Column]) -> Iterator[Column]:
    name = slug(instrument)
    yield Column(f"{name}_forms", "integer", f"forms of {instrument.key} at this point", "forms", (), "counted")
    for column in told:
        if column.name == ANSWERS:
            yield from (
                Column(item_name(instrument, item), "integer", item.text, None, (), "as answered")
                for item in instrument.items
            )
        else:
            description = f"{instrument.key}: {column.description}"
            unit, source = column.unit, column.source
            yield Column(f"{name}_{column.name}", column.kind, description, unit, column.categories, source)


def _cells(scores: TableShape, instrument: Instrument, told: Sequence[Column], forms: Sequence[Row]) -> Iterator[Value]:
    yield len(forms)
    form = _drawn(scores, forms) if len(forms) > 1 else next(iter(forms), None)
    for column in told:
        value = None if form is None else form[scores.names.index(column.name)]
        if column.name == ANSWERS:
            yield from answers_of(instrument, value)
        else:
            yield value


def _drawn(scores: TableShape, forms: Sequence[Row]) -> Row:
    """One of them, without regard to its values; the same one for the same rows."""
    # Not the last of them: which came last is not told, and rows come in the order of their totals.
    total = scores.names.index("total") if "total" in scores.names else None
    lots = {row: hashlib.sha256(repr(row).encode()).digest() for row in forms}
    return min(forms, key=lambda row: (total is not None and row[total] is None, lots[row]))


def _in_time(moment: Row) -> list[tuple[bool, str | float]]:
    """An unknown time comes last. ISO dates sort as texts."""
    return [(value is None, value if isinstance(value, int | float) else str(value)) for value in moment]
