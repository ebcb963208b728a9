"""Patients."""

from datetime import date, datetime

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, DateOfBirth, Id, Offset, ShortText, Timestamp
from app.schemas.versions import Change


class PatientCreate(Body):
    """A new patient. All of it is optional and stored sealed; the clinic's own reference is unique in the clinic."""

    model_config = ConfigDict(json_schema_extra={"example": {"external_ref": "chart-4711"}})

    external_ref: ShortText | None = Field(default=None, description="The clinic's own number of this person.")
    name: ShortText | None = None
    contact: ShortText | None = Field(default=None, description="How the clinic reaches them; Tidemark sends nothing.")
    date_of_birth: DateOfBirth | None = None


class PatientChange(Change):
    """Who they are, of which the newest is kept alone; or where their clock stands, from some time on.

    Quiet hours and times of day follow the clock.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "time_zone": "Europe/Lisbon",
                "time_zone_from": "2026-12-18T06:00:00-07:00",
                "reason": "travels until January",
            }
        }
    )

    external_ref: ShortText | None = None
    name: ShortText | None = None
    contact: ShortText | None = None
    date_of_birth: DateOfBirth | None = None
    time_zone: ShortText | None = Field(default=None, description="IANA name")
    time_zone_from: Timestamp | None = Field(default=None, description="Default: now. At most a year ahead.")


class PatientAnswer(Answer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "external_ref": "chart-4711",
                "name": None,
                "contact": None,
                "date_of_birth": None,
                "created_at": "2026-11-20T19:30:00Z",
                "version": 1,
                "time_zone": "America/Denver",
            }
        }
    )

    id: Id
    external_ref: str | None
    name: str | None
    contact: str | None
    date_of_birth: date | None
    created_at: datetime
    version: int
    time_zone: str = Field(description="in force now: the clinic's, until the patient has one")


class PatientTimeZoneAnswer(Answer):
    """One version of where a patient's clock stands. Version 1 is the clinic's zone."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "version": 2,
                "time_zone": "Europe/Lisbon",
                "time_zone_from": "2026-12-18T13:00:00Z",
                "time_zone_from_offset": "-07:00",
                "recorded_at": "2026-11-20T19:31:00Z",
                "recorded_by": "019a9c1e-0000-7000-8000-00000000000a",
                "reason": "travels until January",
            }
        }
    )

    version: int
    time_zone: str
    time_zone_from: datetime | None = Field(validation_alias="valid_from", description="null: from the beginning")
    time_zone_from_offset: Offset = Field(validation_alias="valid_from_offset_minutes")
    recorded_at: datetime = Field(description="of version 1: when the patient was added")
    recorded_by: Id | None = Field(description="id of the token; null on version 1")
    reason: str | None = Field(description="null on version 1")
