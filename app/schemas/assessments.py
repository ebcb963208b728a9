"""One filled form: as it is sent, and as it is answered."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, DeviceTimestamp, Id, InstrumentReference, Language, Offset
from app.schemas.instruments import Responses, ScoreAnswer
from app.schemas.problems import Problem

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
    taken_at: DeviceTimestamp
    mode: Mode = Field(default="self", description="Who filled it in: the person, an interviewer, or someone for them.")
    language: Language = Field(default="en", description="Language the form was shown in (BCP 47).")


class RaisedAlertAnswer(Answer):
    """An alert that this form keeps up. Its state stands at `/v1/alerts/{id}`. Tidemark is not a crisis service."""

    id: Id
    kind: str
    item: int | None
    label: str


class ArrivalAnswer(Answer):
    """How the form came. `taken_at` is by our clock wherever the sender's is known to be wrong."""

    late: bool = Field(description="It arrived more than 24 hours after it was filled in.")
    hours_after: float = Field(description="from `taken_at` to `received_at`")
    device_skew_seconds: int | None = Field(
        description="How far the sender's clock ran ahead of ours, by its `Device-Time`; null when it did not tell."
    )
    clock_correction_minutes: int = Field(description="Taken off the sender's `taken_at`; 0 within 5 minutes.")


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
                "arrival": {
                    "late": False,
                    "hours_after": 0.0011,
                    "device_skew_seconds": None,
                    "clock_correction_minutes": 0,
                },
                "alerts": [],
                "safety_text": None,
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
    arrival: ArrivalAnswer
    alerts: list[RaisedAlertAnswer] = Field(
        description="Alerts this form raised and keeps up. That there is none never means that there is no risk."
    )
    safety_text: str | None = Field(
        description="The clinic's own words to show to whoever answered a critical item; null when none was."
    )


MAX_BATCH: Final = 500  # forms


def _rows(schema: dict[str, Any]) -> None:
    """Each row is read for itself, so that one that cannot be read harms no other; it should be a check-in."""
    schema["properties"]["assessments"]["items"] = {"$ref": "#/components/schemas/AssessmentSubmit"}
    schema["example"] = {"assessments": [AssessmentSubmit.model_config["json_schema_extra"]["example"]]}  # type: ignore[index]  # as written above


class BatchSubmit(Body):
    """Many check-ins at once."""

    model_config = ConfigDict(json_schema_extra=_rows)

    assessments: list[Any] = Field(min_length=1, max_length=MAX_BATCH)


class BatchOutcome(Answer):
    """What became of one row: a stored form, or the problem it met. The other one is left out."""

    index: int = Field(description="place of the row, from 0")
    status: int = Field(description="as the row alone would have been answered")
    replayed: bool = Field(description="It was stored before.")
    assessment: AssessmentAnswer | None = None
    problem: Problem | None = None


class BatchAnswer(Answer):
    """An outcome for each row, in their order."""

    outcomes: list[BatchOutcome]
