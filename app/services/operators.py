"""Whoever runs the command line on the machine: looks at one clinic as its staff does, by the same services."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from app.auth import Actor, Role
from app.db import Database
from app.errors import NotFoundError
from app.services import references

OPERATOR_PRINCIPAL: Final = UUID("00000000-0000-8000-8000-000000000002")  # no token: the login to the database is proof

_CLINIC_EXISTS: Final = "SELECT EXISTS (SELECT FROM clinic WHERE clinic_id = $1)"


async def get_operator(database: Database, clinic_id: UUID) -> Actor:
    """Raises NotFoundError, so that a mistyped clinic is not told as one where nothing is to be done."""
    async with database.connection(clinic_id) as connection:
        if not await connection.fetchval(_CLINIC_EXISTS, clinic_id):
            raise NotFoundError("There is no such clinic.")
    return Actor(clinic_id, OPERATOR_PRINCIPAL, Role.ADMIN)


async def find_references(database: Database, actor: Actor, patient_ids: Iterable[UUID]) -> dict[UUID, str]:
    """What the clinic itself calls these patients; one without a reference is left out."""
    async with database.connection(actor) as connection:
        return await references.find_references(connection, database.keys, actor.clinic_id, set(patient_ids))
