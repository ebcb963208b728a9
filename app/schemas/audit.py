"""The trail as its readers see it."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Answer, Id

Action = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,99}$")]

COVERS: Final = (
    "Each answer of the API that showed something of a patient, and each thing that was recorded, corrected or decided "
    "through the API, a check-in link or an import, with lists and what the command line showed of caseload, due forms "
    "and alerts; and what was refused. A repeat that changes nothing is not told again. What somebody read in the "
    "database itself, in a backup or in what left the service is not here. Reads before November 2026 are not."
)
_EVENT: Final[dict[str, Any]] = {
    "id": "019a9c21-0000-7000-8000-000000000004",
    "number": 4711,
    "at": "2026-11-20T19:31:00Z",
    "actor_id": "019a9c1e-0000-7000-8000-00000000000a",
    "actor_role": "clinician",
    "action": "assessment.create",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "resource_id": "019a9c21-0000-7000-8000-000000000003",
    "outcome": "done",
    "purpose": "treatment",
    "address": "192.0.2.17",
    "request_id": "019a9c21-0000-7000-8000-000000000002",
    "emergency_id": None,
    "rows": None,
    "filter": None,
}
_TOLD_TO_PATIENTS: Final = ("at", "actor_id", "actor_role", "action", "resource_id", "purpose", "emergency_id")
_ACCESS: Final = {name: _EVENT[name] for name in _TOLD_TO_PATIENTS}


class AuditEventAnswer(Answer):
    """Who did or saw what of whom."""

    model_config = ConfigDict(json_schema_extra={"example": _EVENT})

    id: Id
    number: int | None = Field(description="Place in the clinic's chain; null for the seconds until it is sealed.")
    at: datetime
    actor_id: Id = Field(description="The token or check-in link that was used.")
    actor_role: str
    action: str = Field(description="The thing and what was done to it.")
    patient_id: Id | None = Field(
        description="Whom it is about; null of none, and of a list over several, who are found by asking for one."
    )
    resource_id: Id = Field(description="The thing; of a list, what it is the list of: a patient, the clinic.")
    outcome: str | None = Field(
        description="`done`; `refused` to the role; `absent` in the clinic. Null of events before November 2026."
    )
    purpose: str | None = Field(description="Why, in the caller's own word: the header `Purpose`.")
    address: str | None = Field(description="Where the request came from; of IPv6 the network of one household.")
    request_id: Id | None = Field(description="`X-Request-Id` of the answer; null off the network.")
    emergency_id: Id | None = Field(description="The emergency access it was done under.")
    rows: int | None = Field(description="How many a read showed.")
    filter: str | None = Field(description="What a read asked for.")


class AuditEventPage(Answer):
    model_config = ConfigDict(json_schema_extra={"example": {"data": [_EVENT], "next_cursor": None, "covers": COVERS}})

    data: list[AuditEventAnswer]
    next_cursor: str | None
    covers: str = Field(description="What is recorded here, and what is not.")


class AccessAnswer(Answer):
    """One thing that was done about a patient, or seen of them."""

    model_config = ConfigDict(json_schema_extra={"example": _ACCESS})

    at: datetime
    actor_id: Id = Field(description="The token or check-in link that was used.")
    actor_role: str
    action: str = Field(description="The thing and what was done to it.")
    resource_id: Id = Field(description="The thing; of a list, what it is the list of: the patient, the clinic.")
    purpose: str | None = Field(description="Why, in the caller's own word.")
    emergency_id: Id | None = Field(description="The emergency access it was done under.")


class AccessPage(Answer):
    model_config = ConfigDict(json_schema_extra={"example": {"data": [_ACCESS], "next_cursor": None, "covers": COVERS}})

    data: list[AccessAnswer]
    next_cursor: str | None
    covers: str = Field(description="What is recorded here, and what is not.")
