"""Which column of a file holds what, and when its forms were filled in. Pure: words in, rules out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from app.errors import InvalidError

FIELDS: Final = ("patient", "responses", "taken_at", "week", "total")
MOST_RESPONSES: Final = 100  # columns; as many as one submitted form may have
MOST_WEEKS: Final = 5_200  # weeks; a hundred years, beyond any course of treatment

_RANGE: Final = re.compile(r"(?P<stem>.*?)(?P<first>[0-9]{1,4})\.\.(?P=stem)(?P<last>[0-9]{1,4})")
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """The columns of a file that are read; all others are ignored."""

    patient: str  # the clinic's own reference of the person
    responses: tuple[str, ...]  # one per item in item order; in NDJSON a single name is a list
    taken_at: str | None = None
    week: str | None = None  # counted from 1
    total: str | None = None  # the sender's total, only ever compared

    @property
    def names(self) -> tuple[str, ...]:
        optional = (self.taken_at, self.week, self.total)
        return (self.patient, *self.responses, *(name for name in optional if name is not None))

    def response_column(self, index: int | None) -> str | None:
        """Where the answer at this place of the responses stood; None for the responses as a whole in many columns."""
        if len(self.responses) == 1:
            return self.responses[0]
        return None if index is None else self.responses[index]

    def column_of(self, pointer: str) -> str | None:
        """The column behind a JSON pointer into a submitted form."""
        return {"/taken_at": self.taken_at or self.week, "/patient_id": self.patient}.get(pointer)


def parse_map(entries: Iterable[str]) -> ColumnMap:
    """`patient=respondent`, `responses=phq1..phq9,difficulty` and so on. Raises InvalidError."""
    given: dict[str, str] = {}
    for entry in entries:
        field, equals, value = entry.partition("=")
        field, value = field.strip(), value.strip()
        if not equals or not value:
            raise InvalidError(f"Write --map FIELD=COLUMN, not --map {entry}.")
        if field not in FIELDS:
            raise InvalidError(f"--map knows no field {field}; it knows {', '.join(FIELDS)}.")
        if field in given:
            raise InvalidError(f"--map {field} is given twice.")
        given[field] = value
    for field in ("patient", "responses"):
        if field not in given:
            raise InvalidError(f"Say which column holds the {field}: --map {field}=COLUMN.")
    columns = ColumnMap(
        patient=given["patient"],
        responses=expand(given["responses"]),
        taken_at=given.get("taken_at"),
        week=given.get("week"),
        total=given.get("total"),
    )
    _refuse_repeats(columns.names)
    return columns


def expand(text: str) -> tuple[str, ...]:
    """`phq1..phq3,difficulty` is phq1, phq2, phq3, difficulty. Raises InvalidError."""
    names = tuple(name for part in text.split(",") for name in _expand_part(part.strip()))
    if len(names) > MOST_RESPONSES:
        raise InvalidError(f"--map responses names {len(names)} columns; no form has more than {MOST_RESPONSES}.")
    return names


def _expand_part(part: str) -> Iterator[str]:
    if not part:
        raise InvalidError("--map responses has an empty column name.")
    if ".." not in part:
        yield part
        return
    match = _RANGE.fullmatch(part)
    if match is None or int(match["first"]) > int(match["last"]):
        raise InvalidError(f"{part} is no range of columns: write item1..item9, the same name with a rising number.")
    width = len(match["first"]) if match["first"].startswith("0") else 0  # q01..q20
    for number in range(int(match["first"]), int(match["last"]) + 1):
        yield f"{match['stem']}{number:0{width}d}"


def _refuse_repeats(names: tuple[str, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidError(f"The column {name} is mapped twice.")


class TimeError(ValueError):
    """A text that names no one moment. The message never repeats it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message


@dataclass(frozen=True, slots=True)
class TimeRule:
    """When a form was filled in: read from a column, or a fixed start, or weeks counted from it."""

    start: datetime | None  # the time of week 1; None when a column says it. Without offset only where there is a zone.
    zone: ZoneInfo | None  # gives times without an offset a meaning

    def read(self, text: str) -> datetime:
        """The moment a cell names. Raises TimeError."""
        return self._anchored(_parse(text))

    def in_week(self, week: int) -> datetime:
        """The start moved by weeks: of the wall clock when it has no offset, else of 168 hours. Raises TimeError."""
        if self.start is None:
            raise TimeError("not_a_time", "There is no time to count weeks from.")
        if not 1 <= week <= MOST_WEEKS:
            raise TimeError("not_a_week", f"Write a week from 1 to {MOST_WEEKS}.")
        try:
            return self._anchored(self.start + timedelta(weeks=week - 1))
        except OverflowError:
            raise TimeError("not_a_week", "The week lies beyond the calendar.") from None

    def _anchored(self, time: datetime) -> datetime:
        """Spring's skipped hour is refused; of autumn's repeated hour the first pass is taken, as the docs say."""
        if time.tzinfo is not None:
            return time
        if self.zone is None:
            raise TimeError("no_offset", "The time has no offset from UTC; write one, or give --timezone.")
        local = time.replace(tzinfo=self.zone, fold=0)
        try:
            real = local.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) == time
        except OverflowError:
            raise TimeError("not_a_time", "There is no such time.") from None
        if not real:
            raise TimeError("nonexistent_time", "The clocks of this time zone skipped this time.")
        return local


def time_rule(columns: ColumnMap, taken_at: str | None, time_zone: str | None) -> TimeRule:
    """The rule that the options of an import make together. Raises InvalidError."""
    if time_zone is not None and time_zone not in available_timezones():
        raise InvalidError("There is no such time zone: write an IANA name, Europe/Berlin.")
    if (columns.taken_at is None) == (taken_at is None):
        raise InvalidError("Say when the forms were filled in: either --map taken_at=COLUMN or --taken-at TIME.")
    if columns.taken_at is not None and columns.week is not None:
        raise InvalidError("Weeks are counted from --taken-at; --map taken_at=COLUMN leaves nothing to count.")
    zone = None if time_zone is None else ZoneInfo(time_zone)
    try:
        rule = TimeRule(None if taken_at is None else _parse(taken_at), zone)
        if rule.start is not None:
            rule.in_week(1)
    except TimeError as error:
        raise InvalidError(f"--taken-at: {error.message}") from None
    return rule


def _parse(text: str) -> datetime:
    """A time with an offset, or without one. A date alone is refused: we would have to invent the hour."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise TimeError("not_a_time", "Write a time as 2026-11-20T19:30:00-07:00.")
    try:
        return datetime.fromisoformat(text.strip().upper())
    except ValueError:
        raise TimeError("not_a_time", "There is no such time.") from None
