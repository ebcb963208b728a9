"""The tables of a release, made of columns that app/privacy/columns.py declares.

What is not declared there is in no shape here, and what is declared appears without a change of this file.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from app.privacy import columns as privacy
from app.privacy.dates import SINCE_DOSE_BANDS
from app.release_files.model import Column, Kind, TableShape
from app.scoring.change import ChangeCategory
from app.scoring.model import Validity
from app.scoring.registry import get_instrument

_KINDS: Final[Mapping[str, Kind]] = {"string": "text", "integer": "integer", "number": "number", "date": "date"}
_UNITS: Final[Mapping[str, str]] = {
    "week": "weeks since the first dose",
    "day": "days since the first dose",
    "total": "points",
    "age": "years",
    "dose_mg": "mg",
    "hours_since_dose": "hours",
}
_CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "validity": tuple(each.value for each in Validity),
    "kind": ("preparation", "dosing", "integration"),
    "category": tuple(each.value for each in ChangeCategory),
    "mode": ("self", "interview", "proxy"),
    "since_dose": SINCE_DOSE_BANDS,
}
TIME_COLUMNS: Final = ("week", "day", "taken_on")  # when a form was filled, as far as the tier tells it


def persons(columns: Sequence[privacy.Column]) -> TableShape:
    """One row for each person."""
    return TableShape("persons", _told(columns), ("patient",), "One row for each person: bands and groups, no dates.")


def scores(columns: Sequence[privacy.Column], instruments: Sequence[str]) -> TableShape:
    """One row for each form; instruments by key, such as `phq-9@1`. A key would be a lie: two forms share a week."""
    bands = dict.fromkeys(band.code for key in instruments for band in get_instrument(key).bands)
    words = {"instrument": tuple(instruments), "severity": tuple(bands)}
    return TableShape("scores", _told(columns, words), (), "One row for each form, ordered by person.")


def sessions(columns: Sequence[privacy.Column]) -> TableShape:
    """One row for each treatment session."""
    return TableShape("sessions", _told(columns), (), "One row for each treatment session, ordered by person.")


def _told(columns: Sequence[privacy.Column], more: Mapping[str, tuple[str, ...]] | None = None) -> tuple[Column, ...]:
    known = {**_CATEGORIES, **(more or {})}
    return tuple(_column(each, known.get(each.name, ())) for each in columns)


def _column(allowed: privacy.Column, categories: tuple[str, ...]) -> Column:
    kind: Kind = "category" if categories else _KINDS[allowed.type]
    return Column(allowed.name, kind, allowed.says, _UNITS.get(allowed.name), categories, allowed.made_by)
