"""Who writes about a patient writes alone: what is derived from the record is derived from all of it."""

from uuid import UUID

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession


def lock_key(patient_id: UUID) -> int:
    """The advisory lock of a patient: 63 bits of the id, so that two patients share one by rare chance at most."""
    return patient_id.int & 0x7FFF_FFFF_FFFF_FFFF


async def lock_patient(session: AsyncSession, patient_id: UUID) -> None:
    """Until the end of the transaction. To lock the patient's row instead would take the right to update it."""
    await session.exec(select(func.pg_advisory_xact_lock(lock_key(patient_id))))


async def lock_episode(session: AsyncSession, episode_id: UUID, *, shared: bool = False) -> None:
    """Until the end of the transaction; shared by those who write sessions, alone for who changes the episode.

    So neither slips past the other's check that sessions lie inside their episode. To lock rows instead would take the
    right to update them.
    """
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    await session.exec(select(lock(func.hashtextextended(str(episode_id), 0))))
