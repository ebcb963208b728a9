"""Who is calling, and what each role may do.

A token is `tmk_<clinic id and token id>_<secret>`; other beginnings say what else it is. It names its clinic so that
even the look-up of the token runs under that clinic's row-level security; of the 256-bit secret only a hash keyed by
the clinic is stored. The code of an enrolment, `tme_<clinic id>_<code>`, is short because a person types it: it lives
for hours, and stands a few wrong tries.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.crypto import keyed_hash
from app.errors import ForbiddenError, UnauthenticatedError

_SECRET_BYTES: Final = 32
_IDS_BYTES: Final = 32  # two UUIDs
_HALF_CODE_BYTES: Final = 5  # eight letters that find it, eight that prove it
_UUID: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_CODE: Final = re.compile(rf"tme_({_UUID})_([0-9A-Za-z-]{{16,32}})")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without letters that look like another, and without U
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_CROCKFORD: Final = str.maketrans(_BASE32, _CROCKFORD)
_FROM_CROCKFORD: Final = str.maketrans(_CROCKFORD + "OILU", _BASE32 + "ABB!")


class TokenKind(StrEnum):
    """What a token is, told by its first letters: so neither can be looked up as the other."""

    API = "tmk_"
    LINK = "tml_"
    CODE = "tme_"
    ACCESS = "tma_"
    REFRESH = "tmr_"


_PREFIXES: Final = frozenset(TokenKind)


class Role(StrEnum):
    ADMIN = "admin"
    CLINICIAN = "clinician"
    SERVICE = "service"
    RESEARCHER = "researcher"
    PATIENT = "patient"  # one person, who sees nothing but their own
    LINK = "link"  # the bearer of a check-in link: answers what is due to one person, reads nothing back
    CODE = "enrolment-code"  # may be exchanged for tokens of one patient's device
    REFRESH = "refresh-token"  # renews or ends those, and does nothing else


TOKEN_ROLES: Final = (Role.ADMIN, Role.CLINICIAN, Role.SERVICE, Role.RESEARCHER, Role.PATIENT)  # of tokens made by hand


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
    READ_ENROLMENTS = "enrolments:read"
    WRITE_ENROLMENTS = "enrolments:write"
    REDEEM_CODE = "enrolments:redeem"
    RENEW_TOKENS = "tokens:renew"
    READ_WEBHOOKS = "webhooks:read"
    WRITE_WEBHOOKS = "webhooks:write"
    READ_TOKENS = "tokens:read"
    WRITE_TOKENS = "tokens:write"
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
    READ_RELEASES = "releases:read"
    REQUEST_RELEASES = "releases:request"
    DECIDE_RELEASES = "releases:decide"


_CARE: Final = frozenset({Role.ADMIN, Role.CLINICIAN, Role.SERVICE})
SEES_PATIENTS: Final = _CARE  # all other roles see one, or none
_STAFF: Final = frozenset({Role.ADMIN, Role.CLINICIAN})
_ADMIN: Final = frozenset({Role.ADMIN})
_RESEARCH: Final = frozenset({Role.ADMIN, Role.RESEARCHER})
_CARE_AND_SELF: Final = _CARE | {Role.PATIENT}
ROLES_ALLOWED: Final[dict[Permission, frozenset[Role]]] = {
    Permission.READ_INSTRUMENTS: frozenset(TOKEN_ROLES),
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
    Permission.READ_ENROLMENTS: _CARE,
    Permission.WRITE_ENROLMENTS: _STAFF,  # no program: who may enrol can act as any patient
    Permission.REDEEM_CODE: frozenset({Role.CODE}),
    Permission.RENEW_TOKENS: frozenset({Role.REFRESH}),
    Permission.READ_WEBHOOKS: _ADMIN,
    Permission.WRITE_WEBHOOKS: _ADMIN,
    Permission.READ_TOKENS: _ADMIN,
    Permission.WRITE_TOKENS: _ADMIN,
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
    Permission.READ_RELEASES: _RESEARCH,
    Permission.REQUEST_RELEASES: _RESEARCH,
    Permission.DECIDE_RELEASES: _ADMIN,
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
    token_id: UUID  # of a patient's device: the enrolment that let it in, whatever token it shows
    role: Role
    patient_id: UUID | None = None
    hidden: frozenset[UUID] | None = None  # restricted patients of other care teams; None: nobody has looked
    emergencies: tuple[tuple[UUID, UUID], ...] = ()  # restricted patients in view all the same, each with the access
    origin: Origin = NOWHERE
    scopes: frozenset[str] | None = None  # of what the role may, no more than these; None: all

    @property
    def sees_patients(self) -> bool:
        """All of the clinic's but the hidden ones. A clinician of whom nobody has asked which these are sees none."""
        return self.role in SEES_PATIENTS and not (self.role is Role.CLINICIAN and self.hidden is None)

    def sees(self, patient_id: UUID) -> bool:
        """Whether this patient of the clinic is there for this caller. Postgres asks the same of each row."""
        return patient_id not in (self.hidden or ()) if self.sees_patients else patient_id == self.patient_id

    def emergency_about(self, *patient_ids: UUID | None) -> UUID | None:
        """The emergency access by which this caller sees one of these patients, if it is by one."""
        return next((access for patient, access in self.emergencies if patient in patient_ids), None)


@dataclass(frozen=True, slots=True)
class TokenParts:
    """A presented token taken apart; nothing is proven yet."""

    clinic_id: UUID
    token_id: UUID  # of a link: the link's id; of a code: its first half
    secret: bytes
    kind: TokenKind

    def hashed(self, key: bytes) -> bytes:
        """What is stored. No slow hash: the secret is 256 random bits, there is nothing to guess.

        Of its id and kind, too: who can write rows but lacks the key makes no row that a secret of theirs would fit.
        """
        return keyed_hash(key, self.kind.encode() + self.token_id.bytes + hashlib.sha256(self.secret).digest())

    def matches(self, secret_hash: bytes, key: bytes) -> bool:
        return hmac.compare_digest(self.hashed(key), secret_hash)


def new_token(clinic_id: UUID, token_id: UUID, kind: TokenKind = TokenKind.API) -> tuple[str, TokenParts]:
    """A fresh token for its holder, and its parts, of which a hash is stored."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    text = f"{kind}{_encode(clinic_id.bytes + token_id.bytes)}_{_encode(secret)}"
    return text, TokenParts(clinic_id, token_id, secret, kind)


def new_code(clinic_id: UUID) -> tuple[str, str, TokenParts]:
    """A fresh code as a person types it, as the token a program sends, and its parts. The first half finds it."""
    raw = secrets.token_bytes(2 * _HALF_CODE_BYTES)
    letters = base64.b32encode(raw).decode().translate(_TO_CROCKFORD)
    code = "-".join(letters[place : place + 4] for place in range(0, len(letters), 4))
    return code, f"{TokenKind.CODE}{clinic_id}_{code}", _parts_of_code(clinic_id, raw)


def _parse_code(token: str) -> TokenParts:
    """As forgiving as the alphabet is meant to be: small letters, O for 0, I and L for 1, with or without hyphens."""
    if (found := _CODE.fullmatch(token)) is None:
        raise _no_token()
    letters = found[2].replace("-", "").upper().translate(_FROM_CROCKFORD)
    try:
        return _parts_of_code(UUID(found[1]), base64.b32decode(letters))
    except binascii.Error:
        raise _no_token() from None


def _parts_of_code(clinic_id: UUID, raw: bytes) -> TokenParts:
    if len(raw) != 2 * _HALF_CODE_BYTES:
        raise _no_token()
    code_id = UUID(int=int.from_bytes(raw[:_HALF_CODE_BYTES], "big"))
    return TokenParts(clinic_id, code_id, raw[_HALF_CODE_BYTES:], TokenKind.CODE)


def parse_token(token: str) -> TokenParts:
    """Takes a token apart. Raises UnauthenticatedError for anything that is not one."""
    if token.startswith(TokenKind.CODE):
        return _parse_code(token)
    prefix, ids, secret = token[:4], _decode(token[4:47]), _decode(token[48:])
    if prefix not in _PREFIXES or token[47:48] != "_" or len(ids) != _IDS_BYTES or len(secret) != _SECRET_BYTES:
        raise _no_token()
    return TokenParts(UUID(bytes=ids[:16]), UUID(bytes=ids[16:]), secret, TokenKind(prefix))


def _no_token() -> UnauthenticatedError:
    return UnauthenticatedError("This is not a Tidemark token.")


def powers(role: Role, scopes: Collection[str] | None = None) -> frozenset[Permission]:
    """What a token of this role may do, of the scopes named alone if there are any."""
    return frozenset(
        permission
        for permission, roles in ROLES_ALLOWED.items()
        if role in roles and (scopes is None or permission in scopes)
    )


def require(actor: Actor, permission: Permission) -> None:
    """Raises ForbiddenError when the actor's role may never do this, or its token leaves it out."""
    if actor.role not in ROLES_ALLOWED[permission]:
        raise ForbiddenError(f"The role {actor.role} may not do this.")
    if actor.scopes is not None and permission not in actor.scopes:
        raise ForbiddenError(f"This token lacks the scope {permission}.")


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
