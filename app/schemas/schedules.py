"""What an episode's patient is asked and when."""

from collections.abc import Sequence
from datetime import time
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from app.schemas.faults import FieldError
from app.schemas.fields import Answer, Body, Id, ShortText
from app.schemas.versions import VERSION_EXAMPLE, VersionAnswer
from app.scoring.protocols import Protocol
from app.scoring.schedule import After, Anchor, PlanEntry, QuietHours, Repeat, Window
from app.scoring.schedule_checks import plan_warnings

MAX_ENTRIES: Final = 50  # a plan that asks for more kinds of form is a slip
_YEAR_HOURS: Final = 366 * 24
_WINDOW: Final = {"ge": -_YEAR_HOURS, "le": _YEAR_HOURS}

EntryCode = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
InstrumentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
ProtocolReference = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}(@[1-9][0-9]{0,3})?$")]
ClockTime = Annotated[
    str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["21:00"])
]  # of the patient's clock
AnchorName = Literal["episode", "first_dose", "each_dose", "last_dose"]


class ScheduleAfter(Body):
    """How long after the anchor. One of the three; negative is before."""

    hours: float | None = Field(default=None, ge=-2 * _YEAR_HOURS, le=2 * _YEAR_HOURS, description="Elapsed time.")
    days: int | None = Field(default=None, ge=-1830, le=1830, description="Days of the patient's calendar.")
    months: int | None = Field(default=None, ge=-60, le=60, description="Months of the patient's calendar.")

    @model_validator(mode="after")
    def _one_is_set(self) -> "ScheduleAfter":
        if sum(value is not None for value in (self.hours, self.days, self.months)) != 1:
            raise FieldError("exactly_one", "Send one of `hours`, `days` and `months`.")
        return self


class ScheduleWindow(Body):
    """From when until when a form counts, in hours of elapsed time around the target."""

    opens_hours: float = Field(description="Negative: before the target.", **_WINDOW)
    overdue_hours: float = Field(description="A form from then on is late.", **_WINDOW)
    closes_hours: float = Field(description="A form from then on does not count.", **_WINDOW)


class ScheduleRepeat(Body):
    """Asked again at an even pace; the first of `times` is the one `after` names."""

    every_days: int | None = Field(default=None, ge=1, le=366)
    every_months: int | None = Field(default=None, ge=1, le=24)
    times: int = Field(ge=1, le=200)

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


_WEEKLY: Final[dict[str, Any]] = {
    "code": "phq-9-weekly",
    "instrument": "phq-9",
    "anchor": "first_dose",
    "after": {"days": 7},
    "window": {"opens_hours": -24, "overdue_hours": 24, "closes_hours": 72},
    "repeat": {"every_days": 7, "times": 8},
    "at": "09:00",
}
_WEEKLY_ANSWER: Final[dict[str, Any]] = _WEEKLY | {
    "after": {"hours": None, "days": 7, "months": None},
    "window": {"opens_hours": -24.0, "overdue_hours": 24.0, "closes_hours": 72.0},
    "repeat": {"every_days": 7, "every_months": None, "times": 8},
}
_QUIET: Final = {"from": "21:00", "until": "08:00"}
_WARNING: Final = {
    "entry": 0,
    "code": "asked_within_recall",
    "message": "Asked every 7 days, but its questions look back 14 days.",
    "offer": None,
}


class SchedulePut(Body):
    """The whole schedule: a ready-made protocol or entries of your own. No entries: nothing is asked any more."""

    model_config = ConfigDict(json_schema_extra={"example": {"entries": [_WEEKLY], "quiet_hours": _QUIET}})

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


class WarningAnswer(Answer):
    """Something odd in a schedule that is stored all the same."""

    entry: int = Field(description="its place in `entries`, from 0")
    code: str
    message: str
    offer: str | None = Field(description="id of an instrument that fits better")


class ScheduleAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | {
                "episode_id": VERSION_EXAMPLE["id"],
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "protocol": None,
                "entries": [_WEEKLY_ANSWER],
                "quiet_hours": _QUIET,
                "warnings": [_WARNING],
            }
        }
    )

    id: Id = Field(description="that of the episode")
    episode_id: Id
    patient_id: Id
    protocol: str | None = Field(description="code and version of the protocol the entries were taken from")
    entries: list[ScheduleEntry]
    quiet_hours: QuietHoursOfDay | None = Field(description="null: those of the clinic")
    warnings: list[WarningAnswer]


class ProtocolAnswer(Answer):
    """A ready-made schedule. A suggestion to start from, not advice how to treat."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "code": "kap-standard",
                "version": 1,
                "title": "Ketamine-assisted psychotherapy",
                "description": "A form before the first dose and weekly for eight weeks.",
                "source": "judgement",
                "entries": [_WEEKLY_ANSWER],
                "warnings": [_WARNING],
            }
        }
    )

    code: str
    version: int
    title: str
    description: str
    source: str
    entries: list[ScheduleEntry]
    warnings: list[WarningAnswer]


def plan_entry(entry: ScheduleEntry) -> PlanEntry:
    """As the pure core takes it."""
    after, window, repeat = entry.after, entry.window, entry.repeat
    return PlanEntry(
        code=entry.code,
        instrument=entry.instrument,
        anchor=Anchor(entry.anchor),
        after=After(hours=after.hours, days=after.days, months=after.months),
        window=Window(window.opens_hours, window.overdue_hours, window.closes_hours),
        repeat=repeat and Repeat(every_days=repeat.every_days, every_months=repeat.every_months, times=repeat.times),
        at=None if entry.at is None else time.fromisoformat(entry.at),
    )


def schedule_entry(entry: PlanEntry) -> ScheduleEntry:
    """As a client sends and gets it."""
    after, window, repeat = entry.after, entry.window, entry.repeat
    return ScheduleEntry(
        code=entry.code,
        instrument=entry.instrument,
        anchor=entry.anchor.value,
        after=ScheduleAfter(hours=after.hours, days=after.days, months=after.months),
        window=ScheduleWindow(
            opens_hours=window.opens_hours, overdue_hours=window.overdue_hours, closes_hours=window.closes_hours
        ),
        repeat=repeat
        and ScheduleRepeat(every_days=repeat.every_days, every_months=repeat.every_months, times=repeat.times),
        at=None if entry.at is None else entry.at.isoformat("minutes"),
    )


def quiet_hours(begins: str, ends: str) -> QuietHours:
    return QuietHours(time.fromisoformat(begins), time.fromisoformat(ends))


def warnings_of(entries: Sequence[PlanEntry]) -> list[WarningAnswer]:
    found = plan_warnings(entries)
    return [WarningAnswer(entry=one.index, code=one.code, message=one.message, offer=one.offer) for one in found]


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
