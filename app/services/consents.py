"""What patients have consented to: given and renewed by staff, withdrawn by anybody it concerns, never edited."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.crypto import KeyRing
from app.errors import ConflictError, Fault, NotFoundError, PreconditionRequiredError, StaleError
from app.ids import new_id
from app.schemas.consents import ConsentPut, ConsentWithdrawal, Purpose
from app.schemas.fields import offset_minutes
from app.schemas.limits import MAX_VERSIONS
from app.services import versions
from app.services.clock import future_faults
from app.services.data_keys import find_keys_of
from app.services.locks import lock_patient
from app.services.patients import get_patient
from app.services.sealing import open_text, opened, place
from app.tables import Consent

# The newest version alone speaks: what it replaced was wrong, renewed or withdrawn.
_IN_FORCE: Final = """
SELECT patient_id, id, version, recipient, given_at, expires_at
FROM consent given
WHERE clinic_id = $1 AND purpose = $2 AND given_at <= $3
  AND coalesce(expires_at > $3, true) AND coalesce(withdrawn_at > $3, true) AND recorded_at <= $4
  AND NOT EXISTS (
    SELECT FROM consent later
    WHERE later.clinic_id = $1 AND later.id = given.id AND later.version > given.version AND later.recorded_at <= $4)
ORDER BY patient_id, id
"""
EVER: Final = datetime.max.replace(tzinfo=UTC)  # known by then: all that is on record


@dataclass(frozen=True, slots=True)
class ConsentInForce:
    """One consent that holds at the time asked for, with the version it was read from."""

    patient_id: UUID
    id: UUID
    version: int
    recipient: str | None
    given_at: datetime
    expires_at: datetime | None


async def consents_in_force(
    connection: asyncpg.Connection,
    ring: KeyRing,
    clinic_id: UUID,
    purpose: Purpose,
    at: datetime,
    known_at: datetime = EVER,
) -> list[ConsentInForce]:
    """Of all the clinic's patients. Who is not in it has not consented: what is unknown is no consent.

    One that names a recipient holds for that recipient alone; comparing names is the caller's.
    By what was on record at `known_at`; left out, by all that is.
    """
    rows = await connection.fetch(_IN_FORCE, clinic_id, purpose.value, at, known_at)
    keys = await find_keys_of(connection, ring, clinic_id, {row["patient_id"] for row in rows if row["recipient"]})

    def recipient(row: asyncpg.Record) -> str | None:
        if row["recipient"] is None:
            return None
        home = place("consent", "recipient", clinic_id, row["id"], row["version"])
        return open_text(keys[row["patient_id"]], row["recipient"], home)

    return [ConsentInForce(**dict(row) | {"recipient": recipient(row)}) for row in rows]


@dataclass(frozen=True, slots=True)
class ConsentsOfPatient:
    """Every version of every consent, in the order they were recorded. Their number is the version of the whole."""

    rows: Sequence[Consent]

    @property
    def version(self) -> int:
        return len(self.rows)

    @property
    def newest(self) -> list[Consent]:
        """Of each consent, latest given first."""
        found = {row.id: row for row in sorted(self.rows, key=lambda row: row.version)}
        return sorted(found.values(), key=lambda row: (row.given_at, row.id), reverse=True)


def told_of(consents: Iterable[ConsentInForce], recipient: str | None) -> set[UUID]:
    """Who may be told of to this recipient, or to nobody named. A consent that names one is for that one alone."""
    names = {None, recipient and recipient.casefold()}
    return {
        UUID(bytes=one.patient_id.bytes) for one in consents if (one.recipient and one.recipient.casefold()) in names
    }


async def find_consents(session: AsyncSession, actor: Actor, patient_id: UUID) -> ConsentsOfPatient:
    """Raises NotFoundError for an absent patient."""
    await get_patient(session, actor, patient_id)
    query = select(Consent).where(Consent.clinic_id == actor.clinic_id, Consent.patient_id == patient_id)
    rows = (await session.exec(query.order_by(col(Consent.recorded_at)))).all()
    return ConsentsOfPatient(await opened(session, rows))


async def put_consent(
    session: AsyncSession, actor: Actor, patient_id: UUID, content: ConsentPut, based_on: int | None, key: str | None
) -> tuple[Consent, int, bool]:
    """The consent, the version of the whole that has it, and whether this was a repeat of an earlier call."""
    await lock_patient(session, patient_id)
    known = await find_consents(session, actor, patient_id)
    named = (content.purpose.value, content.recipient)
    current = next((row for row in known.newest if (row.purpose, row.recipient) == named), None)
    id_ = new_id() if current is None else current.id
    asked = {"patient_id": str(patient_id), "based_on": based_on, **content.model_dump(mode="json")}
    if await versions.find_replayed(session, actor, "consent.put", asked, key, id_):
        return known.rows[based_on or 0], (based_on or 0) + 1, True
    _refuse_stale(known, based_on)
    versions.refuse([*_faults(content, current, datetime.now(UTC))])
    at = _after(known)
    author = (
        versions.first(actor, id_, at) | {"patient_id": patient_id}
        if current is None
        else versions.following(current, actor, at, content.reason or "")
    )
    anew = {"withdrawn_at": None, "withdrawn_at_offset_minutes": None, "reason": author["reason"]}
    row = Consent(**author | versions.columns(Consent, content) | anew)
    await versions.store(session, actor, row, "consent.put")
    return row, known.version + 1, False


async def withdraw_consent(
    session: AsyncSession,
    actor: Actor,
    patient_id: UUID,
    consent_id: UUID,
    content: ConsentWithdrawal,
    key: str | None,
) -> tuple[Consent, int, bool]:
    """The same for a withdrawal, which wants no version; a second one changes nothing and is no error."""
    await lock_patient(session, patient_id)
    known = await find_consents(session, actor, patient_id)
    current = next((row for row in known.newest if row.id == consent_id), None)
    if current is None:
        raise NotFoundError("There is no such consent.")
    asked = {"id": str(consent_id), **content.model_dump(mode="json")}
    if await versions.find_replayed(session, actor, "consent.withdraw", asked, key, consent_id):
        withdrawn = [row for row in known.rows if row.id == consent_id and row.withdrawn_at is not None]
        return withdrawn[-1], known.version, True
    if current.withdrawn_at is not None:
        return current, known.version, False
    withdrawn_at = content.withdrawn_at or datetime.now(UTC)
    versions.refuse([*_withdrawal_faults(current, withdrawn_at, datetime.now(UTC))])
    row = Consent(
        **versions.following(current, actor, _after(known), "withdrawn")
        | {"withdrawn_at": withdrawn_at.astimezone(UTC), "withdrawn_at_offset_minutes": offset_minutes(withdrawn_at)}
    )
    await versions.store(session, actor, row, "consent.withdraw")
    return row, known.version + 1, False


def _after(known: ConsentsOfPatient) -> datetime:
    """Now; but the order of recording stays one, though clocks of two servers differ."""
    earliest = [row.recorded_at + timedelta(microseconds=1) for row in known.rows[-1:]]
    return max([datetime.now(UTC), *earliest])


def _refuse_stale(known: ConsentsOfPatient, based_on: int | None) -> None:
    if known.rows and based_on is None:
        raise PreconditionRequiredError("There are consents. Send `If-Match` with the `ETag` of the list you read.")
    if known.version != (based_on or 0):
        raise StaleError("The consents were changed since you read them. Read them again, then decide.")
    if known.version >= MAX_VERSIONS:
        raise ConflictError(f"There are {MAX_VERSIONS} versions of consents of this patient already.")


def _faults(content: ConsentPut, current: Consent | None, now: datetime) -> Iterator[Fault]:
    if content.purpose is Purpose.DISCLOSURE_TO_RECIPIENT and content.recipient is None:
        yield Fault("/recipient", "missing", "Say to whom may be disclosed.")
    yield from future_faults(now, given_at=content.given_at)
    if content.expires_at is not None and content.expires_at <= content.given_at:
        yield Fault("/expires_at", "before_giving", "It expires after it was given.")
    if current is not None and content.reason is None:
        yield Fault("/reason", "missing", "There is such a consent already; say why it changes.")
    if current is not None and current.withdrawn_at is not None and content.given_at < current.withdrawn_at:
        yield Fault("/given_at", "before_withdrawal", "It was withdrawn after that. Only a later consent counts.")


def _withdrawal_faults(current: Consent, withdrawn_at: datetime, now: datetime) -> Iterator[Fault]:
    yield from future_faults(now, withdrawn_at=withdrawn_at)
    if withdrawn_at < current.given_at:
        yield Fault("/withdrawn_at", "before_giving", "It was given after that.")
