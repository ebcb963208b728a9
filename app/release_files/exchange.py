"""Forms in the shapes of OMOP and CDISC, from the rows of `scores` alone, so that no tier gets more this way.

Codes: LOINC as the instruments declare them; CDISC's where they were read in its controlled terminology; else our own,
and a column says which. Concept ids of OMOP are 0: they are looked up by source code in the vocabularies of the site.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from itertools import count, groupby
from typing import Final

from app.release_files.model import Column, ReleaseFileError, Row, TableShape, Value
from app.release_files.rows import as_whole
from app.release_files.shapes import TIME_COLUMNS
from app.release_files.wide import ANSWERS, answers_of, by_key, instrument_of
from app.scoring.model import Answer, Instrument, Item


@dataclass(frozen=True, slots=True)
class _Form:
    """One row of `scores`, by name."""

    patient: Value
    instrument: Instrument
    total: Value
    validity: Value
    answers: list[int | None] | None  # None: not in this release
    week: Value
    day: int | None
    taken_on: date | None


# --- OMOP -------------------------------------------------------------------------------------------------------------

_OMOP: Final = (
    Column("observation_id", "integer", "number of the row in this file"),
    Column("patient", "text", "as in persons; becomes person_id when loaded"),
    Column("observation_concept_id", "integer", "0: look it up by observation_source_value"),
    Column("observation_date", "date", "day of the form; OMOP requires it, and only a limited data set has it"),
    Column("week", "integer", "full weeks since the first dose; not of OMOP", "weeks since the first dose"),
    Column("day", "integer", "days since the first dose, 24 hours each; not of OMOP", "days since the first dose"),
    Column("observation_type_concept_id", "integer", "0: a survey filled by the patient"),
    Column("value_as_number", "number", "total, or the value of the answer"),
    Column("value_as_concept_id", "integer", "0 for an answer: look it up by value_source_value; else empty"),
    Column("qualifier_source_value", "text", "what a total is worth; empty for answers"),
    Column("observation_source_value", "text", "LOINC code, or instrument and item where there is none"),
    Column("value_source_value", "text", "LOINC answer code, or the words of the answer"),
    Column("observation_event_id", "integer", "observation_id of the total of the same form"),
    Column("source_vocabulary", "category", "whose code the source value is; not of OMOP", None, ("LOINC", "Tidemark")),
)
_TIMES: Final[Mapping[str, str]] = {"observation_date": "taken_on", "week": "week", "day": "day"}


def omop_observation(scores: TableShape) -> TableShape:
    """OBSERVATION of CDM 5.4 by source codes, as far as the tier's columns go."""
    columns = tuple(each for each in _OMOP if _TIMES.get(each.name, "patient") in scores.names)
    description = "Forms as rows of OMOP's OBSERVATION (CDM 5.4), by source code."
    return TableShape("omop_observation", columns, ("observation_id",), description + _missing(_OMOP, columns, scores))


def omop_rows(
    scores: TableShape, instruments: Sequence[Instrument], rows: Iterable[Row], numbers: Iterator[int] | None = None
) -> Iterator[Row]:
    """A row for each total, then one for each answer of the same form. `numbers` go on from batch to batch."""
    names, numbers = omop_observation(scores).names, numbers or count(1)
    answer = {
        each.key: cache(partial(_omop_answer, each)) for each in instruments
    }  # few different ones: 4 times as fast
    for form in _forms(scores, instruments, rows):
        total, told = next(numbers), answer[form.instrument.key]
        same = _omop_form(form, total)
        yield _row(names, {**same, "observation_id": total, **_omop_total(form)})
        for place, value in enumerate(form.answers or ()):
            if value is not None:
                yield _row(names, {**same, "observation_id": next(numbers), **told(place, value)})


def _omop_form(form: _Form, total: int) -> dict[str, Value]:
    return {
        "patient": form.patient,
        "observation_concept_id": 0,
        "observation_date": form.taken_on,
        "week": form.week,
        "day": form.day,
        "observation_type_concept_id": 0,
        "observation_event_id": total,
    }


def _omop_total(form: _Form) -> dict[str, Value]:
    loinc = form.instrument.loinc_total
    code = loinc or f"{form.instrument.key}/total"
    return {"value_as_number": form.total, "qualifier_source_value": form.validity, **_omop_code(loinc, code)}


def _omop_answer(instrument: Instrument, place: int, value: int) -> dict[str, Value]:
    item = instrument.items[place]
    answer = _answer(item, value)
    return {
        "value_as_number": value,
        "value_as_concept_id": 0,
        "value_source_value": answer.loinc or answer.label,
        **_omop_code(item.loinc, f"{instrument.key}/{item.number}"),
    }


def _omop_code(loinc: str | None, ours: str) -> dict[str, Value]:
    vocabulary = "LOINC" if loinc else "Tidemark"
    return {"observation_source_value": loinc or ours, "source_vocabulary": vocabulary}


# --- CDISC ------------------------------------------------------------------------------------------------------------

_QS: Final = (
    Column("STUDYID", "text", "this release"),
    Column("DOMAIN", "category", "always QS", None, ("QS",)),
    Column("USUBJID", "text", "pseudonym, as patient in persons"),
    Column("QSSEQ", "integer", "number of the row within the person"),
    Column("QSTESTCD", "text", "code of the item or total"),
    Column("QSTEST", "text", "its published name; empty where it was not read"),
    Column("QSCAT", "text", "questionnaire"),
    Column("QSORRES", "text", "words of the answer, or the total"),
    Column("QSSTRESC", "text", "the value as text"),
    Column("QSSTRESN", "number", "the value as number"),
    Column("QSSTAT", "category", "of what has no value", None, ("NOT DONE",)),
    Column("QSDRVFL", "category", "of totals: they are computed", None, ("Y",)),
    Column("QSEVLINT", "text", "the time that the questions ask about, ISO 8601"),
    Column("VISITNUM", "integer", "full weeks since the first dose", "weeks since the first dose"),
    Column("QSDTC", "date", "day of the form"),
    Column("QSDY", "integer", "day since the first dose, 24 hours each, without a day 0", "days"),
    Column("TMVALID", "text", "ours: what a total is worth"),
    Column("TMCODES", "category", "ours: whose code QSTESTCD is", None, ("CDISC", "sponsor")),
)
_QS_TIMES: Final[Mapping[str, str]] = {"VISITNUM": "week", "QSDTC": "taken_on", "QSDY": "day"}

PUBLISHED_STEMS: Final[Mapping[str, str]] = {"phq-9": "PHQ01"}  # codelist PHQ01TC (C103481), supplement of 2023-05-29
PUBLISHED_NAMES: Final[Mapping[str, str]] = {  # those of the codelist that were read; QSTESTCD finds the others there
    "PHQ0101": "PHQ01-Little Interest",
    "PHQ0102": "PHQ01-Feeling Down",
    "PHQ0103": "PHQ01-Trouble Sleeping",
    "PHQ0110": "PHQ01-Difficult to Work",
    "PHQ0111": "PHQ01-Total Score",
}
# CDISC's terminology, as far as it was read, has no PCL-5. Month and week share codes; QSCAT tells them apart.
_SPONSOR_STEMS: Final[Mapping[str, str]] = {"pcl-5-month": "PCL5", "pcl-5-week": "PCL5"}


def cdisc_qs(scores: TableShape) -> TableShape:
    """The QS domain under SDTM's names, as far as the tier's columns go."""
    columns = tuple(each for each in _QS if _QS_TIMES.get(each.name, "patient") in scores.names)
    description = "Forms under the names of SDTM's QS domain." + _missing(_QS, columns, scores)
    return TableShape("cdisc_qs", columns, ("USUBJID", "QSSEQ"), description, person="USUBJID")


def cdisc_rows(scores: TableShape, instruments: Sequence[Instrument], rows: Iterable[Row], study: str) -> Iterator[Row]:
    """Of each form its answers, what was left out included, then its total. Numbered by person: give whole courses."""
    names = cdisc_qs(scores).names
    answer = {each.key: cache(partial(_qs_answer, each)) for each in instruments}
    for _, course in groupby(_forms(scores, instruments, rows), key=lambda form: form.patient):
        numbers = count(1)
        for form in course:
            same, told = {"STUDYID": study, **_qs_form(form)}, answer[form.instrument.key]
            findings = (told(place, value) for place, value in enumerate(form.answers or ()))
            for finding in (*findings, _qs_total(form)):
                yield _row(names, {**same, "QSSEQ": next(numbers), **finding})


def qs_test_code(instrument: Instrument, number: int) -> str:
    """QSTESTCD of an item; the total has the number after the last. At most eight characters, a letter first."""
    known = {**PUBLISHED_STEMS, **_SPONSOR_STEMS}
    stem = known.get(instrument.id) or re.sub(r"[^A-Z0-9]", "", instrument.id.upper())[:6]
    return f"{stem}{number:02}"


def _qs_answer(instrument: Instrument, place: int, value: int | None) -> dict[str, Value]:
    item = instrument.items[place]
    return _finding(instrument, item.number, value, None if value is None else _answer(item, value).label)


def _qs_total(form: _Form) -> dict[str, Value]:
    last = len(form.instrument.items) + 1
    total = None if form.total is None else str(form.total)
    return {**_finding(form.instrument, last, form.total, total), "QSDRVFL": "Y", "TMVALID": form.validity}


def _finding(instrument: Instrument, number: int, value: Value, words: str | None) -> dict[str, Value]:
    code = qs_test_code(instrument, number)
    return {
        "QSTESTCD": code,
        "QSTEST": PUBLISHED_NAMES.get(code),
        "QSORRES": words,
        "QSSTRESC": None if value is None else str(value),
        "QSSTRESN": value,
        "QSSTAT": "NOT DONE" if value is None else None,
        "TMCODES": "CDISC" if instrument.id in PUBLISHED_STEMS else "sponsor",
    }


def _qs_form(form: _Form) -> dict[str, Value]:
    return {
        "DOMAIN": "QS",
        "USUBJID": form.patient,
        "QSCAT": form.instrument.id.upper(),
        "QSEVLINT": _window(form.instrument),
        "VISITNUM": form.week,
        "QSDTC": form.taken_on,
        "QSDY": None if form.day is None else form.day + (form.day >= 0),  # SDTM goes from day -1 to day 1
    }


def _window(instrument: Instrument) -> str:
    if "month" in instrument.recall_label:
        return "-P1M"
    weeks, rest = divmod(instrument.recall_days, 7)
    return f"-P{instrument.recall_days}D" if rest else f"-P{weeks}W"


# --- Both -------------------------------------------------------------------------------------------------------------


_USED: Final = {"patient", "instrument", "total", "validity", ANSWERS, *TIME_COLUMNS}  # what has a place in both


def _missing(whole: Sequence[Column], told: Sequence[Column], scores: TableShape) -> str:
    """What the standard has and this release has not, and what this release has and the standard has no place for."""
    absent = [column.name for column in whole if column not in told]
    absent += [] if ANSWERS in scores.names else ["answers to single items"]
    homeless = [name for name in scores.names if name not in _USED]
    return (f" Not in this release: {', '.join(absent)}." if absent else "") + (
        f" In `scores` and `scores_wide` alone: {', '.join(homeless)}." if homeless else ""
    )


def _forms(scores: TableShape, instruments: Sequence[Instrument], rows: Iterable[Row]) -> Iterator[_Form]:
    known = by_key(instruments)
    for row in rows:
        cells = dict(zip(scores.names, row, strict=True))
        yield _form(cells, instrument_of(known, cells["instrument"]))


def _form(cells: Mapping[str, Value], instrument: Instrument) -> _Form:
    day, taken_on = cells.get("day"), cells.get("taken_on")
    return _Form(
        patient=cells["patient"],
        instrument=instrument,
        total=as_whole(cells.get("total")),
        validity=cells.get("validity"),
        answers=answers_of(instrument, cells[ANSWERS]) if ANSWERS in cells else None,
        week=cells.get("week"),
        day=day if isinstance(day, int) else None,
        taken_on=taken_on if isinstance(taken_on, date) else None,
    )


def _answer(item: Item, value: int) -> Answer:
    for answer in item.answers:
        if answer.value == value:
            return answer
    raise ReleaseFileError(f"item {item.number} has no answer of that value")


def _row(names: Sequence[str], cells: Mapping[str, Value]) -> Row:
    return tuple(map(cells.get, names))
