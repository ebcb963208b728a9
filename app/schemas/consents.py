"""Consents, and the flag of 42 CFR Part 2."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from app.privacy.part_two import notice
from app.schemas.fields import Answer, Body, Id, Offset, ShortText, Timestamp
from app.schemas.versions import VERSION_EXAMPLE, VersionAnswer, offset_of


class Purpose(StrEnum):
    """What the patient lets happen."""

    TREATMENT_PAYMENT_OPERATIONS = "treatment_payment_operations"
    RESEARCH = "research"
    DISCLOSURE_TO_RECIPIENT = "disclosure_to_recipient"
    CONTACT = "contact"


How = Literal["signed", "electronic", "verbal_documented"]
State = Literal["in_force", "expired", "withdrawn", "superseded"]

_RECIPIENT: Final = (
    "Who it is for; wanted for `disclosure_to_recipient`. With `research` the release or study it is limited to; null: "
    "any research of the clinic."
)
_GIVEN: Final[dict[str, Any]] = {
    "purpose": "research",
    "recipient": "outcomes-2027",
    "how": "signed",
    "document": "scan 4711, page 3",
    "given_at": "2026-11-02T10:00:00-07:00",
    "expires_at": "2029-11-02T00:00:00-07:00",
}


class ConsentPut(Body):
    """A consent as it was given. The same purpose and recipient name the same consent; renewing it is a version."""

    model_config = ConfigDict(json_schema_extra={"example": _GIVEN})

    purpose: Purpose = Field(strict=False)
    recipient: ShortText | None = Field(default=None, description=_RECIPIENT)
    how: How
    document: ShortText | None = Field(default=None, description="Where the clinic keeps what was signed.")
    given_at: Timestamp
    expires_at: Timestamp | None = Field(default=None, description="null: until it is withdrawn.")
    reason: ShortText | None = Field(default=None, description="Wanted with every version but the first.")


class ConsentWithdrawal(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"withdrawn_at": "2027-01-15T16:20:00-07:00"}})

    withdrawn_at: Timestamp | None = Field(default=None, description="When the patient said so. Default: now.")
    reason: ShortText | None = Field(default=None, description="Nobody has to give one.")


class ConsentAnswer(VersionAnswer):
    """One version of one consent."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": VERSION_EXAMPLE
            | _GIVEN
            | {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "given_at": "2026-11-02T17:00:00Z",
                "given_at_offset": "-07:00",
                "expires_at": "2029-11-02T07:00:00Z",
                "expires_at_offset": "-07:00",
                "withdrawn_at": None,
                "withdrawn_at_offset": None,
                "state": "in_force",
            }
        }
    )

    patient_id: Id
    purpose: Purpose
    recipient: str | None = Field(description=_RECIPIENT)
    how: How
    document: str | None
    given_at: datetime
    given_at_offset: Offset = offset_of("given_at")
    expires_at: datetime | None
    expires_at_offset: Offset | None = offset_of("expires_at")
    withdrawn_at: datetime | None
    withdrawn_at_offset: Offset | None = offset_of("withdrawn_at")
    state: State = Field(description="Now; `superseded`: a later version holds.")


def consent_answer(row: Any, *, is_newest: bool = True) -> ConsentAnswer:
    return ConsentAnswer.model_validate(row.model_dump() | {"state": state_of(row, is_newest=is_newest)})


def state_of(row: Any, *, is_newest: bool) -> State:
    if not is_newest:
        return "superseded"
    now = datetime.now(UTC)
    if row.withdrawn_at is not None and row.withdrawn_at <= now:
        return "withdrawn"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "in_force"


class PartTwoPut(Body):
    model_config = ConfigDict(
        json_schema_extra={"example": {"applies": True, "reason": "referred by our substance use programme"}}
    )

    applies: bool
    reason: ShortText = Field(description="Why; kept with the new version.")


class PartTwoAnswer(Answer):
    """Whether 42 CFR Part 2 protects this patient's record. Version 1 says that nobody has said so."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "version": 2,
                "applies": True,
                "notice": "42 CFR part 2 prohibits unauthorized use or disclosure of these records.",
                "recorded_at": "2026-11-20T19:31:00Z",
                "recorded_by": "019a9c1e-0000-7000-8000-00000000000a",
                "reason": "referred by our substance use programme",
            }
        }
    )

    patient_id: Id
    version: int
    applies: bool
    notice: str | None = Field(description="What has to go with every disclosure of the record; null: nothing.")
    recorded_at: datetime = Field(description="of version 1: when the patient was added")
    recorded_by: Id | None = Field(description="id of the token; null on version 1")
    reason: str | None = Field(description="null on version 1")


def part_two_answer(row: Any) -> PartTwoAnswer:
    return PartTwoAnswer.model_validate(row.model_dump() | {"notice": notice(applies=row.applies)})
