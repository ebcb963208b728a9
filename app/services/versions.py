"""Things kept as versions: read the current one, write the next one, list them all. Nothing is ever changed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor
from app.errors import AppError, ConflictError, Fault, NotFoundError, StaleError
from app.paging import PageRequest
from app.schemas.faults import invalid, refusal
from app.schemas.fields import Body, offset_minutes
from app.schemas.limits import MAX_VERSIONS
from app.schemas.versions import Change
from app.services.idempotency import find_replay, fingerprint
from app.services.pages import newest_first
from app.services.sealing import opened, sealed
from app.tables import Assessment, Versioned

Kept = Versioned | Assessment  # a form says `received_at` where the others say `recorded_at`
Row = TypeVar("Row", bound=Kept)
Content = TypeVar("Content", bound=Body)


# --- Reading ----------------------------------------------------------------------------------------------------------


async def get_current(session: AsyncSession, table: type[Row], actor: Actor, id_: UUID) -> Row:
    """The newest version. Raises NotFoundError."""
    return (await find_versions(session, table, actor, id_, limit=1))[0]


async def get_version(session: AsyncSession, table: type[Row], actor: Actor, id_: UUID, version: int) -> Row:
    row = await session.get(table, (actor.clinic_id, id_, version))
    if row is None:
        raise _absent(table)
    return (await opened(session, [row]))[0]


async def find_versions(
    session: AsyncSession, table: type[Row], actor: Actor, id_: UUID, limit: int = MAX_VERSIONS
) -> Sequence[Row]:
    """Newest first, at least one. Raises NotFoundError."""
    query = select(table).where(table.clinic_id == actor.clinic_id, table.id == id_)
    rows = (await session.exec(query.order_by(col(table.version).desc()).limit(limit))).all()
    if not rows:
        raise _absent(table)
    return await opened(session, rows)


async def find_current(
    session: AsyncSession, table: type[Row], actor: Actor, order_by: str, page: PageRequest, **conditions: Any
) -> Sequence[Row]:
    """Newest versions that meet the conditions, latest `order_by` first; one more than the page holds."""
    query = select(table).where(table.clinic_id == actor.clinic_id, ~superseded(table)).filter_by(**conditions)
    return await opened(session, await newest_first(session, query, getattr(table, order_by), table.id, page))


def superseded(table: Any) -> Any:
    """Whether a row of this table, which keeps versions, has a later one."""
    later = aliased(table)
    return (
        select(later.id)
        .where(later.clinic_id == table.clinic_id, later.id == table.id, later.version > table.version)
        .exists()
    )


def _absent(table: type[Any]) -> NotFoundError:
    return NotFoundError(f"There is no such {str(table.__tablename__).replace('_', ' ')}.")


# --- Writing ----------------------------------------------------------------------------------------------------------


async def find_replayed(
    session: AsyncSession, actor: Actor, operation: str, asked: dict[str, Any], key: str | None, id_: UUID
) -> UUID | None:
    """What an earlier call with this key made or changed; None for a new key, which from now on stands for `id_`."""
    if key is None:
        return None
    return await find_replay(session, actor, key, fingerprint(operation, asked), id_, datetime.now(UTC))


async def is_replayed(
    session: AsyncSession, actor: Actor, operation: str, id_: UUID, based_on: int, change: Change, key: str | None
) -> bool:
    """Whether this change was made before; what it made then is the version after `based_on`."""
    return await find_replayed(session, actor, operation, asked_for(id_, based_on, change), key, id_) is not None


def asked_for(id_: UUID, based_on: int, change: Change) -> dict[str, Any]:
    """A change as its fingerprint is made of it."""
    return {"id": str(id_), "based_on": based_on, **change.model_dump(mode="json", exclude_unset=True)}


async def get_unchanged(session: AsyncSession, table: type[Row], actor: Actor, id_: UUID, based_on: int) -> Row:
    """The current version, if it is still the one a change is based on. Raises NotFoundError, StaleError."""
    return unchanged(await get_current(session, table, actor, id_), based_on)


def unchanged(current: Row, based_on: int) -> Row:
    """The current version itself. Raises StaleError when a change is based on another."""
    if current.version != based_on:
        raise _stale()
    if current.version >= MAX_VERSIONS:
        raise ConflictError(f"There are {MAX_VERSIONS} versions of this already. Enter it anew.")
    return current


def first(actor: Actor, id_: UUID, at: datetime) -> dict[str, Any]:
    """What a first version says of itself."""
    author = {"recorded_at": at, "recorded_by": actor.token_id, "reason": None}
    return {"clinic_id": actor.clinic_id, "id": id_, "version": 1, **author}


def default(clinic_id: UUID, id_: UUID, since: datetime) -> dict[str, Any]:
    """What a first version says of itself that nobody recorded and no table holds: changes begin with version 2."""
    author = {"recorded_at": since, "recorded_by": None, "reason": None}
    return {"clinic_id": clinic_id, "id": id_, "version": 1, **author}


def following(current: Kept, actor: Actor, at: datetime, reason: str) -> dict[str, Any]:
    """The version after `current`: the same but for who wrote it, when and why."""
    author = {_time_of(current): at, "recorded_by": actor.token_id, "reason": reason}
    return {**current.model_dump(), "version": current.version + 1, **author}


async def store(session: AsyncSession, actor: Actor, row: Kept, action: str, clash: AppError | None = None) -> None:
    """The row and its place in the trail. Of two parallel writers of one version the second one gets `clash`."""
    values = insert(type(row)).values(**await sealed(session, row)).on_conflict_do_nothing()
    if (await session.exec(values.returning(col(type(row).version)))).first() is None:
        raise clash or _stale()
    subject_id = getattr(row, "patient_id", None)
    record_event(session, actor, action, at=getattr(row, _time_of(row)), subject_id=subject_id, resource_id=row.id)


def _time_of(row: Kept) -> str:
    return "received_at" if isinstance(row, Assessment) else "recorded_at"


def _stale() -> StaleError:
    return StaleError("This was changed since you read it. Read it again, then decide.")


# --- Content ----------------------------------------------------------------------------------------------------------


def columns(table: type[Kept], content: Body) -> dict[str, Any]:
    """The content as a table keeps it: each time in UTC with its offset beside it."""
    return dict(_columns(table, content))


def _columns(table: type[Kept], content: Body) -> Iterator[tuple[str, Any]]:
    for name, value in content:
        if f"{name}_offset_minutes" in table.model_fields:
            yield name, None if value is None else value.astimezone(UTC)
            yield f"{name}_offset_minutes", None if value is None else offset_minutes(value)
        elif name in table.model_fields:
            yield name, value


def stored(row: Kept, content: type[Body]) -> dict[str, Any]:
    """The other way round: what a client would have sent to get this row."""
    return {name: _sent(row, name) for name in content.model_fields if hasattr(row, name)}


def _sent(row: Kept, name: str) -> Any:
    value, minutes = getattr(row, name), getattr(row, f"{name}_offset_minutes", None)
    return value if value is None or minutes is None else value.astimezone(timezone(timedelta(minutes=minutes)))


def changed(model: type[Content], before: dict[str, Any], change: Change) -> Content:
    """What was stored with what is sent laid over it, held to the same rules as new content. Raises InvalidError."""
    sent = change.model_dump(exclude_unset=True, exclude={"reason"})
    if not sent:
        refuse([Fault("", "nothing_to_change", "Send at least one field to change.")])
    try:
        return model.model_validate(before | sent)
    except ValidationError as error:
        raise invalid(error.errors()) from None


# --- Rules ------------------------------------------------------------------------------------------------------------


def refuse(faults: Sequence[Fault]) -> None:
    """Raises InvalidError if there are any."""
    if faults:
        raise refusal(faults)
