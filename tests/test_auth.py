"""Tokens: made, taken apart, and nothing else accepted."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import ROLES_ALLOWED, Actor, Permission, Role, TokenKind, hash_secret, new_token, parse_token, require
from app.errors import ForbiddenError, UnauthenticatedError

KEY, OTHER_KEY = bytes(32), bytes(31) + b"1"


def test_a_token_names_its_clinic_and_proves_its_secret() -> None:
    """What was made is what is found again; another secret does not match."""
    clinic_id, token_id = uuid4(), uuid4()
    text, secret = new_token(clinic_id, token_id)
    secret_hash = hash_secret(secret, KEY)
    parts = parse_token(text)
    assert (parts.clinic_id, parts.token_id) == (clinic_id, token_id)
    assert parts.matches(secret_hash, KEY)
    assert not parse_token(new_token(clinic_id, token_id)[0]).matches(secret_hash, KEY)
    assert not parts.matches(secret_hash, OTHER_KEY)


def test_a_token_says_what_it_is() -> None:
    """By its prefix alone: the rest of a link's token is made like any other's."""
    for kind, prefix in ((TokenKind.API, "tmk_"), (TokenKind.LINK, "tml_")):
        text, secret = new_token(uuid4(), uuid4(), kind)
        assert text.startswith(prefix)
        assert (parse_token(text).kind, parse_token(text).matches(hash_secret(secret, KEY), KEY)) == (kind, True)


def test_the_secret_is_not_in_what_is_stored() -> None:
    """A stolen table holds no usable token."""
    text, secret = new_token(uuid4(), uuid4())
    secret_hash = hash_secret(secret, KEY)
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
    text, secret = new_token(clinic_id, token_id)
    secret_hash = hash_secret(secret, KEY)
    damaged = text[:position] + character + text[position + 1 :]
    try:
        parts = parse_token(damaged)
    except UnauthenticatedError:
        return
    same_ids = (parts.clinic_id, parts.token_id) == (clinic_id, token_id)
    assert parts.matches(secret_hash, KEY) == (parts.secret == parse_token(text).secret)
    assert same_ids or parts.matches(secret_hash, KEY)


def test_every_permission_names_its_roles() -> None:
    """The table is whole, and a researcher reaches no patient."""
    assert set(ROLES_ALLOWED) == set(Permission)
    researcher = Actor(uuid4(), uuid4(), Role.RESEARCHER)
    for permission in Permission:
        if permission is not Permission.READ_INSTRUMENTS:
            with pytest.raises(ForbiddenError):
                require(researcher, permission)
