"""Which columns a release may have: those declared here for its tier. A new column is out by default."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal


class Tier(StrEnum):
    """On what legal ground a release is made."""

    SAFE_HARBOR = "safe_harbor"  # 45 CFR 164.514(b)(2): no date but the year
    LIMITED_DATA_SET = "limited_data_set"  # 45 CFR 164.514(e): dates, under a data use agreement
    EXPERT = "expert"  # 45 CFR 164.514(b)(1): what the expert's determination allows


class Role(StrEnum):
    """What a column is to somebody who looks for a person."""

    PSEUDONYM = "pseudonym"
    QUASI_IDENTIFIER = "quasi_identifier"  # may be known from elsewhere: generalised, and counted in k
    SENSITIVE = "sensitive"  # what nobody should learn about a person: counted in l and t
    COURSE = "course"  # the series itself: its uniqueness is told in the manifest


@dataclass(frozen=True, slots=True)
class Column:
    """One column of one table of a release, as the data dictionary tells it."""

    table: Literal["persons", "scores", "sessions"]
    name: str
    type: Literal["string", "integer", "number", "date"]
    role: Role
    says: str  # what it is, with its unit
    made_by: str  # how it comes from the record
    tiers: frozenset[Tier]
    when_asked: bool = False  # in the release only when its purpose names it

    @property
    def full_name(self) -> str:
        """As a request names it: `scores.total`."""
        return f"{self.table}.{self.name}"


class NotAllowedError(ValueError):
    """Columns were asked for that the tier does not have."""

    def __init__(self, tier: Tier, names: Sequence[str]) -> None:
        super().__init__(f"{tier} has no {', '.join(names)}")
        self.names = names


_ALL: Final = frozenset(Tier)
_DATED: Final = frozenset({Tier.LIMITED_DATA_SET})
_BY_AGREEMENT: Final = frozenset({Tier.LIMITED_DATA_SET, Tier.EXPERT})

_WHO: Final = "random, new in each release"
_FROM_FIRST_DOSE: Final = "full weeks of 168 hours since the first dose began"
_IN_COURSE: Final = "counted from 1 within the course of treatment"
_BY_CODE: Final = "JSON by code, as the questionnaire declares them"

COLUMNS: Final = (
    Column("persons", "patient", "string", Role.PSEUDONYM, "one person within this release", _WHO, _ALL),
    Column(
        "persons", "age", "string", Role.QUASI_IDENTIFIER, "years at the first dose", "band; 90 and over are one", _ALL
    ),
    Column("persons", "index_year", "string", Role.QUASI_IDENTIFIER, "year of the first dose", "year or band", _ALL),
    Column("persons", "modality", "string", Role.QUASI_IDENTIFIER, "kind of treatment", "as declared, or *", _ALL),
    Column("persons", "medicine", "string", Role.QUASI_IDENTIFIER, "of the first dose", "as declared, or *", _ALL),
    Column("persons", "route", "string", Role.QUASI_IDENTIFIER, "of the first dose", "as declared, group or *", _ALL),
    Column("persons", "dose_mg", "string", Role.QUASI_IDENTIFIER, "first dose in mg", "band; 400 and over one", _ALL),
    Column("persons", "category", "string", Role.SENSITIVE, "category of change", "at the latest form", _ALL),
    Column("scores", "patient", "string", Role.PSEUDONYM, "as in persons", _WHO, _ALL),
    Column("scores", "week", "integer", Role.COURSE, "week since the first dose", _FROM_FIRST_DOSE, _ALL),
    Column("scores", "instrument", "string", Role.COURSE, "questionnaire and version", "as stored", _ALL),
    Column("scores", "total", "number", Role.COURSE, "points", "as scored; empty when there is none", _ALL),
    Column("scores", "validity", "string", Role.COURSE, "what the total is worth", "as scored", _ALL),
    Column("scores", "taken_on", "date", Role.COURSE, "day of the form", "in the patient's own zone", _DATED),
    Column("scores", "day", "integer", Role.COURSE, "day since the first dose", "24 hours each", _BY_AGREEMENT, True),
    Column("scores", "responses", "string", Role.COURSE, "answers by item", "as stored", _BY_AGREEMENT, True),
    Column("scores", "severity", "string", Role.COURSE, "band of the total", "by the questionnaire's rule", _ALL, True),
    Column("scores", "mode", "string", Role.COURSE, "who filled it: self, interview, proxy", "as stored", _ALL, True),
    Column(
        "scores",
        "dose_number",
        "integer",
        Role.COURSE,
        "of the latest dose before the form",
        _IN_COURSE,
        _ALL,
        True,
    ),
    Column("scores", "since_dose", "string", Role.COURSE, "time since that dose", "band of days", _ALL, True),
    Column("scores", "hours_since_dose", "number", Role.COURSE, "since that dose began", "exact", _BY_AGREEMENT, True),
    Column("scores", "subscales", "string", Role.COURSE, "sums of groups of items", _BY_CODE, _BY_AGREEMENT, True),
    Column("sessions", "patient", "string", Role.PSEUDONYM, "as in persons", _WHO, _ALL),
    Column("sessions", "week", "integer", Role.COURSE, "week since the first dose", _FROM_FIRST_DOSE, _ALL),
    Column("sessions", "kind", "string", Role.COURSE, "preparation, dosing, integration", "as stored", _ALL),
    Column("sessions", "started_on", "date", Role.COURSE, "day of the session", "in the clinic", _DATED),
)


def columns_of(tier: Tier, asked: Collection[str] | None = None) -> dict[str, tuple[Column, ...]]:
    """The columns of a release by table, in their declared order. The pseudonym is always one of them.

    Units and range: `asked` are full names, and nothing else comes; None: what the tier gives unasked. A table of which
        nothing but the pseudonym is left is out.
    Missing data: none.

    Raises:
        NotAllowedError: the tier does not have all that is asked for.

    Source: the tiers name theirs; which column belongs to which is judgement.

    >>> [column.name for column in columns_of(Tier.SAFE_HARBOR)["scores"]]
    ['patient', 'week', 'instrument', 'total', 'validity']
    >>> [column.full_name for column in columns_of(Tier.EXPERT, ["scores.day"])["scores"]]
    ['scores.patient', 'scores.day']
    >>> columns_of(Tier.SAFE_HARBOR, ["scores.day", "scores.total"])
    Traceback (most recent call last):
        ...
    app.privacy.columns.NotAllowedError: safe_harbor has no scores.day
    """
    allowed = {column.full_name: column for column in COLUMNS if tier in column.tiers}
    if refused := [name for name in asked or () if name not in allowed]:
        raise NotAllowedError(tier, refused)
    tables: dict[str, list[Column]] = {}
    for name, column in allowed.items():
        chosen = not column.when_asked if asked is None else name in asked
        if chosen or column.role is Role.PSEUDONYM:
            tables.setdefault(column.table, []).append(column)
    return {table: tuple(columns) for table, columns in tables.items() if len(columns) > 1}


def only_declared(row: Mapping[str, Any], columns: Collection[Column]) -> dict[str, Any]:
    """What may leave of a row: the declared columns in their order, whatever else the row holds.

    Units and range: as declared. Missing data: None stays None.

    Raises:
        KeyError: the row lacks a declared column.

    Source: allow-listing, judgement.

    >>> columns = columns_of(Tier.EXPERT)["scores"][:2]
    >>> only_declared({"week": 3, "patient": "0a", "email": "a@example.org"}, columns)
    {'patient': '0a', 'week': 3}
    """
    return {column.name: row[column.name] for column in columns}
