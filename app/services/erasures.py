"""Erasing a person: the one exception to "nothing is ever deleted". What deletes is a function of the database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor
from app.db import driver_connection
from app.errors import NotFoundError, StaleError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.erasures import ErasureGround
from app.services.locks import lock_patient
from app.services.pages import newest_first
from app.services.patients import get_patient_in_view
from app.services.versions import find_replayed
from app.tables import Erasure

# One statement looks at every table that can name a patient, some of them row by row.
_PATIENCE: Final = "SET LOCAL statement_timeout = '60s'"
_ERASE: Final = "SELECT erase_patient($1, $2, $3, $4, $5, $6)"


async def erase_patient(
    session: AsyncSession, actor: Actor, patient_id: UUID, ground: ErasureGround, based_on: int, key: str | None
) -> tuple[Erasure, bool]:
    """The certificate, and whether this was a repeat of an earlier call. Raises NotFoundError, StaleError."""
    erasure_id = new_id()
    asked = {"patient_id": str(patient_id), "ground": ground.value, "based_on": based_on}
    if known := await find_replayed(session, actor, "patient.erase", asked, key, erasure_id):
        return await get_erasure(session, actor, known), True
    await lock_patient(session, patient_id)
    patient = await get_patient_in_view(session, actor, patient_id)
    if patient.version != based_on:
        raise StaleError("The patient was changed since you read it. Read it again, then decide.")
    session.expunge_all()  # what was read of them must not be written back
    now, connection = datetime.now(UTC), await driver_connection(session)
    await erase_on(connection, patient_id, (erasure_id, now, actor.token_id, ground.value))
    record_event(session, actor, "patient.erase", at=now, subject_id=patient_id, resource_id=erasure_id)
    return await get_erasure(session, actor, erasure_id), False


async def erase_on(
    connection: asyncpg.Connection,
    patient_id: UUID,
    entry: tuple[UUID, datetime, UUID, str],
    replayed_at: datetime | None = None,
) -> None:
    """Everything of the patient, with its row in the ledger. The caller holds the patient's lock.

    Raises UnavailableError, by way of the session, while somebody who does not need that lock writes about them.
    """
    await connection.execute(_PATIENCE)
    await connection.execute(_ERASE, patient_id, *entry, replayed_at)


async def get_erasure(session: AsyncSession, actor: Actor, erasure_id: UUID) -> Erasure:
    found = await session.get(Erasure, (actor.clinic_id, erasure_id))
    if found is None:
        raise NotFoundError("There is no such erasure.")
    return found


async def find_erasures(
    session: AsyncSession, actor: Actor, patient_id: UUID | None, page: PageRequest
) -> Sequence[Erasure]:
    """Newest first; one row more than the page holds, if there is one."""
    query = select(Erasure).where(Erasure.clinic_id == actor.clinic_id)
    if patient_id is not None:
        query = query.where(Erasure.patient_id == patient_id)
    return await newest_first(session, query, Erasure.erased_at, Erasure.id, page)
