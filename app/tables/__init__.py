"""The tables, by noun. `clinic_id` stands first in every key: it is the tenant and the shard."""

from typing import Final

from app.tables.access import CareTeam, EmergencyAccess
from app.tables.alerts import Alert, AlertEvent, Derivation, Standing
from app.tables.assessments import Assessment
from app.tables.base import Sealed, Versioned, sealed_columns
from app.tables.clinics import ApiToken, Clinic, ClinicRules, DataKey
from app.tables.consents import Consent, PartTwo
from app.tables.erasures import Erasure
from app.tables.identity import Enrolment, IssuerKeySet, Principal, RefreshToken
from app.tables.patients import CheckInLink, Patient, PatientTimeZone
from app.tables.rates import RequestRate
from app.tables.releases import Release, ReleaseChunk, ReleasePerson
from app.tables.research import CohortQuestion
from app.tables.schedules import ExpectedCheckIn, Schedule
from app.tables.trail import AuditEvent, AuditLink, AuditSubject, IdempotencyKey
from app.tables.treatment import (
    AdverseEvent,
    EpisodeOfCare,
    Observation,
    SuitabilityChecklist,
    SuitabilityScreen,
    Threshold,
    TreatmentSession,
)
from app.tables.webhooks import Delivery, Notification, Webhook

__all__ = [
    "APPEND_ONLY",
    "DERIVED",
    "AdverseEvent",
    "Alert",
    "AlertEvent",
    "ApiToken",
    "Assessment",
    "AuditEvent",
    "AuditLink",
    "AuditSubject",
    "CareTeam",
    "CheckInLink",
    "Clinic",
    "ClinicRules",
    "CohortQuestion",
    "Consent",
    "DataKey",
    "Delivery",
    "Derivation",
    "EmergencyAccess",
    "Enrolment",
    "EpisodeOfCare",
    "Erasure",
    "ExpectedCheckIn",
    "IdempotencyKey",
    "IssuerKeySet",
    "Notification",
    "Observation",
    "PartTwo",
    "Patient",
    "PatientTimeZone",
    "Principal",
    "RefreshToken",
    "Release",
    "ReleaseChunk",
    "ReleasePerson",
    "RequestRate",
    "Schedule",
    "Sealed",
    "Standing",
    "SuitabilityChecklist",
    "SuitabilityScreen",
    "Threshold",
    "TreatmentSession",
    "Versioned",
    "Webhook",
    "sealed_columns",
]

# Tables the runtime role may only add to and read; what else it may do is granted in the migrations.
APPEND_ONLY: Final = frozenset(
    {
        "clinic",
        "clinic_rules",
        "patient_time_zone",
        "principal",
        "care_team",
        "assessment",
        "episode",
        "treatment_session",
        "observation",
        "adverse_event",
        "suitability_checklist",
        "suitability_screen",
        "consent",
        "part_two",
        "erasure",
        "threshold",
        "schedule",
        "alert_event",
        "notification",
        "idempotency_key",
        "audit_event",
        "audit_link",
        "cohort_question",
        "audit_subject",
    }
)
# Tables that say nothing of their own: what they hold follows from the others and can be made anew from them.
DERIVED: Final = frozenset({"expected_check_in", "standing"})
