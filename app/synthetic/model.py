"""What a synthetic clinic is made of. Frozen values, nothing of the database: whoever loads them maps them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

Modality = Literal["ketamine_assisted_psychotherapy", "exposure_therapy", "medication"]
SessionKind = Literal["preparation", "dosing", "integration"]
SessionStatus = Literal["planned", "done", "cancelled", "moved"]
Route = Literal["intramuscular", "sublingual", "intravenous"]
Mode = Literal["self", "interview", "proxy"]


class CourseKind(StrEnum):
    """How a person's severity runs over time."""

    FAST_RELAPSE = "fast_relapse"
    FAST_DURABLE = "fast_durable"
    SLOW = "slow"
    PARTIAL = "partial"
    NEVER = "never"
    WORSE_AFTER_DOSE_2 = "worse_after_dose_2"
    DROPPED_OUT = "dropped_out"
    LOW_SEVERITY = "low_severity"


@dataclass(frozen=True, slots=True)
class SyntheticObservation:
    """One reading on a dosing day."""

    code: str  # systolic_blood_pressure, diastolic_blood_pressure, heart_rate, oxygen_saturation, dissociation
    value: int
    unit: str  # mmHg, /min, %; dissociation is a 0 to 10 rating of our own, no published scale
    at: datetime


@dataclass(frozen=True, slots=True)
class SyntheticAdverseEvent:
    """Something that went wrong in or after a dosing session."""

    term: str
    severity: Literal["mild", "moderate", "severe"]
    serious: bool
    onset_at: datetime
    resolved_at: datetime | None  # None: not resolved by the time the clinic is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticTreatmentSession:
    """One appointment. A moved one stays, and a later one of the same kind stands at `moved_to_at`."""

    number: int  # from 1 in the episode, by planned time
    kind: SessionKind
    status: SessionStatus
    planned_at: datetime
    moved_to_at: datetime | None = None
    started_at: datetime | None = None  # started and ended: done sessions alone
    ended_at: datetime | None = None
    medicine: str | None = None  # from here on: dosing alone
    route: Route | None = None
    setting: Literal["clinic", "home"] | None = None
    dose_mg: int | None = None  # mg; given doses alone
    weight_kg: float | None = None  # kg; given doses alone
    concomitant_benzodiazepine: bool | None = None  # given doses alone
    observations: tuple[SyntheticObservation, ...] = ()
    adverse_events: tuple[SyntheticAdverseEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class SyntheticEpisode:
    """One course of treatment. Only ketamine-assisted psychotherapy has treatment sessions here."""

    modality: Modality
    opened_at: datetime
    closed_at: datetime | None
    treatment_sessions: tuple[SyntheticTreatmentSession, ...]


@dataclass(frozen=True, slots=True)
class SyntheticForm:
    """One filled form, ready to be sent. The id is made from its content, so loading it twice stores it once."""

    id: UUID
    instrument: str  # phq-9, pcl-5-month, pcl-5-week, gad-7
    responses: tuple[int | None, ...]  # in item order; None: left blank
    taken_at: datetime  # with the patient's own offset
    mode: Mode
    language: str


@dataclass(frozen=True, slots=True)
class SyntheticPatient:
    """One invented person. Forms are in the order they were taken."""

    external_ref: str
    kind: CourseKind
    utc_offset_minutes: int
    language: str
    episode: SyntheticEpisode
    forms: tuple[SyntheticForm, ...]


@dataclass(frozen=True, slots=True)
class SyntheticClinic:
    """A clinic in which nobody is real."""

    name: str
    time_zone: str
    seed: int
    now: datetime
    patients: tuple[SyntheticPatient, ...]
