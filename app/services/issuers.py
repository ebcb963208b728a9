"""Whom an identity provider vouches for: its tokens (JWT) read and proven, their claims turned into clinic and role."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import jwt

from app.auth import Role
from app.errors import ForbiddenError, InvalidError, UnauthenticatedError
from app.settings import Settings

MAX_TOKEN_CHARS: Final = 8_192
MAX_KEY_ID_CHARS: Final = 200
MAX_SUBJECT_CHARS: Final = 255  # OpenID Connect Core 1.0, section 2
MAX_KEYS: Final = 100
LEEWAY_SECONDS: Final = 30  # between the issuer's clock and ours
MAX_LIFETIME_SECONDS: Final = 7_200  # such a token cannot be revoked: this is how long a leaver stays
TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})  # RFC 9068, and what issuers of before it write
REQUIRED: Final = ("exp", "iat", "sub", "iss", "aud")
# Each algorithm with the kind of key it takes. Nothing with a shared secret is among them, and never shall be.
KEY_KINDS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
# A patient has no login with an issuer.
PERSON_ROLES: Final = (
    Role.ADMIN,
    Role.CLINICIAN,
    Role.SERVICE,
    Role.RESEARCHER,
)
_PUBLIC_MEMBERS: Final = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
_NAMESPACE: Final = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of URLs, RFC 9562

Key = Mapping[str, str]
# What a token made by an enemy can make the library raise, beside its own errors.
_UNREADABLE: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, KeyError)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken, and what their claims mean here."""

    name: str
    audience: str
    keys_url: str
    algorithms: frozenset[str]
    clinic_id: UUID | None  # of everybody; else the claim says it
    clinic_claim: str
    role_claim: str
    roles: Mapping[str, Role]  # theirs to ours, the first counts

    def principal_id(self, subject: str) -> UUID:
        """The same person has the same id for ever, on every worker, without a look-up."""
        return uuid5(uuid5(_NAMESPACE, self.name), subject)


# --- What the operator set --------------------------------------------------------------------------------------------


def issuer_of(settings: Settings) -> Issuer | None:
    """None where there is none. Raises InvalidError for settings that would let in nobody, or too many."""
    if settings.oidc_issuer is None:
        return None
    if not settings.oidc_audience or not settings.oidc_keys_url:
        raise InvalidError("With TIDEMARK_OIDC_ISSUER, set TIDEMARK_OIDC_AUDIENCE and TIDEMARK_OIDC_KEYS_URL.")
    if not settings.oidc_keys_url.startswith("https://"):
        raise InvalidError("TIDEMARK_OIDC_KEYS_URL has to begin with https://.")
    if (settings.oidc_clinic_id is None) == (not settings.oidc_clinic_claim):
        raise InvalidError("Set one of TIDEMARK_OIDC_CLINIC_ID and TIDEMARK_OIDC_CLINIC_CLAIM, and not both.")
    algorithms = frozenset(part.strip() for part in settings.oidc_algorithms.split(","))
    if not algorithms <= KEY_KINDS.keys():
        raise InvalidError(f"TIDEMARK_OIDC_ALGORITHMS takes {', '.join(KEY_KINDS)} and no others.")
    return Issuer(
        name=settings.oidc_issuer,
        audience=settings.oidc_audience,
        keys_url=settings.oidc_keys_url,
        algorithms=algorithms,
        clinic_id=settings.oidc_clinic_id,
        clinic_claim=settings.oidc_clinic_claim or "",
        role_claim=settings.oidc_role_claim,
        roles=dict(_roles(settings.oidc_roles)),
    )


def _roles(setting: str) -> Iterator[tuple[str, Role]]:
    for entry in setting.split(","):
        theirs, _, ours = (part.strip() for part in entry.rpartition("="))
        if not theirs or ours not in PERSON_ROLES:
            raise InvalidError(f"TIDEMARK_OIDC_ROLES is a list of theirs=ours; ours are {', '.join(PERSON_ROLES)}.")
        yield theirs, Role(ours)


# --- Keys -------------------------------------------------------------------------------------------------------------


def sound_keys(document: bytes) -> list[dict[str, str]]:
    """The public keys of a key set (RFC 7517) that tokens can be proven with, the first of each id. Else none."""
    try:
        listed = json.loads(document)["keys"]
        found = [key for key in listed[:MAX_KEYS] if _is_sound(key)]
    except _UNREADABLE:
        return []
    first = {key["kid"]: key for key in reversed(found)}
    return [{name: key[name] for name in _PUBLIC_MEMBERS if name in key} for key in first.values()]


def _is_sound(key: Any) -> bool:
    return (
        isinstance(key, dict)
        and all(isinstance(key[name], str) for name in _PUBLIC_MEMBERS if name in key)
        and 0 < len(key.get("kid", "")) <= MAX_KEY_ID_CHARS
        and (key.get("kty"), key.get("crv")) in KEY_KINDS.values()
        and key.get("use", "sig") == "sig"
    )


# --- Tokens -----------------------------------------------------------------------------------------------------------


def is_signed(token: str) -> bool:
    """Whether this has the shape of an issuer's token; none of ours has a dot."""
    return "." in token


def key_id_of(token: str, issuer: Issuer) -> str:
    """Which key it says it was signed with. Nothing else of its header is believed, and no other key is looked for."""
    return str(_header(token, issuer)["kid"])


def _header(token: str, issuer: Issuer) -> Mapping[str, Any]:
    if len(token) > MAX_TOKEN_CHARS:
        raise unknown_token()
    try:
        header: Mapping[str, Any] = jwt.get_unverified_header(token)
    except _UNREADABLE:
        raise unknown_token() from None
    named: list[Any] = [header.get(name) for name in ("alg", "kid", "typ")]
    alg, kid, kind = named
    is_sound = (
        all(isinstance(value, str) for value in named)
        and alg in issuer.algorithms
        and 0 < len(kid) <= MAX_KEY_ID_CHARS
        and kind.lower() in TYPES
        and "crit" not in header  # we know no extension, so each is one that we do not understand
        and "b64" not in header
    )
    if not is_sound:
        raise unknown_token()
    return header


def proven_claims(token: str, issuer: Issuer, key: Key) -> Mapping[str, Any]:
    """What the issuer says of the bearer. Raises UnauthenticatedError, with the same words whatever is wrong."""
    algorithm = str(_header(token, issuer)["alg"])
    if KEY_KINDS[algorithm] != (key["kty"], key.get("crv")) or key.get("alg", algorithm) != algorithm:
        raise unknown_token()
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK(dict(key), algorithm=algorithm),
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.name,
            leeway=LEEWAY_SECONDS,
            options={"require": list(REQUIRED), "enforce_minimum_key_length": True},
        )
        is_sound = _is_short(claims["iat"], claims["exp"]) and _is_name(claims["sub"])
    except _UNREADABLE:
        raise unknown_token() from None
    if not is_sound:
        raise unknown_token()
    return claims


def _is_name(subject: str) -> bool:
    return 0 < len(subject) <= MAX_SUBJECT_CHARS and subject.isascii() and subject.isprintable()


def _is_short(begin: Any, end: Any) -> bool:
    are_numbers = all(isinstance(time, (int, float)) and not isinstance(time, bool) for time in (begin, end))
    return are_numbers and 0 <= end - begin <= MAX_LIFETIME_SECONDS


def clinic_and_role(claims: Mapping[str, Any], issuer: Issuer) -> tuple[UUID, Role]:
    """Raises ForbiddenError for somebody whom the issuer knows and nobody here expects."""
    theirs = _claim(claims, issuer.role_claim)
    held = theirs if isinstance(theirs, list) else [theirs]
    role = next((ours for name, ours in issuer.roles.items() if name in held), None)
    clinic_id = issuer.clinic_id or _clinic_id(_claim(claims, issuer.clinic_claim))
    if role is None or clinic_id is None:
        raise stranger()
    return clinic_id, role


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this name, or what the dots of the name lead to."""
    if name in claims:
        return claims[name]
    outer, dot, inner = name.partition(".")
    within = claims.get(outer)
    return _claim(within, inner) if dot and isinstance(within, dict) else None


def _clinic_id(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def unknown_token() -> UnauthenticatedError:
    return UnauthenticatedError("The token is unknown, expired or revoked.")


def stranger() -> ForbiddenError:
    return ForbiddenError("Your login has no role in a clinic here. Ask who administers your logins to give it one.")
