"""Who is calling, and what each role may do.

A token is `tmk_<clinic id and token id>_<secret>`, that of a check-in link begins with `tml_`. It names its clinic so
that even the look-up of the token runs under that clinic's row-level security; of the 256-bit secret only
a hash keyed by the clinic is stored.
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

from app.crypto import keyed_hash
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
    READ_CARE_TEAMS = "care-teams:read"
    WRITE_CARE_TEAMS = "care-teams:write"
    OPEN_EMERGENCY_ACCESS = "emergency-accesses:open"
    READ_EMERGENCY_ACCESSES = "emergency-accesses:read"
    END_EMERGENCY_ACCESS = "emergency-accesses:end"
    READ_AUDIT = "audit:read"
    READ_ACCESSES = "accesses:read"
    ERASE_PATIENTS = "patients:erase"
    READ_ERASURES = "erasures:read"
    READ_EVERYTHING = "everything:read"
    READ_CONSENTS = "consents:read"
    WRITE_CONSENTS = "consents:write"
    WITHDRAW_CONSENTS = "consents:withdraw"


_CARE: Final = frozenset({Role.ADMIN, Role.CLINICIAN, Role.SERVICE})
SEES_PATIENTS: Final = _CARE  # all other roles see one, or none
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
    Permission.READ_CARE_TEAMS: _ADMIN,
    Permission.WRITE_CARE_TEAMS: _ADMIN,
    Permission.OPEN_EMERGENCY_ACCESS: frozenset({Role.CLINICIAN}),
    Permission.READ_EMERGENCY_ACCESSES: _STAFF,
    Permission.END_EMERGENCY_ACCESS: _STAFF,
    Permission.READ_AUDIT: _ADMIN,
    Permission.READ_ACCESSES: _STAFF | {Role.PATIENT},
    Permission.ERASE_PATIENTS: _ADMIN,
    Permission.READ_ERASURES: _ADMIN,
    Permission.READ_EVERYTHING: _STAFF | {Role.PATIENT},
    Permission.READ_CONSENTS: _STAFF | {Role.PATIENT},
    Permission.WRITE_CONSENTS: _STAFF,
    Permission.WITHDRAW_CONSENTS: _STAFF | {Role.PATIENT},
}


class Purpose(StrEnum):
    """Why somebody looks or writes, as they say themselves: HL7's general purposes of use, spelt out."""

    TREATMENT = "treatment"
    PAYMENT = "payment"
    OPERATIONS = "operations"
    PATIENT_REQUEST = "patient_request"
    RESEARCH = "research"
    PUBLIC_HEALTH = "public_health"
    LEGAL = "legal"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from and why, for the trail; all None on the command line and in the worker."""

    address: str | None = None  # of an IPv6 household its network
    request_id: UUID | None = None
    purpose: Purpose | None = None


NOWHERE: Final = Origin()


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated caller; bound to one clinic, and to one patient where it is one or stands for one."""

    clinic_id: UUID
    token_id: UUID
    role: Role
    patient_id: UUID | None = None
    hidden: frozenset[UUID] = frozenset()  # restricted patients of other care teams
    emergencies: tuple[tuple[UUID, UUID], ...] = ()  # restricted patients in view all the same, each with the access
    origin: Origin = NOWHERE

    def sees(self, patient_id: UUID) -> bool:
        """Whether this patient of the clinic is there for this caller. Postgres asks the same of each row."""
        return patient_id not in self.hidden if self.role in SEES_PATIENTS else patient_id == self.patient_id

    def emergency_about(self, *patient_ids: UUID | None) -> UUID | None:
        """The emergency access by which this caller sees one of these patients, if it is by one."""
        return next((access for patient, access in self.emergencies if patient in patient_ids), None)


@dataclass(frozen=True, slots=True)
class TokenParts:
    """A presented token taken apart; nothing is proven yet."""

    clinic_id: UUID
    token_id: UUID  # of a link: the link's id
    secret: bytes
    kind: TokenKind

    def matches(self, secret_hash: bytes, key: bytes) -> bool:
        return hmac.compare_digest(hash_secret(self.secret, key), secret_hash)


def new_token(clinic_id: UUID, token_id: UUID, kind: TokenKind = TokenKind.API) -> tuple[str, bytes]:
    """A fresh token for its holder, and the secret in it, to be stored as a hash."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    return f"{kind}{_encode(clinic_id.bytes + token_id.bytes)}_{_encode(secret)}", secret


def parse_token(token: str) -> TokenParts:
    """Takes a token apart. Raises UnauthenticatedError for anything that is not one."""
    prefix, ids, secret = token[:4], _decode(token[4:47]), _decode(token[48:])
    if prefix not in _PREFIXES or token[47:48] != "_" or len(ids) != _IDS_BYTES or len(secret) != _SECRET_BYTES:
        raise UnauthenticatedError("This is not a Tidemark token.")
    return TokenParts(UUID(bytes=ids[:16]), UUID(bytes=ids[16:]), secret, TokenKind(prefix))


def hash_secret(secret: bytes, key: bytes) -> bytes:
    """No slow hash: the secret is 256 random bits, there is nothing to guess."""
    return keyed_hash(key, hashlib.sha256(secret).digest())


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
