"""The clinic's own numbers of its patients: found again, and told to its staff, though they are stored sealed."""

import json
from collections.abc import Collection
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.crypto import KeyRing, keyed_hash
from app.db import driver_connection, ring_of
from app.services.data_keys import find_keys_of, get_clinic_key
from app.services.sealing import open_text, place
from app.tables import Patient

_IDENTIFIERS: Final = """
SELECT id, identifiers FROM patient
WHERE clinic_id = $1 AND identifiers IS NOT NULL AND ($2::uuid[] IS NULL OR id = ANY($2))
"""


async def reference_index(session: AsyncSession, clinic_id: UUID, external_ref: str) -> bytes:
    """By which a reference is found again: the same for the same text of one clinic, and nothing without its key."""
    key = await get_clinic_key(await driver_connection(session), ring_of(session), clinic_id)
    return keyed_hash(key.derive("external_ref"), external_ref.encode())


async def find_patient_id(session: AsyncSession, clinic_id: UUID, external_ref: str) -> UUID | None:
    index = await reference_index(session, clinic_id, external_ref)
    query = select(Patient.id).where(Patient.clinic_id == clinic_id, Patient.ref_index == index)
    return (await session.exec(query)).first()


async def find_references(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, patient_ids: Collection[UUID] | None = None
) -> dict[UUID, str]:
    """Of these patients, or of all: some ten microseconds each. Who has no reference is left out."""
    wanted = None if patient_ids is None else list(patient_ids)
    rows = await connection.fetch(_IDENTIFIERS, clinic_id, wanted)
    keys = await find_keys_of(connection, ring, clinic_id, [row["id"] for row in rows])
    found = {}
    for row in rows:
        home = place("patient", "identifiers", clinic_id, row["id"])
        known = json.loads(open_text(keys[row["id"]], row["identifiers"], home))
        if "external_ref" in known:
            found[UUID(bytes=row["id"].bytes)] = known["external_ref"]
    return found
