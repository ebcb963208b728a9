"""Tokens of an issuer: the sound one is taken, and every known forgery is refused in the same words."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from app.auth import Role
from app.errors import ForbiddenError, InvalidError, UnauthenticatedError
from app.services.issuers import (
    MAX_LIFETIME_SECONDS,
    MAX_TOKEN_CHARS,
    Key,
    clinic_and_role,
    issuer_of,
    key_id_of,
    proven_claims,
    sound_keys,
)
from app.settings import Settings
from tests.issuer import NAME, SigningKey, claims_of, issuer, settings_of, written

OURS = issuer()


def short_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505  # to be refused


KEY = SigningKey()
OTHER = SigningKey("key-2")
SMALL = SigningKey("key-small", private=short_key())
KEYS: dict[str, Key] = {key.kid: key.public for key in (KEY, OTHER, SMALL)}


def read(token: str, **changes: Any) -> dict[str, Any]:
    """As a process reads it that knows these keys."""
    ours = issuer(**changes) if changes else OURS
    key = KEYS.get(key_id_of(token, ours))
    if key is None:
        raise UnauthenticatedError("The token is unknown, expired or revoked.")
    return dict(proven_claims(token, ours, key))


# --- What is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+jwt", "AT+JWT"])
def test_a_sound_token_is_taken(kind: str) -> None:
    """As issuers of before and after RFC 9068 write it."""
    claims = claims_of()
    assert read(KEY.sign(claims, typ=kind)) == claims


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_algorithm_works_where_it_is_allowed_and_nowhere_else(algorithm: str) -> None:
    """A key proves by its own algorithm alone."""
    key, ours = SigningKey("key-a", algorithm), issuer(oidc_algorithms=f"{algorithm}")
    token, claims = key.sign(claims_of()), claims_of()
    assert proven_claims(token, ours, key.public)["sub"] == claims["sub"]
    with pytest.raises(UnauthenticatedError):
        key_id_of(token, issuer(oidc_algorithms="PS256" if algorithm == "RS256" else "RS256"))
    without_alg = {name: value for name, value in key.public.items() if name != "alg"}
    assert proven_claims(token, ours, without_alg)["sub"] == claims["sub"]


def test_a_key_proves_by_no_other_algorithm_that_is_allowed_too() -> None:
    """Neither by another kind of key's, nor by the second that RSA knows where the issuer names the first."""
    ours = issuer(oidc_algorithms="RS256,PS256,ES256")
    by_another = [SigningKey(KEY.kid, "PS256", KEY.private), SigningKey(KEY.kid, "ES256")]
    for key in by_another:
        with pytest.raises(UnauthenticatedError):
            proven_claims(key.sign(claims_of()), ours, KEY.public)
        assert proven_claims(key.sign(claims_of()), ours, key.public)["iss"] == NAME


def test_clocks_may_differ_a_little() -> None:
    """By half a minute in each direction."""
    now = int(time.time())
    assert read(KEY.sign(claims_of(iat=now - 100, exp=now - 20)))
    assert read(KEY.sign(claims_of(iat=now + 20, nbf=now + 20)))


# --- What is refused --------------------------------------------------------------------------------------------------


def unsigned(**header: Any) -> str:
    return f"{written({'alg': 'none', 'typ': 'at+jwt', 'kid': KEY.kid} | header)}.{written(claims_of())}."


def shared_secret(secret: bytes) -> str:
    """Signed with what everybody can read, as if it were a secret."""
    head = f"{written({'alg': 'HS256', 'typ': 'at+jwt', 'kid': KEY.kid})}.{written(claims_of())}"
    return f"{head}.{written(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def altered(place: int) -> str:
    parts = KEY.sign(claims_of()).split(".")
    head = {"alg": "RS256", "typ": "at+jwt", "kid": KEY.kid, "x": 1}
    parts[place] = written(claims_of(sub="x") if place else head)
    return ".".join(parts)


def cut(length: int) -> str:
    return KEY.sign(claims_of())[:-length]


def at(**offsets: int) -> str:
    now = int(time.time())
    return KEY.sign(claims_of(**{name: now + offset for name, offset in offsets.items()}))


def lacking(claim: str) -> str:
    return KEY.sign(claims_of(**{claim: None}))


def header(**fields: Any) -> str:
    return KEY.sign(claims_of(), **fields)


def claiming(**claims: Any) -> str:
    return KEY.sign(claims_of(**claims))


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": unsigned,
    "alg None": lambda: unsigned(alg="None"),
    "alg missing": lambda: unsigned(alg=None),
    "alg a list": lambda: unsigned(alg=["RS256"]),
    "unsigned RS256": lambda: unsigned(alg="RS256"),
    "HS256 with the public key": lambda: shared_secret(KEY.pem),
    "HS256 with the modulus": lambda: shared_secret(KEY.public["n"].encode()),
    "HS256 with nothing": lambda: shared_secret(b""),
    "another algorithm of the same key": lambda: SigningKey(KEY.kid, "PS256", KEY.private).sign(claims_of()),
    "another key under this id": lambda: SigningKey(KEY.kid).sign(claims_of()),
    "this key under another's id": lambda: KEY.sign(claims_of(), kid=OTHER.kid),
    "an unknown id": lambda: header(kid="nobody's"),
    "no id": lambda: header(kid=None),
    "an empty id": lambda: header(kid=""),
    "a path for an id": lambda: header(kid="../../dev/null"),
    "SQL for an id": lambda: header(kid="' OR true --"),
    "a long id": lambda: header(kid="k" * 201),
    "a short RSA key": lambda: SMALL.sign(claims_of()),
    "crit": lambda: header(crit=["exp"], exp=1),
    "unknown crit": lambda: header(crit=["https://enemy.example/x"], **{"https://enemy.example/x": True}),
    "empty crit": lambda: header(crit=[]),
    "b64": lambda: header(b64=True),
    "no typ": lambda: header(typ=None),
    "typ of something else": lambda: header(typ="dpop+jwt"),
    "typ of a number": lambda: header(typ=1),
    "jwk in the header": lambda: SigningKey("evil").sign(claims_of(), jwk=SigningKey("evil").public),
    "jku in the header": lambda: SigningKey("evil").sign(claims_of(), jku="https://enemy.example/keys"),
    "x5u in the header": lambda: SigningKey("evil").sign(claims_of(), x5u="https://enemy.example/cert"),
    "jku beside a known id": lambda: SigningKey(KEY.kid).sign(claims_of(), jku="https://enemy.example/keys"),
    "altered header": lambda: altered(0),
    "altered claims": lambda: altered(1),
    "one byte short": lambda: cut(1),
    "no signature": lambda: cut(342),
    "two parts": lambda: ".".join(KEY.sign(claims_of()).split(".")[:2]),
    "four parts": lambda: KEY.sign(claims_of()) + ".x",
    "five parts": lambda: KEY.sign(claims_of()) + ".x.y",
    "dots": lambda: "...",
    "huge": lambda: claiming(padding="x" * MAX_TOKEN_CHARS),
    "deep": lambda: f"{written(b'[' * 3_000)}.{written(claims_of())}.x",
    "claims that are a list": lambda: f"{KEY.sign({}).split('.')[0]}.{written([1])}.x",
    "expired": lambda: at(iat=-400, exp=-60),
    "not yet valid": lambda: at(nbf=60),
    "issued in the future": lambda: at(iat=60, exp=300),
    "valid for too long": lambda: at(exp=MAX_LIFETIME_SECONDS + 1),
    "ends before it begins": lambda: at(iat=20, exp=10),
    "exp a text": lambda: claiming(exp=str(int(time.time()) + 300)),
    "exp infinite": lambda: claiming(exp=float("inf")),
    "exp no number": lambda: claiming(exp=float("nan")),
    "iat no number": lambda: claiming(iat=float("nan")),
    "iat true": lambda: claiming(iat=True),
    "another audience": lambda: claiming(aud="https://other.example"),
    "no audience of ours in the list": lambda: claiming(aud=["a", "b"]),
    "an audience that begins like ours": lambda: claiming(aud="https://tidemark.clinic.example.enemy.example"),
    "an audience that is an object": lambda: claiming(aud={"https://tidemark.clinic.example": 1}),
    "another issuer": lambda: claiming(iss="https://enemy.example"),
    "our issuer with a slash": lambda: claiming(iss=NAME + "/"),
    "an issuer that is a list": lambda: claiming(iss=[NAME]),
    "a subject that is a number": lambda: claiming(sub=7),
    "an empty subject": lambda: claiming(sub=""),
    "a long subject": lambda: claiming(sub="s" * 256),
    "NUL in the subject": lambda: claiming(sub="a\0b"),
    "half a character in the subject": lambda: claiming(sub="\ud800"),
    **{f"no {claim}": (lambda claim=claim: lacking(claim)) for claim in ("exp", "iat", "sub", "iss", "aud")},  # type: ignore[misc]
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_refused_in_the_same_words(forgery: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(UnauthenticatedError) as refused:
        read(FORGERIES[forgery]())
    assert refused.value.detail == "The token is unknown, expired or revoked."


@given(st.text(max_size=300))
def test_nothing_else_is_raised_by_any_text(text: str) -> None:
    """Neither by what is no token at all, nor by noise in one."""
    head, _, rest = KEY.sign(claims_of()).partition(".")
    for token in (text, f"{text}.a.b", f"{head}.{text}", f"{head}.{text}.{rest.rpartition('.')[2]}"):
        with pytest.raises(UnauthenticatedError):
            read(token)


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_only_public_keys_that_prove_are_kept() -> None:
    """No shared secret, no private part, no key for something else; of two of one id the first."""
    curve = SigningKey("key-e", "ES256")
    other = ec.generate_private_key(ec.SECP384R1())
    listed = [
        KEY.public | {"d": "private", "x5c": "ignored"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        OTHER.public | {"use": "enc"},
        OTHER.public | {"kid": ""},
        OTHER.public | {"kid": 7},
        {"kid": "none"},
        "no key",
        SigningKey("key-384", "ES256", other).public | {"crv": "P-384"},
        curve.public,
        OTHER.public | {"kid": KEY.kid},
    ]
    kept = sound_keys(written_out({"keys": listed}))
    assert sorted(kept, key=lambda key: key["kid"]) == [KEY.public, curve.public]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_holds_no_keys(document: bytes) -> None:
    """And breaks nothing."""
    assert sound_keys(document) == []


def written_out(value: Any) -> bytes:
    return json.dumps(value).encode()


# --- Clinic and role --------------------------------------------------------------------------------------------------


def test_claims_name_clinic_and_role() -> None:
    """As a list, as a text, further in, or under a name with dots; the first of the operator's list counts."""
    clinic_id = uuid4()
    deep = {"oidc_role_claim": "realm_access.roles", "oidc_roles": "a=b=service"}
    url = {"oidc_role_claim": "https://x.example/roles", "oidc_roles": "r=researcher"}
    cases: list[tuple[dict[str, Any], dict[str, Any], Role]] = [
        ({}, {}, Role.CLINICIAN),
        ({"roles": "tidemark-admin"}, {}, Role.ADMIN),
        ({"roles": ["tidemark-clinician", "tidemark-admin"]}, {}, Role.ADMIN),
        ({"realm_access": {"roles": ["a=b"]}}, deep, Role.SERVICE),
        ({"https://x.example/roles": ["r"]}, url, Role.RESEARCHER),
    ]
    for claims, changes, role in cases:
        assert clinic_and_role(claims_of(clinic_id, **claims), issuer(**changes)) == (clinic_id, role)
    fixed = issuer(oidc_clinic_id=clinic_id, oidc_clinic_claim=None)
    assert clinic_and_role(claims_of(uuid4()), fixed) == (clinic_id, Role.CLINICIAN)


def test_strangers_are_told_so() -> None:
    """Known to the issuer, expected by nobody: no role, or no clinic."""
    roles: list[Any] = [None, [], "nurse", ["Tidemark-Clinician"], 7, {"tidemark-admin": 1}, [["tidemark-admin"]]]
    clinics: list[Any] = [None, "", "clinic", 7, ["x"]]
    for claims in [{"roles": one} for one in roles] + [{"clinic": one} for one in clinics]:
        with pytest.raises(ForbiddenError):
            clinic_and_role(claims_of(uuid4()) | claims, OURS)


def test_a_person_has_one_id() -> None:
    """Of one issuer and one subject; of two issuers two people."""
    assert OURS.principal_id("a") == issuer().principal_id("a") != OURS.principal_id("b")
    assert OURS.principal_id("a") != issuer(oidc_issuer="https://other.example").principal_id("a")
    assert isinstance(OURS.principal_id("a"), UUID)


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"oidc_audience": None}, "TIDEMARK_OIDC_AUDIENCE"),
        ({"oidc_keys_url": None}, "TIDEMARK_OIDC_KEYS_URL"),
        ({"oidc_keys_url": "http://login.clinic.example/keys"}, "https://"),
        ({"oidc_clinic_claim": None}, "TIDEMARK_OIDC_CLINIC_ID"),
        ({"oidc_clinic_id": uuid4()}, "not both"),
        ({"oidc_algorithms": "HS256"}, "RS256, PS256, ES256, EdDSA"),
        ({"oidc_algorithms": "RS256,none"}, "no others"),
        ({"oidc_algorithms": ""}, "no others"),
        ({"oidc_roles": "nurse"}, "theirs=ours"),
        ({"oidc_roles": "nurse=patient"}, "theirs=ours"),
        ({"oidc_roles": "=admin"}, "theirs=ours"),
        ({"oidc_roles": ""}, "theirs=ours"),
    ],
)
def test_half_a_setting_stops_the_service(changes: dict[str, Any], says: str) -> None:
    """At its start, saying which: it would let in nobody, or somebody else."""
    with pytest.raises(InvalidError, match=says):
        issuer_of(settings_of(Settings(), **changes))


def test_without_an_issuer_nobodys_tokens_are_taken() -> None:
    """Which is how it comes."""
    assert issuer_of(Settings()) is None
