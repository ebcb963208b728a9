"""Everything kept about one person. A test holds this to the catalogue: a table nobody decided on fails it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel
from sqlmodel import SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import tables
from app.auth import Actor
from app.db import driver_connection
from app.privacy.part_two import notice
from app.schemas.everything import FORMAT, LEFT_OUT, Download, EverythingAnswer, ReleaseOfPerson
from app.schemas.instruments import ScoreAnswer
from app.schemas.patients import PatientCreate
from app.services.part_two import get_part_two
from app.services.scored_assessments import from_row
from app.services.sealing import opened

MOST_ROWS: Final = 10_000  # of one part: thirty years of daily forms
# The tenant, and what is secret.
HIDDEN: Final = frozenset(
    {"clinic_id", "secret_hash", "code_id", "code_hash", "access_hash", "fingerprint", "ref_index"}
)
_RELEASES: Final = "SELECT * FROM releases_of($1) ORDER BY ready_at DESC, release_id LIMIT $2"


@dataclass(frozen=True, slots=True)
class Part:
    """One table: which column names the patient, and which one orders its rows."""

    table: Any
    at: str
    of: str = "patient_id"


PARTS: Final[Mapping[str, Part]] = {
    part.table.__tablename__: part
    for part in (
        Part(tables.Patient, "created_at", of="id"),
        Part(tables.PatientTimeZone, "recorded_at"),
        Part(tables.PartTwo, "recorded_at"),
        Part(tables.Consent, "recorded_at"),
        Part(tables.CareTeam, "recorded_at"),
        Part(tables.EmergencyAccess, "begun_at"),
        Part(tables.ApiToken, "created_at"),
        Part(tables.Enrolment, "created_at"),
        Part(tables.CheckInLink, "created_at"),
        Part(tables.Assessment, "received_at"),
        Part(tables.EpisodeOfCare, "recorded_at"),
        Part(tables.TreatmentSession, "recorded_at"),
        Part(tables.Observation, "recorded_at"),
        Part(tables.AdverseEvent, "recorded_at"),
        Part(tables.SuitabilityScreen, "recorded_at"),
        Part(tables.Schedule, "recorded_at"),
        Part(tables.ExpectedCheckIn, "opens_at"),
        Part(tables.Alert, "raised_at"),
        Part(tables.AlertEvent, "at"),
        Part(tables.Standing, "taken_at"),
        Part(tables.Notification, "created_at"),
        Part(tables.AuditEvent, "at", of="subject_id"),
        Part(tables.AuditSubject, "at"),
    )
}


async def get_everything(session: AsyncSession, actor: Actor, patient_id: UUID) -> EverythingAnswer:
    """Raises NotFoundError."""
    flag = await get_part_two(session, actor, patient_id)
    found: dict[str, Sequence[BaseModel]] = {
        name: await _rows(session, actor, patient_id, part) for name, part in PARTS.items()
    }
    found["delivery"] = await _deliveries(session, actor, patient_id)
    found["release_person"] = await _releases(session, patient_id)
    return EverythingAnswer(
        format=FORMAT,
        as_of=datetime.now(UTC),
        patient_id=patient_id,
        notice=notice(applies=flag.applies),
        parts={name: [_told(row) for row in rows[:MOST_ROWS]] for name, rows in found.items()},
        cut=[name for name, rows in found.items() if len(rows) > MOST_ROWS],
        left_out=list(LEFT_OUT),
    )


async def _rows(session: AsyncSession, actor: Actor, patient_id: UUID, part: Part) -> list[SQLModel]:
    """Newest first; one row more than is shown, if there is one."""
    table, order = part.table, col(getattr(part.table, part.at)).desc()
    query = select(table).where(table.clinic_id == actor.clinic_id, getattr(table, part.of) == patient_id)
    rows = (await session.exec(query.order_by(order, *table.__table__.primary_key).limit(MOST_ROWS + 1))).all()
    return list(await opened(session, rows))


async def _deliveries(session: AsyncSession, actor: Actor, patient_id: UUID) -> list[SQLModel]:
    """Which of the clinic's own programs were told that something happened."""
    notification, delivery = tables.Notification, tables.Delivery
    query = (
        select(delivery)
        .join(
            notification,
            (col(notification.clinic_id) == delivery.clinic_id) & (col(notification.id) == delivery.notification_id),
        )
        .where(delivery.clinic_id == actor.clinic_id, notification.patient_id == patient_id)
        .order_by(col(notification.created_at).desc(), col(delivery.webhook_id))
    )
    return list((await session.exec(query.limit(MOST_ROWS + 1))).all())


async def _releases(session: AsyncSession, patient_id: UUID) -> list[ReleaseOfPerson]:
    """By a function of the database's own: a patient's transaction sees neither releases nor who downloaded them."""
    rows = await (await driver_connection(session)).fetch(_RELEASES, patient_id, MOST_ROWS + 1)
    return [ReleaseOfPerson(**row, downloads=_downloads(**row)) for row in rows]


def _downloads(*, downloaded_at: Iterable[datetime], downloaded_by: Iterable[UUID], **_: Any) -> list[Download]:
    return [Download(at=at, actor_id=by) for at, by in zip(downloaded_at, downloaded_by, strict=True)]


def _told(row: BaseModel) -> dict[str, Any]:
    """Its columns but for those hidden; a form with what it scores."""
    told = row.model_dump(exclude=set(HIDDEN))
    if isinstance(row, tables.Patient):
        told |= PatientCreate.model_validate_json(told.pop("identifiers") or "{}").model_dump()
    if isinstance(row, tables.Assessment):
        told["score"] = ScoreAnswer.of(from_row(dict(row)).score).model_dump()
    return told
