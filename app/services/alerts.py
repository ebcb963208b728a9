"""What people do about alerts: see them, acknowledge them, say what was done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app import tables
from app.audit import record_event
from app.auth import Actor
from app.db import driver_connection, ring_of
from app.errors import ConflictError, NotFoundError, StaleError
from app.paging import PageRequest
from app.schemas.alerts import Acknowledgement, Resolution
from app.scoring.alerting import AlertFact, AlertKind, AlertStatus
from app.services.alert_states import AlertHistory, AlertStep, AlertSubject, find_alert_histories, store_steps
from app.services.data_keys import find_keys_of, get_key
from app.services.locks import lock_patient
from app.services.sealing import open_text, place, seal_text
from app.services.versions import find_replayed

WAITING: Final = (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)


_ANSWERED: Final = """
SELECT raised.alert_id, max(form.taken_at) AS taken_at
FROM alert_event raised JOIN assessment form ON form.clinic_id = $1 AND form.id = raised.assessment_id
WHERE raised.clinic_id = $1 AND raised.alert_id = ANY($2::uuid[]) AND raised.kind = 'raised'
  AND NOT EXISTS (
    SELECT FROM alert_event later
    WHERE later.clinic_id = $1 AND later.alert_id = raised.alert_id AND later.number > raised.number
      AND later.kind = 'withdrawn' AND later.cause = raised.cause)
  AND NOT EXISTS (
    SELECT FROM assessment later WHERE later.clinic_id = $1 AND later.id = form.id AND later.version > form.version)
GROUP BY raised.alert_id
"""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    statuses: Sequence[AlertStatus] = WAITING
    kind: AlertKind | None = None
    patient_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """An alert, and when the newest form behind it was filled in, which may be long before it arrived."""

    row: tables.Alert
    answered_at: datetime | None


async def find_alerts(session: AsyncSession, actor: Actor, wanted: AlertFilter, page: PageRequest) -> list[ListedAlert]:
    """Longest waiting first, so that nobody waits unseen; one row more than the page holds, if there is one."""
    at, id_ = col(tables.Alert.raised_at), col(tables.Alert.id)
    query = select(tables.Alert).where(tables.Alert.clinic_id == actor.clinic_id, *_conditions(wanted))
    if page.after is not None:
        query = query.where(tuple_(at, id_) > (page.after.at, page.after.id))
    rows = (await session.exec(query.order_by(at, id_).limit(page.limit + 1))).all()
    connection = await driver_connection(session)
    answered = dict(await connection.fetch(_ANSWERED, actor.clinic_id, [row.id for row in rows]))
    return [ListedAlert(row, answered.get(row.id)) for row in rows]


async def get_alert(session: AsyncSession, actor: Actor, alert_id: UUID) -> AlertHistory:
    return await _readable(session, actor, await _get(await driver_connection(session), actor, alert_id))


async def acknowledge_alert(
    session: AsyncSession, actor: Actor, alert_id: UUID, content: Acknowledgement, based_on: int, key: str | None
) -> tuple[AlertHistory, bool]:
    """The alert as seen by a person, and whether this was a repeat of an earlier call."""
    return await _add(session, actor, alert_id, "acknowledge", content, based_on, key)


async def resolve_alert(
    session: AsyncSession, actor: Actor, alert_id: UUID, content: Resolution, based_on: int, key: str | None
) -> tuple[AlertHistory, bool]:
    """The alert as dealt with, and whether this was a repeat. What nobody had acknowledged is acknowledged with it."""
    return await _add(session, actor, alert_id, "resolve", content, based_on, key)


async def _add(
    session: AsyncSession,
    actor: Actor,
    alert_id: UUID,
    verb: str,
    content: Acknowledgement | Resolution,
    based_on: int,
    key: str | None,
) -> tuple[AlertHistory, bool]:
    connection = await driver_connection(session)
    asked = {"id": str(alert_id), "based_on": based_on, **content.model_dump(mode="json")}
    if await find_replayed(session, actor, f"alert.{verb}", asked, key, alert_id) is not None:
        known = await _get(connection, actor, alert_id)
        return await _readable(session, actor, known.until(based_on + 1)), True
    before = await _get(connection, actor, alert_id)
    await lock_patient(session, before.subject.patient_id)
    before = await _get(connection, actor, alert_id)  # again: from here on nothing can come between
    _refuse_unless_due(before, verb, based_on)
    after = AlertHistory(before.subject, (*before.steps, await _step(session, before, actor, verb, content)))
    await store_steps(connection, actor.clinic_id, [(after, 1)])
    at, patient_id = after.steps[-1].fact.at, after.subject.patient_id
    record_event(session, actor, f"alert.{verb}", at=at, subject_id=patient_id, resource_id=alert_id)
    return await _readable(session, actor, after), False


async def _get(connection: asyncpg.Connection, actor: Actor, alert_id: UUID) -> AlertHistory:
    found = await find_alert_histories(connection, actor.clinic_id, [alert_id])
    if not found:
        raise NotFoundError("There is no such alert.")
    return found[0]


def _refuse_unless_due(alert: AlertHistory, verb: str, based_on: int) -> None:
    """Nobody acknowledges what they have not seen: a new cause in the meantime is another version."""
    if alert.version != based_on:
        raise StaleError("Something happened to this alert since you read it. Read it again, then decide.")
    due = (AlertStatus.OPEN,) if verb == "acknowledge" else WAITING
    if (status := alert.state.status) not in due:
        raise ConflictError(f"The alert is {status.value} already.")


async def _step(
    session: AsyncSession, before: AlertHistory, actor: Actor, verb: str, content: Acknowledgement | Resolution
) -> AlertStep:
    at = max(datetime.now(UTC), before.steps[-1].fact.at)  # clocks of two servers may differ; the order does not
    fact = AlertFact("acknowledged" if verb == "acknowledge" else "resolved", at, None)
    action = content.action if isinstance(content, Resolution) else None
    sealed = await _sealed_note(session, before.subject, before.version + 1, content.note, actor)
    return AlertStep(before.version + 1, fact, actor_id=actor.token_id, action=action, sealed_note=sealed)


async def _sealed_note(
    session: AsyncSession, subject: AlertSubject, number: int, note: str | None, actor: Actor
) -> bytes | None:
    if note is None:
        return None
    connection, ring = await driver_connection(session), ring_of(session)
    key = await get_key(connection, ring, actor.clinic_id, subject.patient_id)
    return seal_text(key, note, place("alert_event", "note", actor.clinic_id, subject.id, number))


async def _readable(session: AsyncSession, actor: Actor, alert: AlertHistory) -> AlertHistory:
    """With what people wrote."""
    if all(step.sealed_note is None for step in alert.steps):
        return alert
    connection, ring, patient_id = await driver_connection(session), ring_of(session), alert.subject.patient_id
    key = (await find_keys_of(connection, ring, actor.clinic_id, [patient_id]))[patient_id]

    def read(step: AlertStep) -> AlertStep:
        if step.sealed_note is None:
            return step
        home = place("alert_event", "note", actor.clinic_id, alert.subject.id, step.number)
        return replace(step, note=open_text(key, step.sealed_note, home))

    return AlertHistory(alert.subject, tuple(map(read, alert.steps)))


def _conditions(wanted: AlertFilter) -> Iterator[Any]:
    yield col(tables.Alert.status).in_([status.value for status in wanted.statuses])
    if wanted.kind is not None:
        yield col(tables.Alert.kind) == wanted.kind.value
    if wanted.patient_id is not None:
        yield col(tables.Alert.patient_id) == wanted.patient_id
