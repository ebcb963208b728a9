"""Suitability for a dose: what a clinic asks, and what a clinician decided."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from app.schemas.faults import FieldError
from app.schemas.fields import Body, Id, Offset, ShortText, Timestamp
from app.schemas.limits import LIMITS
from app.schemas.versions import VERSION_EXAMPLE, Change, VersionAnswer, offset_of

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
QuestionText = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
AnswerKind = Literal["yes_no", "number", "choice"]
Outcome = Literal["suitable", "consult", "not_suitable"]

_VALID, _BACK = LIMITS["valid_days"], LIMITS["look_back_days"]
ValidDays = Annotated[int, Field(ge=_VALID.minimum, le=_VALID.maximum, description="How long a screen stands for.")]
LookBackDays = Annotated[int, Field(ge=_BACK.minimum, le=_BACK.maximum)]


class Question(Body):
    """One question of a checklist."""

    code: Code
    text: QuestionText
    answer: AnswerKind
    choices: Annotated[list[Code], Field(min_length=2, max_length=20)] | None = Field(
        default=None, description="Of a `choice` question, and of no other."
    )
    look_back_days: LookBackDays | None = Field(default=None, description="How far back the question asks.")

    @model_validator(mode="after")
    def _choices_fit_the_answer(self) -> "Question":
        if (self.answer == "choice") != (self.choices is not None):
            raise FieldError("choices_misplaced", "A choice question has choices, and no other has.")
        if self.choices is not None and len(set(self.choices)) != len(self.choices):
            raise FieldError("repeated", "Name each choice once.")
        return self


def _codes_differ(questions: list[Question]) -> list[Question]:
    if len({question.code for question in questions}) != len(questions):
        raise FieldError("repeated", "Each question has a code of its own.")
    return questions


Questions = Annotated[list[Question], Field(min_length=1, max_length=100), AfterValidator(_codes_differ)]

_CHECKLIST: dict[str, Any] = {
    "title": "Before each dose",
    "valid_days": 30,
    "questions": [
        {"code": "pregnant", "text": "Pregnant or breast-feeding?", "answer": "yes_no"},
        {"code": "systolic", "text": "Systolic blood pressure today (mmHg)", "answer": "number"},
        {
            "code": "alcohol_use",
            "text": "Alcohol in the last three months",
            "answer": "choice",
            "choices": ["none", "some", "daily"],
            "look_back_days": 90,
        },
    ],
}


class SuitabilityChecklistCreate(Body):
    """What a clinic asks before a dose. The clinic answers for it; Tidemark suggests nothing."""

    model_config = ConfigDict(json_schema_extra={"example": _CHECKLIST})

    title: ShortText
    valid_days: ValidDays
    questions: Questions


class SuitabilityChecklistChange(Change):
    model_config = ConfigDict(
        json_schema_extra={"example": {"valid_days": 14, "reason": "agreed in the team on 3 November"}}
    )

    title: ShortText | None = None
    valid_days: ValidDays | None = None
    questions: Questions | None = None


class SuitabilityChecklistAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _CHECKLIST
            | {
                "questions": [
                    {
                        "code": "pregnant",
                        "text": "Pregnant?",
                        "answer": "yes_no",
                        "choices": None,
                        "look_back_days": None,
                    }
                ]
            }
        }
    )

    title: str
    valid_days: int
    questions: list[Question]


# Typed by hand: a key of the sender's own making must not come back in an error, as pydantic's places would have it.
Answers = Annotated[
    dict[str, Any],
    Field(max_length=100, description="Every question of the checklist by its code; null for one not answered."),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 100,
            "additionalProperties": {"type": ["boolean", "number", "string", "null"]},
        }
    ),
]

_SCREEN: dict[str, Any] = {
    "checklist_id": "019a9c1f-0000-7000-8000-000000000007",
    "answers": {"pregnant": False, "systolic": 128, "alcohol_use": "some"},
    "answered_at": "2026-11-19T16:00:00-07:00",
    "outcome": "suitable",
    "decided_by": "Dr. Example, psychiatrist",
}


class SuitabilityScreenCreate(Body):
    """A clinician's decision and the answers it rests on. Nothing computes the outcome.

    To correct one, record another: of two with the same `answered_at` the later recorded counts.
    """

    model_config = ConfigDict(json_schema_extra={"example": _SCREEN})

    checklist_id: Id
    answers: Answers
    answered_at: Timestamp
    outcome: Outcome
    decided_by: ShortText = Field(description="The clinician who decided.")


class SuitabilityScreenAnswer(VersionAnswer):
    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _SCREEN
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "episode_id": "019a9c20-5a00-7c3e-8b1a-1f2e3d4c5b6b",
                "checklist_version": 1,
                "answered_at": "2026-11-19T23:00:00Z",
                "answered_at_offset": "-07:00",
            }
        }
    )

    patient_id: Id
    episode_id: Id
    checklist_id: Id
    checklist_version: int = Field(description="The version that was current; its questions are the ones answered.")
    answers: Answers
    answered_at: datetime
    answered_at_offset: Offset = offset_of("answered_at")
    outcome: Outcome
    decided_by: str
