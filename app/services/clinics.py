"""Clinics and their tokens: how an installation begins. Called by the command line."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlmodel import col, select

from app.auth import Actor, Role
from app.db import Database, driver_connection
from app.errors import Fault, InvalidError, NotFoundError
from app.ids import new_id
from app.services.api_tokens import faults_of_token, make_token
from app.services.data_keys import get_clinic_key, get_token_key
from app.services.operators import OPERATOR_PRINCIPAL
from app.services.time_zones import zone_faults
from app.services.versions import refuse
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
    scopes: Sequence[str] | None = None,
) -> tuple[ApiToken, str]:
    """The stored token and, this once, the text its holder uses. A patient's token names the patient, no other does."""
    refuse(faults_of_token(role, patient_id, scopes))
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    async with database.session(clinic_id) as session:
        if (await session.exec(select(Clinic).where(Clinic.clinic_id == clinic_id))).first() is None:
            raise NotFoundError("There is no such clinic.")
        if patient_id is not None and await session.get(Patient, (clinic_id, patient_id)) is None:
            raise NotFoundError("There is no such patient.")
        token, text = make_token(
            Actor(clinic_id, OPERATOR_PRINCIPAL, Role.ADMIN),
            new_id(),
            role,
            patient_id,
            label,
            scopes,
            expires_at=expires_at,
            token_key=await get_token_key(await driver_connection(session), database.keys, clinic_id),
        )
        session.add(token)
    return token, text


async def find_tokens(database: Database, clinic_id: UUID) -> Sequence[ApiToken]:
    """Newest first. Raises NotFoundError for a clinic that is none."""
    async with database.session(clinic_id) as session:
        if await session.get(Clinic, clinic_id) is None:
            raise NotFoundError("There is no such clinic.")
        query = select(ApiToken).where(ApiToken.clinic_id == clinic_id)
        return (await session.exec(query.order_by(col(ApiToken.created_at).desc(), col(ApiToken.id).desc()))).all()


async def revoke_token(database: Database, clinic_id: UUID, token_id: UUID) -> None:
    """Refused by every worker within a second. Revoking twice is no error."""
    async with database.session(clinic_id) as session:
        token = await session.get(ApiToken, (clinic_id, token_id))
        if token is None:
            raise NotFoundError("There is no such token.")
        token.revoked_at = token.revoked_at or datetime.now(UTC)
