"""Every patient's latest state: answers, and the rules behind their numbers in words."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id, Page, Total
from app.schemas.instruments import SeverityAnswer
from app.schemas.treatment_sessions import Kind
from app.scoring.change import ChangeCategory
from app.scoring.model import Validity


class Category(StrEnum):
    """The core's categories, gravest first, and one for those who have none."""

    HARMED = "harmed"
    DETERIORATED = "deteriorated"
    UNCHANGED = "unchanged"
    UNKNOWN = "unknown"
    IMPROVED = "improved"
    RECOVERED = "recovered"


ENTRY_EXAMPLE: dict[str, Any] = {
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "external_ref": "chart-4711",
    "episode_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6b",
    "last_form": {
        "assessment_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6c",
        "taken_at": "2026-11-16T18:30:00Z",
        "total": 16,
        "validity": "valid",
        "severity": {"code": "moderately_severe", "label": "Moderately severe", "minimum": 15, "maximum": 19},
    },
    "days_since_last_form": 4,
    "baseline": {"assessment_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6d", "rule": "pre_treatment", "total": 18},
    "change": -2,
    "percent_change": -11.11111111111111,
    "change_since_last": 3,
    "category": "unchanged",
    "on_track": False,
    "on_track_reason": "no_improvement_in_time",
    "forms": 6,
    "doses": 3,
    "last_dose_at": "2026-11-10T17:00:00Z",
    "alerts": {"open": 1, "acknowledged": 0, "oldest_open_at": "2026-11-16T18:30:05Z"},
    "check_ins": {"overdue": 1, "missed": 0},
    "next_session": {"at": "2026-11-24T17:00:00Z", "kind": "dosing"},
}


class CaseloadForm(Answer):
    assessment_id: Id
    taken_at: datetime
    total: Total | None = Field(description="Null where answers are missing.")
    validity: Validity
    severity: SeverityAnswer | None


class CaseloadBaseline(Answer):
    assessment_id: Id
    rule: Literal["pre_treatment", "first", "named"]
    total: Total


class CaseloadAlerts(Answer):
    """Of every instrument."""

    open: int
    acknowledged: int
    oldest_open_at: datetime | None


class CaseloadCheckIns(Answer):
    """Of every instrument."""

    overdue: int
    missed: int = Field(description="of the last 28 days")


class NextSession(Answer):
    at: datetime
    kind: Kind


class CaseloadEntry(Answer):
    """One patient. Without any form on the instrument everything that rests on forms is null: unknown, not well."""

    model_config = ConfigDict(json_schema_extra={"example": ENTRY_EXAMPLE})

    patient_id: Id
    external_ref: str | None
    episode_id: Id | None
    last_form: CaseloadForm | None
    days_since_last_form: int | None
    baseline: CaseloadBaseline | None
    change: Total | None = Field(description="points since baseline, of the last form with a total")
    percent_change: float | None
    change_since_last: Total | None = Field(description="points since the form with a total before the last one")
    category: ChangeCategory | None
    on_track: bool | None
    on_track_reason: str | None
    forms: int | None = Field(description="in the course of treatment the last form belongs to")
    doses: int | None = Field(description="same")
    last_dose_at: datetime | None
    alerts: CaseloadAlerts
    check_ins: CaseloadCheckIns
    next_session: NextSession | None


class CaseloadCounts(Answer):
    """Who stands behind the list: nobody is left out without being counted."""

    patients: int = Field(description="of the clinic")
    with_form: int = Field(description="of them, with a form on this instrument")
    without_form: int
    matching: int = Field(description="of all, those the filters leave in")


class CaseloadRules(Answer):
    """What each number rests on, in words."""

    baseline: str
    change: str
    category: str
    on_track: str
    alerts: str
    check_ins: str
    silence: str
    order: str


class CaseloadAnswer(Page[CaseloadEntry]):
    """One page of the caseload."""

    instrument: str = Field(examples=["phq-9"], description="id without version")
    as_of: datetime = Field(description="The moment all pages of this walk look from.")
    n: CaseloadCounts
    rules: CaseloadRules
