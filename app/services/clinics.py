"""Clinics and their tokens: how an installation begins. Called by the command line."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlmodel import select

from app.auth import Role, hash_secret, new_token
from app.db import Database, driver_connection
from app.errors import Fault, InvalidError, NotFoundError
from app.ids import new_id
from app.services.data_keys import get_clinic_key, get_token_key
from app.services.time_zones import zone_faults
from app.tables import ApiToken, Clinic, Patient


async def record_clinic(database: Database, name: str, time_zone: str) -> Clinic:
    if faults := tuple(zone_faults(time_zone)):
        raise InvalidError("There is no such time zone.", faults=faults)
    if not name.strip():
        raise InvalidError("A clinic needs a name.", faults=(Fault("/name", "string_too_short", "The text is empty."),))
    clinic = Clinic(clinic_id=new_id(), name=name.strip(), time_zone=time_zone, created_at=datetime.now(UTC))
    async with database.session(clinic.clinic_id) as session:
        session.add(clinic)
        await session.flush()
        await get_clinic_key(await driver_connection(session), database.keys, clinic.clinic_id)
    return clinic


async def record_token(
    database: Database,
    clinic_id: UUID,
    role: Role,
    label: str = "",
    expires_in_days: int | None = None,
    patient_id: UUID | None = None,
) -> tuple[ApiToken, str]:
    """The stored token and, this once, the text its holder uses. A patient's token names the patient, no other does."""
    if role is Role.LINK or (role is Role.PATIENT) != (patient_id is not None):
        raise InvalidError("A token of the role patient, and no other, names its patient.")
    now, token_id = datetime.now(UTC), new_id()
    text, secret = new_token(clinic_id, token_id)
    async with database.session(clinic_id) as session:
        if (await session.exec(select(Clinic).where(Clinic.clinic_id == clinic_id))).first() is None:
            raise NotFoundError("There is no such clinic.")
        if patient_id is not None and await session.get(Patient, (clinic_id, patient_id)) is None:
            raise NotFoundError("There is no such patient.")
        token = ApiToken(
            clinic_id=clinic_id,
            id=token_id,
            role=role,
            patient_id=patient_id,
            label=label,
            secret_hash=hash_secret(
                secret, await get_token_key(await driver_connection(session), database.keys, clinic_id)
            ),
            created_at=now,
            expires_at=None if expires_in_days is None else now + timedelta(days=expires_in_days),
            revoked_at=None,
        )
        session.add(token)
    return token, text


async def revoke_token(database: Database, clinic_id: UUID, token_id: UUID) -> None:
    """Refused by every worker within a second. Revoking twice is no error."""
    async with database.session(clinic_id) as session:
        token = await session.get(ApiToken, (clinic_id, token_id))
        if token is None:
            raise NotFoundError("There is no such token.")
        token.revoked_at = token.revoked_at or datetime.now(UTC)
