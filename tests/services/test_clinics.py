"""Clinics and tokens as an installation begins."""

from uuid import uuid4

import httpx2
import pytest

from app import deps
from app.auth import TOKEN_ROLES, Role, parse_token
from app.db import Database
from app.errors import InvalidError, NotFoundError, UnauthenticatedError
from app.services import clinics, tokens
from app.tables import Clinic

pytestmark = pytest.mark.anyio


async def test_a_clinic_has_a_known_time_zone_and_a_name(database: Database) -> None:
    """What cannot be understood later is refused now."""
    for name, zone in (("Clinic", "Mars/Olympus"), ("Clinic", ""), ("  ", "UTC")):
        with pytest.raises(InvalidError):
            await clinics.record_clinic(database, name, zone)


async def test_a_token_needs_its_clinic(database: Database) -> None:
    """A mistyped clinic id is said, not stored."""
    with pytest.raises(NotFoundError):
        await clinics.record_token(database, uuid4(), Role.ADMIN)


@pytest.mark.parametrize("role", sorted(set(Role) - set(TOKEN_ROLES)))
async def test_no_token_is_made_by_hand_of_what_links_and_devices_are_given(
    database: Database, clinic: Clinic, role: Role
) -> None:
    """They are bound to a patient and end in other ways: one made by hand would be neither."""
    with pytest.raises(InvalidError) as refused:
        await clinics.record_token(database, clinic.clinic_id, role)
    assert "not_a_role_of_tokens" in [fault.code for fault in refused.value.faults]
    assert await clinics.find_tokens(database, clinic.clinic_id) == []


async def test_the_holder_of_a_token_is_found(database: Database, clinic: Clinic) -> None:
    """Clinic and role come from the stored row."""
    token, text = await clinics.record_token(database, clinic.clinic_id, Role.SERVICE)
    actor = await tokens.get_actor(database, parse_token(text))
    assert (actor.clinic_id, actor.token_id, actor.role) == (clinic.clinic_id, token.id, Role.SERVICE)


async def test_unknown_expired_and_revoked_tokens_answer_alike(database: Database, clinic: Clinic) -> None:
    """Nobody learns which it was."""
    _, expired = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN, expires_in_days=-1)
    token, revoked = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    await clinics.revoke_token(database, clinic.clinic_id, token.id)
    forged = parse_token(revoked)
    _, other_secret = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    words = set()
    for parts in (
        parse_token(expired),
        forged,
        parse_token(f"{expired[:47]}_{other_secret[48:]}"),
    ):
        with pytest.raises(UnauthenticatedError) as refusal:
            await tokens.get_actor(database, parts)
        words.add(refusal.value.detail)
    assert len(words) == 1


async def test_a_revoked_token_is_refused_within_a_second(
    database: Database, clinic: Clinic, anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of verified tokens forgets; time is moved, not waited for."""
    now = 1_000.0
    monkeypatch.setattr("app.deps.time.monotonic", lambda: now)
    token, text = await clinics.record_token(database, clinic.clinic_id, Role.CLINICIAN)
    header = {"Authorization": f"Bearer {text}"}
    assert (await anonymous.get("/v1/patients", headers=header)).status_code == 200
    await clinics.revoke_token(database, clinic.clinic_id, token.id)
    await clinics.revoke_token(database, clinic.clinic_id, token.id)
    now += deps.TOKEN_CACHE_SECONDS
    assert (await anonymous.get("/v1/patients", headers=header)).status_code == 401
    with pytest.raises(NotFoundError):
        await clinics.revoke_token(database, clinic.clinic_id, uuid4())


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer nonsense", "bearer tmk_x_y"])
async def test_other_authorizations_are_refused(anonymous: httpx2.AsyncClient, header: str) -> None:
    """401 for everything that is not a token of ours."""
    answer = await anonymous.get("/v1/patients", headers={"Authorization": header})
    assert answer.status_code == 401
