"""Files of answered forms: bytes in, checked and scored forms or refusals out, one row at a time.

No database, no clock. Whatever is wrong with a row is told by line, column and code, never by what stood there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from app.errors import InvalidError
from app.form_map import ColumnMap, TimeError, TimeRule
from app.form_records import CONTROL_CHARACTER, Bytes, Record, RefusedRow, RowFault, read_records
from app.scoring import ResponseError, score
from app.scoring.model import Instrument, Score

MAX_REFERENCE: Final = 200  # characters of a patient's external reference, as the API has it

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,5})")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class FormRow:
    """One filled form that fits its instrument."""

    line: int
    external_ref: str
    taken_at: datetime
    responses: tuple[int | None, ...]
    score: Score
    warnings: tuple[RowFault, ...] = ()


def read_forms(
    stream: Bytes, columns: ColumnMap, times: TimeRule, instrument: Instrument
) -> Iterator[FormRow | RefusedRow]:
    """The rows of a file. Raises MalformedError or InvalidError before the first one when the file cannot be used."""
    fits = False
    for record in read_records(stream, columns.names):
        if isinstance(record, RefusedRow):
            yield record
            continue
        if not fits:
            _refuse_wrong_count(record, columns, instrument)
            fits = True
        yield _read_form(record, columns, times, instrument)


def _refuse_wrong_count(record: Record, columns: ColumnMap, instrument: Instrument) -> None:
    if len(columns.responses) == 1 and not record.is_text:
        return  # a list: each row has its own length
    try:
        score(instrument, [None] * len(columns.responses))
    except ResponseError as error:
        raise InvalidError(f"--map responses does not fit: {error}.") from None


def _read_form(record: Record, columns: ColumnMap, times: TimeRule, instrument: Instrument) -> FormRow | RefusedRow:
    """Everything that is wrong with the row at once."""
    reference = _reference(record, columns.patient)
    taken_at = _taken_at(record, columns, times)
    scored = _scored(record, columns, instrument)
    if isinstance(reference, RowFault) or isinstance(taken_at, RowFault) or isinstance(scored, list):
        found = [reference, taken_at, *(scored if isinstance(scored, list) else ())]
        return RefusedRow(record.line, tuple(fault for fault in found if isinstance(fault, RowFault)))
    responses, result = scored
    warning = None if columns.total is None else _total_warning(record, columns.total, result)
    return FormRow(record.line, reference, taken_at, responses, result, () if warning is None else (warning,))


def _reference(record: Record, column: str) -> str | RowFault:
    value = record.values[column]
    if type(value) is int:
        value = str(value)
    if value is not None and not isinstance(value, str):
        return RowFault(record.line, column, "string_type", "Write a text or a whole number.")
    text = (value or "").strip()
    if not text:
        return RowFault(record.line, column, "missing_patient", "The row names no patient.")
    if len(text) > MAX_REFERENCE:
        return RowFault(record.line, column, "string_too_long", f"The text is longer than {MAX_REFERENCE} characters.")
    if CONTROL_CHARACTER.search(text):
        return RowFault(record.line, column, "unstorable_text", "The text holds a control character.")
    return text


def _taken_at(record: Record, columns: ColumnMap, times: TimeRule) -> datetime | RowFault:
    try:
        if columns.taken_at is not None:
            text = record.values[columns.taken_at]
            return times.read(text if isinstance(text, str) else "")
        if columns.week is None:
            return times.in_week(1)
        week = _number(record, columns.week)
        return times.in_week(week if type(week) is int else 0)  # there is no week 0
    except TimeError as error:
        return RowFault(record.line, columns.taken_at or columns.week, error.code, error.message)


def _scored(
    record: Record, columns: ColumnMap, instrument: Instrument
) -> tuple[tuple[int | None, ...], Score] | list[RowFault]:
    """The answers and what they say. An answer that is no whole number is handed on as it is: scoring refuses it."""
    responses = [_number(record, name) for name in columns.responses]
    if len(columns.responses) == 1:
        responses = responses[0]
        if not isinstance(responses, list):
            return [RowFault(record.line, columns.responses[0], "list_type", "Write a list of answers.")]
    try:
        return tuple(responses), score(instrument, responses)
    except ResponseError as error:
        return [
            RowFault(record.line, columns.response_column(fault.index), fault.code, fault.message)
            for fault in error.faults
        ]


def _number(record: Record, column: str) -> Any:
    """A blank cell is None, a whole number an int, anything else what it was; NDJSON has these types already."""
    value = record.values[column]
    if not record.is_text:
        return value
    text = value.strip()
    if not text:
        return None
    return int(text) if _INTEGER.fullmatch(text) else text


def _total_warning(record: Record, column: str, result: Score) -> RowFault | None:
    """The sender's total beside ours, to as many decimals as the sender wrote. Ours is the one that is kept."""
    value = record.values[column]
    text = value.strip() if isinstance(value, str) else value
    if text is None or text == "":
        return None
    is_number = bool(_DECIMAL.fullmatch(text)) if record.is_text else type(text) in (int, float)
    if not is_number:
        return RowFault(record.line, column, "total_not_a_number", "The total in the file is not a number.")
    if result.total is None:
        message = "The file has a total, but too few questions were answered for one."
        return RowFault(record.line, column, "total_of_incomplete", message)
    if _differs(Decimal(str(text)), Decimal(str(result.total))):
        message = "The total in the file is not that of its answers; the recomputed one is kept."
        return RowFault(record.line, column, "total_differs", message)
    return None


def _differs(theirs: Decimal, ours: Decimal) -> bool:
    exponent = theirs.as_tuple().exponent
    decimals = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    return abs(theirs - ours) > Decimal(5).scaleb(-decimals - 1)
