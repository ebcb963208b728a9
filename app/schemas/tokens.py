"""Tokens as an administrator makes, lists and revokes them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from app.auth import Permission
from app.schemas.faults import FieldError
from app.schemas.fields import Answer, Body, Id
from app.schemas.webhooks import Label

TokenRole = Literal["admin", "clinician", "service", "researcher", "patient"]
TokenState = Literal["active", "expired", "revoked"]

DEFAULT_DAYS: Final = 90
MAX_DAYS: Final = 366  # a year: one that is meant to live longer is renewed by somebody who still wants it

_TOKEN_EXAMPLE: Final[dict[str, Any]] = {
    "id": "019a9c24-0000-7000-8000-000000000001",
    "label": "nightly import",
    "role": "service",
    "patient_id": None,
    "scopes": ["assessments:write", "patients:read"],
    "state": "active",
    "created_at": "2026-11-20T19:30:00Z",
    "created_by": "019a9c1e-0000-7000-8000-00000000000a",
    "expires_at": "2027-02-18T19:30:00Z",
    "last_used_at": "2026-11-20T23:00:00Z",
    "revoked_at": None,
}
_SECRET_EXAMPLE: Final = f"tmk_{'A' * 43}_{'A' * 43}"


def _known_scope(value: Any) -> str:
    if not isinstance(value, str) or value not in set(Permission):
        raise FieldError("not_a_scope", "There is no such scope: the reference names one beside each operation.")
    return value


Scope = Annotated[str, BeforeValidator(_known_scope), Field(json_schema_extra={"enum": sorted(Permission)})]


class TokenCreate(Body):
    """Who shall hold a token, and what for."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "label": "nightly import",
                "role": "service",
                "patient_id": None,
                "scopes": ["assessments:write", "patients:read"],
                "expires_in_days": DEFAULT_DAYS,
            }
        }
    )

    label: Label = Field(min_length=1, description="What it is for, so that somebody dares to revoke it.")
    role: TokenRole
    patient_id: Id | None = Field(default=None, description="With the role `patient`: whose token it is.")
    scopes: list[Scope] | None = Field(
        default=None,
        min_length=1,
        max_length=len(Permission),
        description="Of what the role may, these permissions and no others (`x-permission` of each operation). "
        "null: all the role may, also what later versions add to it.",
    )
    expires_in_days: int = Field(default=DEFAULT_DAYS, ge=1, le=MAX_DAYS)


class TokenAnswer(Answer):
    """A token without its secret, which is stored nowhere."""

    model_config = ConfigDict(json_schema_extra={"example": _TOKEN_EXAMPLE})

    id: Id
    label: str
    role: TokenRole
    patient_id: Id | None
    scopes: list[str] | None = Field(description="null: all the role may")
    state: TokenState
    created_at: datetime
    created_by: Id | None = Field(description="id of the token or person that made it; null where that was not kept")
    expires_at: datetime | None = Field(description="null: never; only the command line makes such ones")
    last_used_at: datetime | None = Field(
        description="to a minute; the last minute before a crash is lost. null: never used, or not since this is kept"
    )
    revoked_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    """A token with its secret, told this once."""

    model_config = ConfigDict(
        json_schema_extra={"example": _TOKEN_EXAMPLE | {"last_used_at": None, "token": _SECRET_EXAMPLE}}
    )

    token: str | None = Field(description="null on a replay: only its hash is stored")
