"""Restricted patients: hidden from the clinicians who are not of their care team."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor, Role
from app.errors import ConflictError
from app.schemas.care_teams import CareTeamPut
from app.schemas.limits import MAX_VERSIONS
from app.services import versions
from app.services.patients import get_patient
from app.services.sealing import opened
from app.tables import CareTeam, Patient

MAX_RESTRICTED: Final = 500  # patients of a clinic; their ids are told to Postgres with each transaction

_HIDDEN: Final = """
SELECT patient_id, id AS emergency_id FROM emergency_access
WHERE clinic_id = $1 AND actor_id = $2 AND expires_at > $3 AND ended_at IS NULL
UNION ALL
SELECT team.patient_id, NULL FROM care_team team
WHERE team.clinic_id = $1 AND team.restricted AND NOT $2 = ANY (team.members) AND NOT EXISTS (
    SELECT FROM care_team later WHERE later.clinic_id = $1 AND later.id = team.id AND later.version > team.version)
"""


async def with_hidden(connection: asyncpg.Connection, actor: Actor, now: datetime) -> Actor:
    """The proven caller with the patients that are not there for them, and those that an emergency lets them see."""
    if actor.role is not Role.CLINICIAN:
        return actor
    rows = await connection.fetch(_HIDDEN, actor.clinic_id, actor.token_id, now)
    emergencies = {row["patient_id"]: row["emergency_id"] for row in rows if row["emergency_id"] is not None}
    hidden = frozenset(row["patient_id"] for row in rows) - emergencies.keys()
    return replace(actor, hidden=hidden, emergencies=tuple(emergencies.items()))


async def put_care_team(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: CareTeamPut, based_on: int, key: str | None
) -> tuple[CareTeam, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    patient = await get_patient(session, actor, patient_id)
    if await versions.is_replayed(session, actor, "care_team.put", patient_id, based_on, content, key):
        return await versions.get_version(session, CareTeam, actor, patient_id, based_on + 1), True
    current = versions.unchanged((await _find_versions(session, actor, patient, limit=1))[0], based_on)
    if content.restricted and not current.restricted:
        await _refuse_one_too_many(session, actor)
    following = versions.following(current, actor, datetime.now(UTC), content.reason)
    members = sorted(set(content.members))
    row = CareTeam(**following | {"restricted": content.restricted, "members": members})
    await versions.store(session, actor, row, "care_team.put")
    return row, False


async def get_care_team(session: AsyncSession, actor: Actor, patient_id: UUID) -> CareTeam:
    return (await find_care_team_versions(session, actor, patient_id, limit=1))[0]


async def find_care_team_versions(
    session: AsyncSession, actor: Actor, patient_id: UUID, limit: int = MAX_VERSIONS
) -> Sequence[CareTeam]:
    """Newest first, down to what every patient begins with: seen by all clinicians. Raises NotFoundError."""
    return await _find_versions(session, actor, await get_patient(session, actor, patient_id), limit)


async def _find_versions(session: AsyncSession, actor: Actor, patient: Patient, limit: int) -> Sequence[CareTeam]:
    query = select(CareTeam).where(CareTeam.clinic_id == actor.clinic_id, CareTeam.id == patient.id)
    changes = (await session.exec(query.order_by(col(CareTeam.version).desc()).limit(limit))).all()
    first = versions.default(actor.clinic_id, patient.id, patient.created_at)
    open_to_all = CareTeam(**first, patient_id=patient.id, restricted=False, members=[])
    return [*await opened(session, changes), open_to_all][:limit]


async def _refuse_one_too_many(session: AsyncSession, actor: Actor) -> None:
    """One after the other, so that two together cannot pass the limit."""
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"restricted/{actor.clinic_id}", 0))
    await session.exec(select(lock))
    restricted = select(func.count()).where(
        CareTeam.clinic_id == actor.clinic_id, col(CareTeam.restricted), ~versions.superseded(CareTeam)
    )
    if (await session.exec(restricted)).one() >= MAX_RESTRICTED:
        raise ConflictError(f"{MAX_RESTRICTED} patients are restricted, the most there can be. Lift another first.")
