"""Check-in links as the clinic sees them, and what their bearer is asked and answers."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Body, Id, Language, Timestamp
from app.schemas.instruments import Responses
from app.scoring import get_instrument

LinkState = Literal["active", "expired", "revoked", "used_up"]

MAX_HOURS: Final = 720  # 30 days: a link that lives longer is a password
DEFAULT_HOURS: Final = 72
MAX_TRIES: Final = 50
DEFAULT_TRIES: Final = 20

_LINK_EXAMPLE: Final[dict[str, Any]] = {
    "id": "019a9c22-0000-7000-8000-000000000001",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "state": "active",
    "created_at": "2026-11-20T19:30:00Z",
    "created_by": "019a9c1e-0000-7000-8000-00000000000a",
    "expires_at": "2026-11-23T19:30:00Z",
    "tries_left": 20,
    "revoked_at": None,
}
_TOKEN_EXAMPLE: Final = f"tml_{'A' * 43}_{'A' * 43}"


class CheckInLinkCreate(Body):
    """How long a link lives, and how much may be sent through it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"expires_in_hours": DEFAULT_HOURS, "tries": DEFAULT_TRIES}}
    )

    expires_in_hours: int = Field(default=DEFAULT_HOURS, ge=1, le=MAX_HOURS)
    tries: int = Field(
        default=DEFAULT_TRIES,
        ge=1,
        le=MAX_TRIES,
        description="Forms stored, forms refused and wrong secrets it bears before it is used up. Repeats cost none.",
    )


class CheckInLinkAnswer(Answer):
    """A link without its secret, which is stored nowhere."""

    model_config = ConfigDict(json_schema_extra={"example": _LINK_EXAMPLE})

    id: Id
    patient_id: Id
    state: LinkState
    created_at: datetime
    created_by: Id = Field(description="id of the token")
    expires_at: datetime
    tries_left: int
    revoked_at: datetime | None


class NewCheckInLinkAnswer(CheckInLinkAnswer):
    """A link with its secret, told this once."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _LINK_EXAMPLE
            | {"token": _TOKEN_EXAMPLE, "url": f"https://tidemark.example/check-in#{_TOKEN_EXAMPLE}"}
        }
    )

    token: str | None = Field(description="null on a replay: only its hash is stored")
    url: str | None = Field(
        description="What the person opens: absolute where the service knows its public address. null on a replay"
    )


class ChoiceToShow(Answer):
    value: int
    label: str


class ItemToShow(Answer):
    number: int
    text: str
    answers: list[ChoiceToShow]
    required: bool = Field(description="false: leaving it out needs no second thought")


class FormToShow(Answer):
    """A questionnaire as the person reads it: no rule, no threshold, no band."""

    key: str = Field(description="instrument with its version")
    title: str
    instruction: str
    items: list[ItemToShow]
    languages: list[str]
    copyright: str


class DueForm(Answer):
    expected_id: Id
    due_until: datetime
    instrument: FormToShow


class CheckInDue(Answer):
    """What is due now and nothing else: no name, no reference, nothing that was answered, no score."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.update(example=_due_example()))

    forms: list[DueForm] = Field(description="the one that closes first stands first")
    expires_at: datetime = Field(description="of the link")
    safety_note: str = Field(description="to be shown with the forms")


class CheckInSubmit(Body):
    """One answered form. Sent again with the same `id` it is stored once, and costs no further try."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c20-0000-7000-8000-000000000001",
                "expected_id": "019a9c23-0000-7000-8000-000000000001",
                "responses": [2, 1, 3, 2, 0, 1, 1, 0, 0, 1],
                "taken_at": "2026-11-20T19:30:00-07:00",
                "language": "en",
            }
        }
    )

    id: Id = Field(description="Made by the client; lets it repeat itself safely.")
    expected_id: Id = Field(description="Which of the forms that are due this answers.")
    responses: Responses
    taken_at: Timestamp = Field(description="Within the time the form is due.")
    language: Language = Field(default="en", description="Language the form was shown in (BCP 47).")


class CheckInReceived(Answer):
    """That it arrived. No score: that is for a talk with a clinician."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "019a9c20-0000-7000-8000-000000000001",
                "received_at": "2026-11-20T19:30:04.120000Z",
                "safety_text": None,
            }
        }
    )

    id: Id
    received_at: datetime
    safety_text: str | None = Field(
        description="The clinic's own words, to be shown at once; null unless a critical item was answered at or above "
        "its threshold."
    )


SAFETY_NOTE: Final = (
    "This is not a crisis service, and nobody reads your answers right away. "
    "If you are in danger, call your local emergency number now."
)


def _due_example() -> dict[str, Any]:
    """The shortest instrument."""
    due = CheckInDue.model_validate(
        {
            "forms": [
                {
                    "expected_id": "019a9c23-0000-7000-8000-000000000001",
                    "due_until": "2026-11-21T07:00:00Z",
                    "instrument": FormToShow.model_validate(get_instrument("phq-2")),
                }
            ],
            "expires_at": "2026-11-23T19:30:00Z",
            "safety_note": SAFETY_NOTE,
        }
    )
    return due.model_dump(mode="json")
