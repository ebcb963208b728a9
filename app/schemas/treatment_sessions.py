"""Treatment sessions: preparation, dosing, integration."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from app.schemas.faults import FieldError
from app.schemas.fields import Answer, Body, Id, Offset, Timestamp
from app.schemas.limits import LIMITS
from app.schemas.versions import ENTERED_IN_ERROR, VERSION_EXAMPLE, Change, VersionAnswer, offset_of

Kind = Literal["preparation", "dosing", "integration"]
Status = Literal["planned", "done", "cancelled"]
Setting = Literal["clinic", "home", "other"]
Medicine = Literal["ketamine_racemic", "esketamine", "other"]
Route = Literal["intravenous", "intramuscular", "subcutaneous", "intranasal", "sublingual", "oral"]
Concomitant = Literal["benzodiazepine", "naltrexone", "lamotrigine", "other"]


def _once_each(values: list[Concomitant]) -> list[Concomitant]:
    if len(set(values)) != len(values):
        raise FieldError("repeated", "Name each medicine once.")
    return values


TherapistHours = Annotated[float, Field(ge=LIMITS["therapist_hours"].minimum, le=LIMITS["therapist_hours"].maximum)]
DoseMg = Annotated[float, Field(ge=LIMITS["dose_mg"].minimum, le=LIMITS["dose_mg"].maximum)]
WeightKg = Annotated[float, Field(ge=LIMITS["weight_kg"].minimum, le=LIMITS["weight_kg"].maximum)]
Concomitants = Annotated[list[Concomitant], Field(max_length=10), AfterValidator(_once_each)]

_EXAMPLE: dict[str, Any] = {
    "kind": "dosing",
    "status": "done",
    "scheduled_at": "2026-11-20T10:00:00-07:00",
    "started_at": "2026-11-20T10:12:00-07:00",
    "ended_at": "2026-11-20T12:40:00-07:00",
    "setting": "clinic",
    "group": False,
    "therapist_hours": 3.0,
    "medicine": "ketamine_racemic",
    "route": "intravenous",
    "dose_mg": 35.0,
    "weight_kg": 70.0,
    "concomitant_medicines": ["lamotrigine"],
}


class TreatmentSessionCreate(Body):
    """A session, planned or held. What was given is said of dosing sessions alone, and of each that was held."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    kind: Kind
    status: Status | None = Field(default=None, description="Default: `done` with a `started_at`, else `planned`.")
    scheduled_at: Timestamp | None = Field(default=None, description="Default: `started_at`. May lie in the future.")
    started_at: Timestamp | None = Field(default=None, description="Required when done, refused otherwise.")
    ended_at: Timestamp | None = Field(default=None, description="null while it runs; at most 24 hours after the start")
    setting: Setting = "clinic"
    group: bool = Field(default=False, description="Several patients together.")
    therapist_hours: TherapistHours | None = Field(default=None, description="All therapists together.")
    medicine: Medicine | None = None
    route: Route | None = None
    dose_mg: DoseMg | None = Field(default=None, description="The whole dose, in mg.")
    weight_kg: WeightKg | None = None
    concomitant_medicines: Concomitants | None = Field(
        default=None, description="Taken at the time; an empty list says none, null says not asked."
    )


class TreatmentSessionContent(TreatmentSessionCreate):
    entered_in_error: bool = False


class TreatmentSessionChange(Change):
    """A move, a report that it was held or cancelled, or a correction."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"scheduled_at": "2026-11-27T10:00:00-07:00", "reason": "patient travels that week"}
        }
    )

    kind: Kind | None = None
    status: Status | None = None
    scheduled_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    setting: Setting | None = None
    group: bool | None = None
    therapist_hours: TherapistHours | None = None
    medicine: Medicine | None = None
    route: Route | None = None
    dose_mg: DoseMg | None = None
    weight_kg: WeightKg | None = None
    concomitant_medicines: Concomitants | None = None
    entered_in_error: bool | None = Field(default=None, description=ENTERED_IN_ERROR)


class SuitabilityStanding(Answer):
    """What the last screen before this session said. A report of a person's decision, never one of ours."""

    status: Literal["current", "none", "stale", "not_suitable", "consult"]
    screen_id: Id | None


class TreatmentSessionAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _EXAMPLE
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "episode_id": "019a9c20-5a00-7c3e-8b1a-1f2e3d4c5b6b",
                "scheduled_at": "2026-11-20T17:00:00Z",
                "scheduled_at_offset": "-07:00",
                "moved": False,
                "started_at": "2026-11-20T17:12:00Z",
                "started_at_offset": "-07:00",
                "ended_at": "2026-11-20T19:40:00Z",
                "ended_at_offset": "-07:00",
                "mg_per_kg": 0.5,
                "suitability": {"status": "current", "screen_id": "019a9c22-0000-7000-8000-000000000001"},
                "entered_in_error": False,
            }
        }
    )

    patient_id: Id
    episode_id: Id
    kind: Kind
    status: Status
    scheduled_at: datetime
    scheduled_at_offset: Offset = offset_of("scheduled_at")
    moved: bool = Field(description="Whether `scheduled_at` was ever changed; the history says from when.")
    started_at: datetime | None
    started_at_offset: Offset | None = offset_of("started_at")
    ended_at: datetime | None
    ended_at_offset: Offset | None = offset_of("ended_at")
    setting: Setting
    group: bool
    therapist_hours: float | None
    medicine: Medicine | None
    route: Route | None
    dose_mg: float | None
    weight_kg: float | None
    mg_per_kg: float | None = Field(description="dose_mg / weight_kg, to three decimals; never stored")
    concomitant_medicines: list[Concomitant] | None
    suitability: SuitabilityStanding | None = Field(description="Of dosing sessions; null on others.")
    entered_in_error: bool
