"""The kinds of value a body is made of. Strict: a number is no string, a time has an offset, a text can be stored."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints

from app.schemas.faults import FieldError

EARLIEST_BIRTH: Final = date(1900, 1, 1)
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)  # before any of the instruments
RESET_CLOCK: Final = datetime(1970, 1, 1, tzinfo=UTC)  # what a device reads that has lost its time
LATEST_CLOCK: Final = datetime(2100, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Body(BaseModel):
    """What a client sends: unknown fields are refused, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(BaseModel):
    """What a client gets: every field is always there, so that generated clients see it as required."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


def _parse_time(value: Any) -> datetime:
    time = _parse_any_time(value)
    if time < EARLIEST:
        raise FieldError("too_long_ago", "The time lies before 1990; is the clock of the device right?")
    return time


def _parse_device_time(value: Any) -> datetime:
    """As a device shows it, right or wrong: what it means is decided when its clock is known."""
    time = _parse_any_time(value)
    if time < RESET_CLOCK:
        raise FieldError("too_long_ago", "The time lies before 1970, which no device's clock shows.")
    return time


def _parse_any_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise FieldError("not_a_time", "Write a time as RFC 3339 with its offset, 2026-01-31T08:00:00+01:00.")
    try:
        time = datetime.fromisoformat(value.upper())
        time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldError("not_a_time", "There is no such time.") from None
    return time


def _parse_birth(value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise FieldError("not_a_date", "Write a date as 1985-01-31.")
    try:
        birth = date.fromisoformat(value)
    except ValueError:
        raise FieldError("not_a_date", "There is no such date.") from None
    if not EARLIEST_BIRTH <= birth <= datetime.now(UTC).date():
        raise FieldError("not_a_birth", "Write a date between 1900 and today.")
    return birth


def parse_id(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise FieldError("not_a_uuid", "Write an id as a UUID, 01991a2b-....")
    return UUID(value)


def _show_offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


Timestamp = Annotated[
    datetime, BeforeValidator(_parse_time), Field(strict=False, examples=["2026-11-20T19:30:00-07:00"])
]
DeviceTimestamp = Annotated[
    datetime, BeforeValidator(_parse_device_time), Field(strict=False, examples=["2026-11-20T19:30:00-07:00"])
]
DateOfBirth = Annotated[date, BeforeValidator(_parse_birth), Field(strict=False, examples=["1985-01-31"])]
Id = Annotated[UUID, BeforeValidator(parse_id), Field(strict=False)]
Offset = Annotated[int, PlainSerializer(_show_offset, return_type=str), Field(examples=["-07:00"])]
Total = int | float
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", max_length=35)]
InstrumentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
InstrumentReference = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9-]{1,40}(@[1-9][0-9]{0,3})?$"),
    Field(description="`phq-9` for the current version, `phq-9@1` for a certain one."),
]


T = TypeVar("T")


class Page(Answer, Generic[T]):
    """One page of a list; `next_cursor` is null on the last."""

    data: list[T]
    next_cursor: str | None


def offset_minutes(time: datetime) -> int:
    """The sender's offset from UTC, to be kept beside the UTC time."""
    return int((time.utcoffset() or timedelta()).total_seconds() // 60)
