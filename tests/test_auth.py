"""Tokens: made, taken apart, and nothing else accepted."""

import re
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import (
    ROLES_ALLOWED,
    Actor,
    Permission,
    Role,
    TokenKind,
    new_code,
    new_token,
    parse_token,
    require,
)
from app.errors import ForbiddenError, UnauthenticatedError

KEY, OTHER_KEY = bytes(32), bytes(31) + b"1"


def test_a_token_names_its_clinic_and_proves_its_secret() -> None:
    """What was made is what is found again; another secret does not match."""
    clinic_id, token_id = uuid4(), uuid4()
    text, made = new_token(clinic_id, token_id)
    secret_hash = made.hashed(KEY)
    parts = parse_token(text)
    assert (parts.clinic_id, parts.token_id) == (clinic_id, token_id)
    assert parts.matches(secret_hash, KEY)
    assert not parse_token(new_token(clinic_id, token_id)[0]).matches(secret_hash, KEY)
    assert not parts.matches(secret_hash, OTHER_KEY)


def test_a_token_says_what_it_is() -> None:
    """By its prefix alone: the rest of a link's token is made like any other's."""
    prefixes = {"API": "tmk_", "LINK": "tml_", "ACCESS": "tma_", "REFRESH": "tmr_"}
    for kind, prefix in ((TokenKind[name], prefix) for name, prefix in prefixes.items()):
        text, made = new_token(uuid4(), uuid4(), kind)
        assert text.startswith(prefix)
        assert (parse_token(text).kind, parse_token(text).matches(made.hashed(KEY), KEY)) == (kind, True)


def test_a_code_is_what_a_person_types() -> None:
    """Sixteen letters that nobody confuses; half finds it, half proves it."""
    clinic_id = uuid4()
    code, token, parts = new_code(clinic_id)
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code)
    assert (parts.clinic_id, parts.kind, len(parts.secret)) == (clinic_id, TokenKind.CODE, 5)
    assert parse_token(token) == parts
    assert parse_token(f"tme_{clinic_id}_{code.lower().replace('-', '')}") == parts
    assert parse_token(f"tme_{clinic_id}_OIL0-oil1-0000-0000") == parse_token(f"tme_{clinic_id}_0110-0111-0000-0000")


@given(st.binary(min_size=5, max_size=5), st.binary(min_size=5, max_size=5))
def test_two_codes_differ_in_what_they_find_or_prove(first: bytes, second: bytes) -> None:
    """Nothing of the letters is lost."""
    clinic_id = uuid4()
    texts = {f"tme_{clinic_id}_{crockford(half + second)}" for half in (first, second)}
    assert len({(parse_token(text).token_id, parse_token(text).secret) for text in texts}) == len(texts)


def crockford(raw: bytes) -> str:
    """As its inventor describes it: five bits to a letter, the highest first."""
    number = int.from_bytes(raw, "big")
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * place & 31] for place in range(15, -1, -1))


@pytest.mark.parametrize("code", ["", "0" * 15, "0" * 17, "U" * 16, "-" * 16, "0000-0000-0000-000!", "é" * 16])
def test_other_texts_are_no_codes(code: str) -> None:
    """Too short, too long, with letters that are none."""
    for clinic in (str(uuid4()), "clinic", ""):
        with pytest.raises(UnauthenticatedError):
            parse_token(f"tme_{clinic}_{code}")


def test_the_secret_is_not_in_what_is_stored() -> None:
    """A stolen table holds no usable token."""
    text, made = new_token(uuid4(), uuid4())
    secret_hash = made.hashed(KEY)
    assert parse_token(text).secret not in secret_hash
    assert len(parse_token(text).secret) == 32


@given(st.text(max_size=200))
def test_other_texts_are_no_tokens(text: str) -> None:
    """Refused as unauthenticated, whatever they are."""
    with pytest.raises(UnauthenticatedError):
        parse_token(text)


@given(st.integers(0, 90), st.characters())
def test_a_damaged_token_never_matches(position: int, character: str) -> None:
    """One changed character: no token, another token, or the very same bits; never this secret for another id."""
    clinic_id, token_id = uuid4(), uuid4()
    text, made = new_token(clinic_id, token_id)
    secret_hash = made.hashed(KEY)
    damaged = text[:position] + character + text[position + 1 :]
    try:
        parts = parse_token(damaged)
    except UnauthenticatedError:
        return
    proven = (parts.kind, parts.token_id, parts.secret) == (made.kind, made.token_id, made.secret)
    assert parts.matches(secret_hash, KEY) == proven  # the clinic is told apart by its key


@given(st.sampled_from(TokenKind), st.uuids())
def test_a_secret_proves_its_own_id_alone(kind: TokenKind, other_id: UUID) -> None:
    """A hash copied to another row, or to a table of other tokens, is of no use to who knows the secret."""
    _, made = new_token(uuid4(), uuid4())
    elsewhere = replace(made, kind=kind, token_id=other_id)
    assert not elsewhere.matches(made.hashed(KEY), KEY)


# Figures of many people, and what is known of nobody.
OF_RESEARCHERS = {
    Permission.READ_INSTRUMENTS,
    Permission.READ_COHORTS,
    Permission.READ_RELEASES,
    Permission.REQUEST_RELEASES,
}


def test_every_permission_names_its_roles() -> None:
    """The table is whole, and a researcher reaches no patient."""
    assert set(ROLES_ALLOWED) == set(Permission)
    researcher = Actor(uuid4(), uuid4(), Role.RESEARCHER)
    for permission in Permission:
        if permission not in OF_RESEARCHERS:
            with pytest.raises(ForbiddenError):
                require(researcher, permission)
