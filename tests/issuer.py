"""An identity provider of the tests: keys of its own, and tokens as it signs them, sound or not."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.services.issuers import Issuer, issuer_of
from app.settings import Settings

NAME: Final = "https://login.clinic.example/realms/staff"
AUDIENCE: Final = "https://tidemark.clinic.example"
_MAKERS: Final = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
    "PS256": lambda: rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class SigningKey:
    """One pair of keys, under the id that tokens call it by."""

    kid: str = "key-1"
    algorithm: str = "RS256"
    private: Any = field(default=None)

    def __post_init__(self) -> None:
        self.private = self.private or _MAKERS[self.algorithm]()

    @property
    def public(self) -> dict[str, str]:
        """As a key set shows it."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        shown: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return {name: shown[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in shown} | named

    @property
    def pem(self) -> bytes:
        return bytes(self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A header of None leaves the field out. By hand, because a library refuses to write most forgeries."""
        named = {"alg": self.algorithm, "kid": self.kid, "typ": "at+jwt"} | header
        head = {name: value for name, value in named.items() if value is not None}
        signed = f"{written(head)}.{written(claims)}"
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        return f"{signed}.{written(algorithm.sign(signed.encode(), self.private))}"


def claims_of(clinic_id: UUID | None = None, /, **changes: Any) -> dict[str, Any]:
    """Sound ones of a clinician; a change to None leaves the claim out."""
    now = int(time.time())
    sound = {
        "iss": NAME,
        "aud": AUDIENCE,
        "sub": "f:2b9d:jdoe",
        "iat": now,
        "exp": now + 300,
        "roles": ["offline_access", "tidemark-clinician"],
    }
    if clinic_id is not None:
        sound["clinic"] = str(clinic_id)
    return {name: value for name, value in (sound | changes).items() if value is not None}


def settings_of(settings: Settings, **changes: Any) -> Settings:
    named = {
        "oidc_issuer": NAME,
        "oidc_audience": AUDIENCE,
        "oidc_keys_url": "https://login.clinic.example/keys",
        "oidc_clinic_claim": "clinic",
    }
    return settings.model_copy(update=named | changes)


def issuer(**changes: Any) -> Issuer:
    found = issuer_of(settings_of(Settings(), **changes))
    assert found is not None
    return found


def written(value: Any) -> str:
    """One part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
