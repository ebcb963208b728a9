"""One filled form: as it is sent, and as it is answered."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, Id, InstrumentReference, Language, Offset, Timestamp
from app.schemas.instruments import Responses, ScoreAnswer

Mode = Literal["self", "interview", "proxy"]
Status = Literal["final", "amended", "entered_in_error"]


class AssessmentSubmit(Body):
    """A check-in. Sent again with the same `id` it is stored once, for ever."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c20-0000-7000-8000-000000000001",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "instrument": "phq-9",
                "responses": [2, 1, 3, 2, 0, 1, 1, 0, 0, 1],
                "taken_at": "2026-11-20T19:30:00-07:00",
                "mode": "self",
                "language": "en",
            }
        }
    )

    id: Id | None = Field(
        default=None, description="Made by the client; lets it repeat itself safely, even months later."
    )
    patient_id: Id
    instrument: InstrumentReference
    responses: Responses
    taken_at: Timestamp
    mode: Mode = Field(default="self", description="Who filled it in: the person, an interviewer, or someone for them.")
    language: Language = Field(default="en", description="Language the form was shown in (BCP 47).")


class AlertAnswer(Answer):
    """Something on this form that needs a person's eyes. Tidemark is not a crisis service."""

    code: str
    item: int
    label: str


class ContextAnswer(Answer):
    """Where the form stands among the doses of its episode: derived, never typed in."""

    episode_id: Id | None
    dose_number: int | None = Field(description="of the nearest preceding dose, from 1")
    hours_since_dose: float | None
    recall_after_dose: float | None = Field(
        description="Share of the recall window after that dose: 25 hours after one, a two-week form is at 0.07."
    )


class AssessmentAnswer(Answer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c20-0000-7000-8000-000000000001",
                "version": 1,
                "status": "final",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "instrument": "phq-9@1",
                "taken_at": "2026-11-21T02:30:00Z",
                "taken_at_offset": "-07:00",
                "received_at": "2026-11-21T02:30:04.120000Z",
                "mode": "self",
                "language": "en",
                "responses": [2, 1, 3, 2, 0, 1, 1, 0, 0, 1],
                "score": {
                    "total": 10,
                    "minimum": 0,
                    "maximum": 27,
                    "validity": "valid",
                    "answered": 9,
                    "missing": [],
                    "subscales": {},
                    "severity": {"code": "moderate", "label": "Moderate", "minimum": 10, "maximum": 14},
                    "screens": [
                        {"code": "cut_point_10", "met": True},
                        {"code": "major_depressive_syndrome", "met": False},
                        {"code": "other_depressive_syndrome", "met": True},
                    ],
                    "critical_items": [{"item": 9, "code": "self_harm", "raised": False}],
                    "functional_difficulty": 1,
                },
                "context": {
                    "episode_id": "019a9c1e-6b00-7000-8000-00000000000e",
                    "dose_number": 2,
                    "hours_since_dose": 25.5,
                    "recall_after_dose": 0.0758928571428571,
                },
                "alerts": [],
            }
        }
    )

    id: Id
    version: int
    status: Status
    patient_id: Id
    instrument: str
    taken_at: datetime
    taken_at_offset: Offset
    received_at: datetime
    mode: Mode
    language: str
    responses: list[int | None]
    score: ScoreAnswer
    context: ContextAnswer
    alerts: list[AlertAnswer] = Field(description="Critical items answered on this form, whatever the total.")
