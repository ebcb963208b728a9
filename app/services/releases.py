"""Research releases: asked for, decided by somebody else, read again, ended. Building is `release_builds`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor, Role
from app.db import Database, driver_connection, ring_of
from app.errors import ConflictError, Fault, GoneError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.privacy.columns import NotAllowedError, Tier, columns_of
from app.schemas.consents import Purpose
from app.schemas.releases import ENDED, ReleaseCreate, ReleaseDecision, ReleaseEnd
from app.services.consents import ConsentInForce, consents_in_force, told_of
from app.services.pages import newest_first
from app.services.release_package import shape_faults
from app.services.scored_assessments import known_instrument
from app.services.versions import find_replayed, refuse
from app.tables import Release

MAX_OPEN: Final = 20  # releases of one clinic that wait, are built or can be downloaded
WORKER_PRINCIPAL: Final = UUID(
    "00000000-0000-8000-8000-000000000003"
)  # whom the trail names for what time brings about
_OPEN: Final = ("requested", "approved", "building", "ready")
_PERSONS: Final = "SELECT patient_id FROM release_person WHERE clinic_id = $1 AND release_id = $2"
_FORGET: Final = "SELECT forget_release($1)"


def worker_of(clinic_id: UUID) -> Actor:
    return Actor(clinic_id, WORKER_PRINCIPAL, Role.SERVICE)


# --- Asking and deciding ----------------------------------------------------------------------------------------------


async def request_release(
    session: AsyncSession, actor: Actor, content: ReleaseCreate, key: str | None
) -> tuple[Release, bool]:
    """The release, and whether this was a repeat of an earlier call."""
    refuse([*_faults(content)])
    new, asked = new_id(), content.model_dump(mode="json")
    if known := await find_replayed(session, actor, "release.request", asked, key, new):
        return await get_release(session, actor, known), True
    await _refuse_too_many(session, actor)
    now = datetime.now(UTC)
    row = Release(
        clinic_id=actor.clinic_id,
        id=new,
        status="requested",
        request=asked,
        requested_at=now,
        requested_by=actor.token_id,
    )
    session.add(row)
    _record(session, actor, "release.request", row, now)
    return row, False


async def decide_release(
    session: AsyncSession, actor: Actor, id_: UUID, content: ReleaseDecision, key: str | None
) -> tuple[Release, bool]:
    """By an administrator who did not ask for it: two people have to want that data leaves."""
    asked = {"id": str(id_), **content.model_dump(mode="json")}
    if await find_replayed(session, actor, "release.decide", asked, key, id_):
        return await get_release(session, actor, id_), True
    row = await get_release(session, actor, id_, to_change=True)
    if row.requested_by == actor.token_id:
        raise ConflictError("You asked for this release yourself. Another administrator has to decide.")
    if row.status != "requested":
        raise ConflictError(f"This release is {row.status}: it has been decided already.")
    now = datetime.now(UTC)
    row.status, row.decided_at, row.decided_by, row.decision_note = content.decision, now, actor.token_id, content.note
    if content.decision == "approved":
        row.expires_at = now + timedelta(days=row.request["expires_in_days"])
    _record(session, actor, "release.decide", row, now)
    return row, False


async def revoke_release(session: AsyncSession, actor: Actor, id_: UUID, key: str | None) -> tuple[Release, bool]:
    """At any time before its end; files, map and key go at once when the worker comes by, and are not told before."""
    if await find_replayed(session, actor, "release.revoke", {"id": str(id_)}, key, id_):
        return await get_release(session, actor, id_), True
    row = await get_release(session, actor, id_, to_change=True)
    if row.status not in _OPEN:
        raise ConflictError(f"This release is {row.status}: there is nothing to revoke.")
    now = datetime.now(UTC)
    row.status, row.ended_at, row.ended_because = "revoked", now, ReleaseEnd.REVOKED
    _record(session, actor, "release.revoke", row, now)
    return row, False


def _faults(content: ReleaseCreate) -> Iterator[Fault]:
    if content.tier is Tier.LIMITED_DATA_SET and content.agreement is None:
        yield Fault("/agreement", "missing", "A limited data set needs the reference of its data use agreement.")
    if content.tier is Tier.EXPERT and content.determination is None:
        yield Fault("/determination", "missing", "This tier needs the reference of the expert's determination.")
    for place, instrument in enumerate(content.instruments):
        known_instrument(instrument, f"/instruments/{place}")
    for name in ("instruments", "formats", "shapes"):
        if len(set(getattr(content, name))) < len(getattr(content, name)):
            yield Fault(f"/{name}", "twice", "Name each once.")
    yield from _column_faults(content)
    first, last = content.cohort.first_dose_from, content.cohort.first_dose_to
    if first is not None and last is not None and first > last:
        yield Fault("/cohort/first_dose_to", "ends_before_it_begins", "The last month lies before the first.")


def _column_faults(content: ReleaseCreate) -> Iterator[Fault]:
    """And those of shapes, which hang on the columns."""
    try:
        columns = columns_of(content.tier, content.columns)
    except NotAllowedError as error:
        for place, name in enumerate(content.columns or ()):
            if name in error.names:
                yield Fault(f"/columns/{place}", "not_allowed", "This tier has no such column.")
    else:
        yield from shape_faults(content.shapes, columns.get("scores", ()))


# --- Reading ----------------------------------------------------------------------------------------------------------


async def get_release(session: AsyncSession, actor: Actor, id_: UUID, *, to_change: bool = False) -> Release:
    """One's own, or any to an administrator. Raises NotFoundError. `to_change` holds it against other writers."""
    row = await session.get(Release, (actor.clinic_id, id_), with_for_update=to_change or None)
    if row is None or not (actor.role is Role.ADMIN or row.requested_by == actor.token_id):
        raise NotFoundError("There is no such release.")
    return row


async def find_releases(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[Release]:
    """Newest first; one row more than the page holds, if there is one."""
    query = select(Release).where(Release.clinic_id == actor.clinic_id)
    if actor.role is not Role.ADMIN:
        query = query.where(Release.requested_by == actor.token_id)
    return await newest_first(session, query, Release.requested_at, Release.id, page)


def refuse_ended(row: Release, now: datetime) -> None:
    """Raises GoneError. Time ends a release, whether the worker has come by or not."""
    if row.ended_because is not None:
        raise GoneError(ENDED[ReleaseEnd(row.ended_because)])
    if row.expires_at is not None and row.expires_at <= now:
        raise GoneError(ENDED[ReleaseEnd.EXPIRED])


async def refuse_without_consent(database: Database, row: Release) -> None:
    """Raises GoneError when not everybody in it consents any more. Seen by the system: the caller sees no patient."""
    async with database.connection(row.clinic_id) as connection:
        now = datetime.now(UTC)
        consents = await consents_in_force(connection, database.keys, row.clinic_id, Purpose.RESEARCH, now)
        if not await is_consented(connection, row, consents):
            raise GoneError(ENDED[ReleaseEnd.CONSENT])


# --- Consent, and the end ---------------------------------------------------------------------------------------------


async def is_consented(connection: asyncpg.Connection, row: Release, consents: Iterable[ConsentInForce]) -> bool:
    """By consents to research. Whoever was erased has no row any more: fewer are left than the manifest counts."""
    persons = {UUID(bytes=one["patient_id"].bytes) for one in await connection.fetch(_PERSONS, row.clinic_id, row.id)}
    told = row.manifest["persons_out"] if row.manifest else 0
    return len(persons) == told and persons <= told_of(consents, row.request["recipient"])


async def end_releases(database: Database, clinic_id: UUID) -> int:
    """What has expired or lost a consent ends; files, maps and keys of all that has ended go. Returns how many."""
    now, ended = datetime.now(UTC), 0
    async with database.session(clinic_id) as session:
        ready = select(Release).where(Release.clinic_id == clinic_id, col(Release.status).in_(("ready", "approved")))
        rows = (await session.exec(ready.with_for_update(skip_locked=True))).all()
        consents = await _consents_for(session, clinic_id, rows, now)
        for row in rows:
            ended += await _end_if_due(session, row, consents, now)
    async with database.connection(clinic_id) as connection:
        for row in await connection.fetch(_TO_FORGET, clinic_id):
            await connection.execute(_FORGET, row["id"])
            ended += 1
    return ended


_TO_FORGET: Final = """
SELECT id FROM release WHERE clinic_id = $1 AND status IN ('revoked', 'expired')
AND EXISTS (SELECT FROM data_key WHERE data_key.clinic_id = $1 AND data_key.id = release.id)
"""


async def _consents_for(
    session: AsyncSession, clinic_id: UUID, rows: Iterable[Release], now: datetime
) -> Sequence[ConsentInForce]:
    """Read once for all releases that hang on them."""
    if all(row.status != "ready" for row in rows):
        return ()
    return await consents_in_force(await driver_connection(session), ring_of(session), clinic_id, Purpose.RESEARCH, now)


async def _end_if_due(session: AsyncSession, row: Release, consents: Sequence[ConsentInForce], now: datetime) -> bool:
    why: ReleaseEnd | None = None
    if row.expires_at is not None and row.expires_at <= now:
        why = ReleaseEnd.EXPIRED
    elif row.status == "ready":
        why = None if await is_consented(await driver_connection(session), row, consents) else ReleaseEnd.CONSENT
    if why is None:
        return False
    row.status = "expired" if why is ReleaseEnd.EXPIRED and row.status == "ready" else "revoked"
    row.ended_at, row.ended_because = now, why
    _record(session, worker_of(row.clinic_id), "release.end", row, now)
    return True


async def _refuse_too_many(session: AsyncSession, actor: Actor) -> None:
    query = select(Release.id).where(Release.clinic_id == actor.clinic_id, col(Release.status).in_(_OPEN))
    if len((await session.exec(query.limit(MAX_OPEN))).all()) >= MAX_OPEN:
        raise ConflictError(f"{MAX_OPEN} releases are open. Revoke one that nobody needs.")


def _record(session: AsyncSession, actor: Actor, action: str, row: Release, at: datetime) -> None:
    record_event(session, actor, action, at=at, subject_id=None, resource_id=row.id)


def answered(row: Release) -> dict[str, Any]:
    """As clients see it."""
    progress = {"attempts": row.attempts, "persons_read": row.persons_read, "rows_written": row.rows_written}
    return row.model_dump() | {"progress": progress}
