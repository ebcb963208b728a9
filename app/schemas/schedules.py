"""What an episode's patient is asked and when."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import time
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.schemas.faults import FieldError
from app.schemas.fields import Answer, Body, Id, InstrumentId, ShortText
from app.schemas.versions import VERSION_EXAMPLE, VersionAnswer
from app.scoring.protocols import Protocol, get_protocol
from app.scoring.schedule import After, Anchor, PlanEntry, QuietHours, Repeat, Window
from app.scoring.schedule_checks import MAXIMUM_CHECK_INS, MAXIMUM_DISTANCE_DAYS, plan_warnings

MAX_ENTRIES: Final = 50  # a plan that asks for more kinds of form is a slip
_DAYS: Final = MAXIMUM_DISTANCE_DAYS
_MONTHS: Final = _DAYS // 30

EntryCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
ProtocolReference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}(@[1-9][0-9]{0,3})?$")]
ClockTime = Annotated[
    str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["21:00"])
]  # of the patient's clock
Hours = Annotated[float, Field(ge=-24 * _DAYS, le=24 * _DAYS)]
Days = Annotated[int, Field(ge=-_DAYS, le=_DAYS)]
Months = Annotated[int, Field(ge=-_MONTHS, le=_MONTHS)]
AnchorName = Literal["episode", "first_dose", "each_dose", "last_dose"]


class ScheduleAfter(Body):
    """How long after the anchor. One of the three; negative is before."""

    hours: Hours | None = Field(default=None, description="Elapsed time.")
    days: Days | None = Field(default=None, description="Days of the patient's calendar.")
    months: Months | None = Field(default=None, description="Months of the patient's calendar.")

    @model_validator(mode="after")
    def _one_is_set(self) -> "ScheduleAfter":
        if sum(value is not None for value in (self.hours, self.days, self.months)) != 1:
            raise FieldError("exactly_one", "Send one of `hours`, `days` and `months`.")
        return self


class ScheduleWindow(Body):
    """From when until when a form counts, in hours of elapsed time around the target."""

    opens_hours: Hours = Field(description="Negative: before the target.")
    overdue_hours: Hours = Field(description="A form from then on is late.")
    closes_hours: Hours = Field(description="A form from then on does not count.")


class ScheduleRepeat(Body):
    """Asked again at an even pace; the first of `times` is the one `after` names."""

    every_days: int | None = Field(default=None, ge=1, le=_DAYS)
    every_months: int | None = Field(default=None, ge=1, le=_MONTHS)
    times: int = Field(ge=1, le=MAXIMUM_CHECK_INS)

    @model_validator(mode="after")
    def _one_pace(self) -> "ScheduleRepeat":
        if (self.every_days is None) == (self.every_months is None):
            raise FieldError("exactly_one", "Send one of `every_days` and `every_months`.")
        return self


class ScheduleEntry(Body):
    """One form that is wanted, once or again and again."""

    code: EntryCode = Field(description="Its name in this schedule.")
    instrument: InstrumentId = Field(description="id without version")
    anchor: AnchorName = Field(description="What is counted from: the opening of the episode, or its doses.")
    after: ScheduleAfter
    window: ScheduleWindow
    repeat: ScheduleRepeat | None = None
    at: ClockTime | None = Field(
        default=None, description="Time of the patient's clock, for days and months; null: that of the anchor."
    )


class QuietHoursOfDay(Body):
    """When nobody is reminded, by the patient's clock; may span midnight; both the same: never quiet."""

    begins: ClockTime = Field(alias="from")
    ends: ClockTime = Field(alias="until")


class WarningAnswer(Answer):
    """Something odd in a schedule that is stored all the same."""

    entry: int = Field(description="its place in `entries`, from 0")
    code: str
    message: str
    offer: str | None = Field(description="id of an instrument that fits better")


def plan_entry(entry: ScheduleEntry) -> PlanEntry:
    """As the pure core takes it."""
    window, repeat = entry.window, entry.repeat
    return PlanEntry(
        code=entry.code,
        instrument=entry.instrument,
        anchor=Anchor(entry.anchor),
        after=After(**dict(entry.after)),
        window=Window(window.opens_hours, window.overdue_hours, window.closes_hours),
        repeat=None if repeat is None else Repeat(**dict(repeat)),
        at=None if entry.at is None else time.fromisoformat(entry.at),
    )


def schedule_entry(entry: PlanEntry) -> ScheduleEntry:
    """As a client sends and gets it."""
    repeat = entry.repeat
    return ScheduleEntry(
        code=entry.code,
        instrument=entry.instrument,
        anchor=entry.anchor.value,
        after=ScheduleAfter(**asdict(entry.after)),
        window=ScheduleWindow(**asdict(entry.window)),
        repeat=None if repeat is None else ScheduleRepeat(**asdict(repeat)),
        at=None if entry.at is None else entry.at.isoformat("minutes"),
    )


def quiet_hours(begins: str, ends: str) -> QuietHours:
    return QuietHours(time.fromisoformat(begins), time.fromisoformat(ends))


def warnings_of(entries: Sequence[PlanEntry]) -> list[WarningAnswer]:
    found = plan_warnings(entries)
    return [WarningAnswer(entry=one.index, code=one.code, message=one.message, offer=one.offer) for one in found]


_WEEKLY: Final[dict[str, Any]] = {
    "code": "phq-9-weekly",
    "instrument": "phq-9",
    "anchor": "first_dose",
    "after": {"days": 7},
    "window": {"opens_hours": -24, "overdue_hours": 24, "closes_hours": 72},
    "repeat": {"every_days": 7, "times": 8},
    "at": "09:00",
}
_QUIET: Final = {"from": "21:00", "until": "08:00"}
_PUT: Final[dict[str, Any]] = {"entries": [_WEEKLY], "quiet_hours": _QUIET}


def _examples(entries: Sequence[PlanEntry]) -> dict[str, Any]:
    """As they are answered, with what is really said of them."""
    return {
        "entries": [schedule_entry(entry).model_dump(mode="json") for entry in entries],
        "warnings": [warning.model_dump(mode="json") for warning in warnings_of(entries)],
    }


class SchedulePut(Body):
    """The whole schedule: a ready-made protocol or entries of your own. No entries: nothing is asked any more."""

    model_config = ConfigDict(json_schema_extra={"example": _PUT})

    protocol: ProtocolReference | None = Field(default=None, description="code of a protocol, `kap-standard`")
    entries: Annotated[list[ScheduleEntry], Field(max_length=MAX_ENTRIES)] | None = None
    quiet_hours: QuietHoursOfDay | None = Field(default=None, description="null: those of the clinic")
    reason: ShortText | None = Field(
        default=None, description="Why; required when there is a schedule already. The first one keeps none."
    )

    @model_validator(mode="after")
    def _protocol_or_entries(self) -> "SchedulePut":
        if (self.protocol is None) == (self.entries is None):
            raise FieldError("exactly_one", "Send either `protocol` or `entries`.")
        return self


class ScheduleAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | {
                "episode_id": VERSION_EXAMPLE["id"],
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "protocol": None,
                "quiet_hours": _QUIET,
            }
            | _examples([plan_entry(ScheduleEntry.model_validate(_WEEKLY))])
        }
    )

    id: Id = Field(description="that of the episode")
    episode_id: Id
    patient_id: Id
    protocol: str | None = Field(description="code and version of the protocol the entries were taken from")
    entries: list[ScheduleEntry]
    quiet_hours: QuietHoursOfDay | None = Field(description="null: those of the clinic")
    warnings: list[WarningAnswer]


_LIGHT: Final = get_protocol("kap-light")
_PROTOCOL: Final[dict[str, Any]] = {
    "code": _LIGHT.code,
    "version": _LIGHT.version,
    "title": _LIGHT.title,
    "description": _LIGHT.description,
    "source": _LIGHT.source,
} | _examples(_LIGHT.entries)


class ProtocolAnswer(Answer):
    """A ready-made schedule. A suggestion to start from, not advice how to treat."""

    model_config = ConfigDict(json_schema_extra={"example": _PROTOCOL})

    code: str
    version: int
    title: str
    description: str
    source: str
    entries: list[ScheduleEntry]
    warnings: list[WarningAnswer]


def protocol_answer(protocol: Protocol) -> ProtocolAnswer:
    return ProtocolAnswer(
        code=protocol.code,
        version=protocol.version,
        title=protocol.title,
        description=protocol.description,
        source=protocol.source,
        entries=[schedule_entry(entry) for entry in protocol.entries],
        warnings=warnings_of(protocol.entries),
    )


def schedule_answer(row: Any) -> ScheduleAnswer:
    """From a row of the table, whatever made it."""
    entries = [ScheduleEntry.model_validate(entry) for entry in row.entries]
    quiet = None if row.quiet_from is None else {"from": row.quiet_from, "until": row.quiet_until}
    return ScheduleAnswer(
        **row.model_dump(include={"id", "version", "recorded_at", "recorded_by", "reason", "patient_id", "protocol"}),
        episode_id=row.id,
        entries=entries,
        quiet_hours=None if quiet is None else QuietHoursOfDay.model_validate(quiet),
        warnings=warnings_of([plan_entry(entry) for entry in entries]),
    )
