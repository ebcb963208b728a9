"""Whether 42 CFR Part 2 protects a patient's record: said by staff, with a reason, in versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.schemas.consents import PartTwoPut
from app.schemas.limits import MAX_VERSIONS
from app.services import versions
from app.services.locks import lock_patient
from app.services.patients import get_patient
from app.services.sealing import opened
from app.tables import PartTwo


async def get_part_two(session: AsyncSession, actor: Actor, patient_id: UUID) -> PartTwo:
    return (await find_part_two_versions(session, actor, patient_id))[0]


async def find_part_two_versions(session: AsyncSession, actor: Actor, patient_id: UUID) -> Sequence[PartTwo]:
    """Newest first, down to the one that says nobody has said so. Raises NotFoundError."""
    patient = await get_patient(session, actor, patient_id)
    query = select(PartTwo).where(PartTwo.clinic_id == actor.clinic_id, PartTwo.id == patient_id)
    rows = (await session.exec(query.order_by(col(PartTwo.version).desc()).limit(MAX_VERSIONS))).all()
    unsaid: dict[str, Any] = versions.default(actor.clinic_id, patient_id, patient.created_at)
    return [*await opened(session, rows), PartTwo(**unsaid, patient_id=patient_id, applies=False)]


async def put_part_two(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: PartTwoPut, based_on: int, key: str | None
) -> tuple[PartTwo, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    await lock_patient(session, patient_id)
    known = await find_part_two_versions(session, actor, patient_id)
    asked = {"id": str(patient_id), "based_on": based_on, **content.model_dump(mode="json")}
    if await versions.find_replayed(session, actor, "part_two.put", asked, key, patient_id):
        return await versions.get_version(session, PartTwo, actor, patient_id, based_on + 1), True
    current = versions.unchanged(known[0], based_on)
    following = versions.following(current, actor, datetime.now(UTC), content.reason)
    row = PartTwo(**following | {"applies": content.applies})
    await versions.store(session, actor, row, "part_two.put")
    return row, False
