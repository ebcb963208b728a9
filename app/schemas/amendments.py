"""Corrections of filled forms: what is sent, and every version as it is answered."""

from typing import Any, Final

from pydantic import ConfigDict, Field

from app.schemas.assessments import AssessmentAnswer, Mode
from app.schemas.fields import Body, Id, Language, Timestamp
from app.schemas.instruments import Responses
from app.schemas.versions import Change

_FIRST: Final[dict[str, Any]] = AssessmentAnswer.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]  # declared there as a mapping


class AssessmentContent(Body):
    """What a correction may change. Whose form it is, and of which instrument, it may not: such a form is void."""

    responses: Responses
    taken_at: Timestamp
    mode: Mode
    language: Language


class AssessmentAmendment(Change):
    """A correction: what is not sent stays as it was. At least one field beside the reason."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "responses": [2, 1, 3, 2, 0, 1, 1, 0, 1, 1],
                "reason": "item 9 read out wrongly from the paper form",
            }
        }
    )

    responses: Responses | None = None
    taken_at: Timestamp | None = None
    mode: Mode | None = None
    language: Language | None = None


class AssessmentVoid(Change):
    """Entered in error: the form stays readable and counts for nothing. There is no way back; submit it anew."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "entered for the wrong patient"}})


class AssessmentVersionAnswer(AssessmentAnswer):
    """One version of a form. Its `received_at` is when this version was recorded."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _FIRST
            | {"recorded_by": "019a9c1e-0000-7000-8000-00000000000a"}
            | {"version": 2, "status": "amended", "reason": "form was filled in an hour earlier"}
        }
    )

    recorded_by: Id = Field(description="id of the token")
    reason: str | None = Field(description="null on the first version")
