"""Erasure, and the certificate it leaves."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import ConfigDict, Field

from app.schemas.fields import Answer, Id


class ErasureGround(StrEnum):
    """Why a person is erased. A closed list, so that nothing about them can be written here."""

    PATIENT_REQUEST = "patient_request"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    RETENTION_ENDED = "retention_ended"
    ENTERED_IN_ERROR = "entered_in_error"


KEPT: Final = {
    "audit_event": (
        "Who did what and when, with the ids of the patient and of the things, and nothing that was in them. Kept to "
        "meet the duty to keep records of access (45 CFR 164.316(b)(2): six years; GDPR Art. 17(3)(b)) and for legal "
        "claims (GDPR Art. 17(3)(e))."
    ),
    "erasure": (
        "This certificate. Kept to show that the erasure was done (GDPR Art. 5(2)), and to do it again after a "
        "restore from an older backup."
    ),
}
BACKUPS: Final = (
    "Backups made before the erasure still hold the person until they are rotated out: this program cannot reach them. "
    "Answers to forms and treatment stand in them as they stood in the database; so does all that was not sealed with "
    "a key of the patient's own. A backup that is restored with the erasure ledger beside it is erased again "
    "before the service answers."
)
DISK: Final = (
    "In the running database the rows are gone for every reader at once. Their bytes leave its files when Postgres has "
    "vacuumed the tables and recycled its write-ahead log."
)
ELSEWHERE: Final = (
    "What was handed out earlier is not reached: exports, what webhooks were told (ids alone), and what other programs "
    "and people have written down."
)
_EXAMPLE: Final[dict[str, Any]] = {
    "id": "019a9c30-0000-7000-8000-000000000001",
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "erased_at": "2026-11-20T19:31:00Z",
    "erased_by": "019a9c1e-0000-7000-8000-00000000000a",
    "ground": "patient_request",
    "removed": {"patient": 1, "assessment": 14, "alert": 1, "idempotency_key": 14},
    "replayed_at": None,
    "kept": [{"kind": kind, "why": why} for kind, why in KEPT.items()],
    "backups": BACKUPS,
    "disk": DISK,
    "elsewhere": ELSEWHERE,
}


class KeptAnswer(Answer):
    kind: str
    why: str


class ErasureAnswer(Answer):
    """The certificate: what was removed, when, by whom, what is kept and why, and what that does not reach."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: Id
    patient_id: Id = Field(description="Opaque: it leads to nothing any more.")
    erased_at: datetime
    erased_by: Id = Field(description="id of the token")
    ground: ErasureGround
    removed: dict[str, int] = Field(description="Rows by table; tables that held nothing of the patient say 0.")
    replayed_at: datetime | None = Field(
        description="When it was done again after a restore from a backup that did not know of it; `removed` then "
        "counts what that backup had brought back. null: this is the first time."
    )
    kept: list[KeptAnswer] = Field(description="What of the person's is not removed, and why.")
    backups: str = Field(description="What backups made before still hold.")
    disk: str = Field(description="When the bytes are gone.")
    elsewhere: str = Field(description="What this does not reach.")


def certificate(row: Any) -> ErasureAnswer:
    said = {"kept": _EXAMPLE["kept"], "backups": BACKUPS, "disk": DISK, "elsewhere": ELSEWHERE}
    return ErasureAnswer.model_validate(row.model_dump() | said)
