"""Who is calling, and what each role may do.

A token is `tmk_<clinic id and token id>_<secret>`, that of a check-in link begins with `tml_`. It names its clinic so
that even the look-up of the token runs under that clinic's row-level security; only the SHA-256 of the 256-bit secret
is stored.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.errors import ForbiddenError, UnauthenticatedError

_SECRET_BYTES: Final = 32
_IDS_BYTES: Final = 32  # two UUIDs


class TokenKind(StrEnum):
    """What a token is, told by its first letters: so neither can be looked up as the other."""

    API = "tmk_"
    LINK = "tml_"


_PREFIXES: Final = frozenset(TokenKind)


class Role(StrEnum):
    ADMIN = "admin"
    CLINICIAN = "clinician"
    SERVICE = "service"
    RESEARCHER = "researcher"
    PATIENT = "patient"  # one person, who sees nothing but their own
    LINK = "link"  # the bearer of a check-in link: answers what is due to one person, reads nothing back


class Permission(StrEnum):
    """What a route asks for. Every route of /v1 declares exactly one; a test holds it to that."""

    READ_INSTRUMENTS = "instruments:read"
    READ_PATIENTS = "patients:read"
    WRITE_PATIENTS = "patients:write"
    READ_ASSESSMENTS = "assessments:read"
    WRITE_ASSESSMENTS = "assessments:write"
    AMEND_ASSESSMENTS = "assessments:amend"
    VOID_ASSESSMENTS = "assessments:void"
    READ_COMPARISONS = "comparisons:read"
    READ_TREATMENT = "treatment:read"
    WRITE_TREATMENT = "treatment:write"
    READ_CLINIC_RULES = "clinic-rules:read"
    WRITE_CLINIC_RULES = "clinic-rules:write"
    READ_SCHEDULES = "schedules:read"
    WRITE_SCHEDULES = "schedules:write"
    READ_DUE = "due:read"
    READ_DUE_OF_CLINIC = "due-of-clinic:read"
    READ_ALERTS = "alerts:read"
    WRITE_ALERTS = "alerts:write"
    READ_CASELOAD = "caseload:read"
    READ_COHORTS = "cohorts:read"
    READ_LINKS = "check-in-links:read"
    WRITE_LINKS = "check-in-links:write"
    ANSWER_BY_LINK = "check-ins:answer"
    READ_WEBHOOKS = "webhooks:read"
    WRITE_WEBHOOKS = "webhooks:write"
    READ_AUDIT = "audit:read"
    READ_ACCESSES = "accesses:read"


_CARE: Final = frozenset({Role.ADMIN, Role.CLINICIAN, Role.SERVICE})
_STAFF: Final = frozenset({Role.ADMIN, Role.CLINICIAN})
_ADMIN: Final = frozenset({Role.ADMIN})
_CARE_AND_SELF: Final = _CARE | {Role.PATIENT}
ROLES_ALLOWED: Final[dict[Permission, frozenset[Role]]] = {
    Permission.READ_INSTRUMENTS: frozenset(Role) - {Role.LINK},
    Permission.READ_PATIENTS: _CARE,
    Permission.WRITE_PATIENTS: _CARE,
    Permission.READ_ASSESSMENTS: _CARE_AND_SELF,
    Permission.WRITE_ASSESSMENTS: _CARE_AND_SELF,
    Permission.AMEND_ASSESSMENTS: _STAFF | {Role.PATIENT},
    Permission.VOID_ASSESSMENTS: _STAFF,
    Permission.READ_COMPARISONS: _CARE,
    Permission.READ_TREATMENT: _CARE,
    Permission.WRITE_TREATMENT: _CARE,
    Permission.READ_CLINIC_RULES: _CARE,
    Permission.WRITE_CLINIC_RULES: _ADMIN,
    Permission.READ_SCHEDULES: _CARE,
    Permission.WRITE_SCHEDULES: _CARE,
    Permission.READ_DUE: _CARE_AND_SELF,
    Permission.READ_DUE_OF_CLINIC: _CARE,
    Permission.READ_ALERTS: _CARE,
    Permission.WRITE_ALERTS: _STAFF,
    Permission.READ_CASELOAD: _CARE,
    Permission.READ_COHORTS: _STAFF | {Role.RESEARCHER},
    Permission.READ_LINKS: _CARE,
    Permission.WRITE_LINKS: _CARE,
    Permission.ANSWER_BY_LINK: frozenset({Role.LINK}),
    Permission.READ_WEBHOOKS: _ADMIN,
    Permission.WRITE_WEBHOOKS: _ADMIN,
    Permission.READ_AUDIT: _ADMIN,
    Permission.READ_ACCESSES: _STAFF | {Role.PATIENT},
}


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated caller; bound to one clinic, and to one patient where it is one or stands for one."""

    clinic_id: UUID
    token_id: UUID
    role: Role
    patient_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TokenParts:
    """A presented token taken apart; nothing is proven yet."""

    clinic_id: UUID
    token_id: UUID  # of a link: the link's id
    secret: bytes
    kind: TokenKind

    def matches(self, secret_hash: bytes) -> bool:
        return hmac.compare_digest(hash_secret(self.secret), secret_hash)


def new_token(clinic_id: UUID, token_id: UUID, kind: TokenKind = TokenKind.API) -> tuple[str, bytes]:
    """A fresh token for its holder, and the hash to store."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    return f"{kind}{_encode(clinic_id.bytes + token_id.bytes)}_{_encode(secret)}", hash_secret(secret)


def parse_token(token: str) -> TokenParts:
    """Takes a token apart. Raises UnauthenticatedError for anything that is not one."""
    prefix, ids, secret = token[:4], _decode(token[4:47]), _decode(token[48:])
    if prefix not in _PREFIXES or token[47:48] != "_" or len(ids) != _IDS_BYTES or len(secret) != _SECRET_BYTES:
        raise UnauthenticatedError("This is not a Tidemark token.")
    return TokenParts(UUID(bytes=ids[:16]), UUID(bytes=ids[16:]), secret, TokenKind(prefix))


def hash_secret(secret: bytes) -> bytes:
    """No slow hash: the secret is 256 random bits, there is nothing to guess."""
    return hashlib.sha256(secret).digest()


def require(actor: Actor, permission: Permission) -> None:
    """Raises ForbiddenError when the actor's role may never do this."""
    if actor.role not in ROLES_ALLOWED[permission]:
        raise ForbiddenError(f"The role {actor.role} may not do this.")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
