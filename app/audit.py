"""The trail: one row for each write of patient data, in the transaction of the write."""

from datetime import datetime
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.ids import new_id
from app.tables import AuditEvent


def record_event(
    session: AsyncSession, actor: Actor, action: str, *, at: datetime, subject_id: UUID | None, resource_id: UUID
) -> None:
    session.add(
        AuditEvent(
            clinic_id=actor.clinic_id,
            id=new_id(),
            at=at,
            actor_id=actor.token_id,
            actor_role=actor.role,
            action=action,
            subject_id=subject_id,
            resource_id=resource_id,
        )
    )
