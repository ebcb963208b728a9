"""The tables of a release, made of the columns that app/privacy/columns.py allows.

What is not declared there for the tier is in no shape here, and what is declared appears without a change of this file.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from app.privacy import columns as privacy
from app.privacy.columns import Tier
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


def persons(tier: Tier, asked: Collection[str] = ()) -> TableShape:
    """One row for each person."""
    columns = _columns("patients", tier, asked)
    return TableShape("persons", columns, ("patient",), "One row for each person: bands and groups, no dates.")


def scores(tier: Tier, instruments: Sequence[str], asked: Collection[str] = ()) -> TableShape:
    """One row for each form; instruments by key, such as `phq-9@1`. A key would be a lie: two forms share a week."""
    bands = dict.fromkeys(band.code for key in instruments for band in get_instrument(key).bands)
    words = {"instrument": tuple(instruments), "severity": tuple(bands)}
    columns = _columns("assessments", tier, asked, words)
    return TableShape("scores", columns, (), "One row for each form, ordered by person.")


def sessions(tier: Tier, asked: Collection[str] = ()) -> TableShape:
    """One row for each treatment session."""
    columns = _columns("treatment_sessions", tier, asked)
    return TableShape("sessions", columns, (), "One row for each treatment session, ordered by person.")


def _columns(
    table: str, tier: Tier, asked: Collection[str], categories: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Column, ...]:
    known = {**_CATEGORIES, **(categories or {})}
    allowed = privacy.columns_of(table, tier, _asked_of(table, asked))
    return tuple(_column(each, known.get(each.name, ())) for each in allowed)


def _asked_of(table: str, asked: Collection[str]) -> list[str]:
    """A purpose names columns of several tables at once; what no table has is refused by the allow-list."""
    elsewhere = {each.name for each in privacy.COLUMNS if each.table != table}
    here = {each.name for each in privacy.COLUMNS if each.table == table}
    return [name for name in asked if name in here or name not in elsewhere]


def _column(allowed: privacy.Column, categories: tuple[str, ...]) -> Column:
    kind: Kind = "category" if categories else _KINDS[allowed.type]
    return Column(allowed.name, kind, allowed.says, _UNITS.get(allowed.name), categories, allowed.made_by)
