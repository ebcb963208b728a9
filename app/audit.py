"""The trail: one event for each write and each read of patient data, in the transaction of the act."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import driver_connection
from app.ids import new_id
from app.tables import AuditEvent


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"  # the role may not; of research data, whatever else forbids it, too
    ABSENT = "absent"  # the clinic has no such thing


_ADD: Final = """
INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id, request_id, address,
    purpose, outcome, rows, filter, subjects_digest, emergency_id)
VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, (SELECT id FROM patient WHERE clinic_id = $1 AND id = $17)), $8, $9, $10,
    $11, $12, $13, $14, $15, $16)
"""
_ADD_WITH_SUBJECTS: Final = f"""
WITH event AS ({_ADD})
INSERT INTO audit_subject (clinic_id, event_id, patient_id, at) SELECT $1, $2, unnest($18::uuid[]), $3
"""


def record_event(
    session: AsyncSession, actor: Actor, action: str, *, at: datetime, subject_id: UUID | None, resource_id: UUID
) -> None:
    """A write."""
    event = _columns(actor, action, at) | {"emergency_id": actor.emergency_about(subject_id)}
    session.add(AuditEvent(**event, subject_id=subject_id, resource_id=resource_id))


async def record_read(
    on: AsyncSession | asyncpg.Connection,
    actor: Actor,
    action: str,
    *,
    of: UUID | Iterable[UUID] | None,
    resource_id: UUID | None = None,
    rows: int = 1,
    asked: Any = None,
) -> None:
    """What is about to be answered, and of whom: written and committed before the answer leaves.

    `of` is the patient it is about, or those whom a list shows; `resource_id` the thing, or what it is the list of,
    the clinic by default; `asked` the filter, a data class of ids, times and words of ours.
    """
    patients = _patients(actor, of)
    alone = patients[0] if len(patients) == 1 else None
    asked_for = None if patients else getattr(asked, "patient_id", None)
    event = _columns(actor, action, datetime.now(UTC)) | {
        "subject_id": alone,
        "resource_id": resource_id or actor.clinic_id,
        "rows": rows,
        "filter": None if asked is None else written(asked),
        "subjects_digest": digest_of(patients) if len(patients) > 1 else None,
        "emergency_id": actor.emergency_about(*patients, asked_for),
        "asked_for": asked_for,
    }
    connection = await driver_connection(on) if isinstance(on, AsyncSession) else on
    await _add(connection, event, patients if alone is None else ())


async def record_refusal(
    connection: asyncpg.Connection, actor: Actor, operation: str, outcome: Outcome, thing: UUID | None = None
) -> None:
    """What was asked for in vain: about nobody, for nothing was shown. `thing` was found, so it is the clinic's own."""
    event = _columns(actor, operation, datetime.now(UTC)) | {"outcome": outcome}
    await _add(connection, event | {"resource_id": thing or actor.clinic_id}, ())


def digest_of(patients: Collection[UUID]) -> str | None:
    """What is sealed with the event of those it is about, in the order of their ids; None without any."""
    return hashlib.sha256(b"".join(sorted(id_.bytes for id_ in patients))).hexdigest() if patients else None


def _patients(actor: Actor, of: UUID | Iterable[UUID] | None) -> list[UUID]:
    """Whoever is a patient, or stands for one, sees nobody else."""
    if actor.patient_id is not None:
        return [actor.patient_id]
    if of is None:
        return []
    return [of] if isinstance(of, UUID) else list(set(of))


def _columns(actor: Actor, action: str, at: datetime) -> dict[str, Any]:
    origin = actor.origin
    return {
        "clinic_id": actor.clinic_id,
        "id": new_id(),
        "at": at,
        "actor_id": actor.token_id,
        "actor_role": actor.role,
        "action": action,
        "request_id": origin.request_id,
        "address": origin.address,
        "purpose": origin.purpose,
        "outcome": Outcome.DONE,
    }


_NAMES: Final = (
    *("clinic_id", "id", "at", "actor_id", "actor_role", "action", "subject_id", "resource_id", "request_id"),
    *("address", "purpose", "outcome", "rows", "filter", "subjects_digest", "emergency_id", "asked_for"),
)


async def _add(connection: asyncpg.Connection, event: dict[str, Any], patients: Collection[UUID]) -> None:
    values = [event.get(name) for name in _NAMES]
    if patients:
        await connection.execute(_ADD_WITH_SUBJECTS, *values, list(patients))
    else:
        await connection.execute(_ADD, *values)


# --- Filters ----------------------------------------------------------------------------------------------------------


def written(asked: Any) -> str:
    """A filter in one line, without what was not asked for: `instrument=phq-9 status=open,acknowledged`."""
    return " ".join(_parts(asked))


def _parts(asked: Any) -> Iterator[str]:
    """The patient of a filter is left out: the event says who it is about, if the clinic has such a patient."""
    for field in dataclasses.fields(asked):
        if field.name == "patient_id":
            continue
        value = getattr(asked, field.name)
        if dataclasses.is_dataclass(value):
            yield from _parts(value)
        elif value not in (None, (), frozenset()):
            yield f"{field.name}={_harmless(value)}"


def _harmless(value: Any) -> str:
    """Only kinds that a patient's name cannot be of but for words, which the schemas choose from lists of ours."""
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | UUID():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case tuple() | list() | frozenset():
            return ",".join(sorted(map(_harmless, value)))
        case _:
            raise TypeError("a filter has a kind that nobody has said how to write")
