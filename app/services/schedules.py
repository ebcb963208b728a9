"""What an episode's patient is asked and when: put, read, kept in versions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import driver_connection
from app.errors import Fault, InvalidError, NotFoundError, PreconditionRequiredError, StaleError
from app.schemas.schedules import SchedulePut, plan_entry, quiet_hours, schedule_entry
from app.scoring.protocols import Protocol, get_protocol
from app.scoring.schedule import PlanEntry, QuietHours
from app.scoring.schedule_checks import plan_faults
from app.services import versions
from app.services.clinic_rules import rules_of
from app.services.derivation import rederive_patient
from app.services.episodes import get_episode
from app.services.locks import lock_episode, lock_patient
from app.tables import EpisodeOfCare, Schedule


async def put_schedule(
    session: AsyncSession, actor: Actor, episode_id: UUID, content: SchedulePut, based_on: int | None, key: str | None
) -> tuple[Schedule, bool]:
    """The next version, the first where there is none, and whether this was a repeat of an earlier call."""
    await lock_episode(session, episode_id, shared=True)
    episode = await get_episode(session, actor, episode_id)
    asked = {"id": str(episode_id), "based_on": based_on, **content.model_dump(mode="json")}
    if await versions.find_replayed(session, actor, "schedule.put", asked, key, episode_id):
        return await versions.get_version(session, Schedule, actor, episode_id, (based_on or 0) + 1), True
    await lock_patient(session, episode.patient_id)
    now = datetime.now(UTC)
    row = await _next_version(session, actor, episode, content, based_on, now)
    await versions.store(session, actor, row, "schedule.put")
    await rederive_patient(session, actor, episode.patient_id, now)
    return row, False


async def get_schedule(session: AsyncSession, actor: Actor, episode_id: UUID) -> Schedule:
    return await versions.get_current(session, Schedule, actor, episode_id)


async def find_schedule_versions(session: AsyncSession, actor: Actor, episode_id: UUID) -> Sequence[Schedule]:
    return await versions.find_versions(session, Schedule, actor, episode_id)


def get_ready_made(reference: str) -> Protocol:
    try:
        return get_protocol(reference)
    except LookupError:
        raise NotFoundError("There is no such protocol.") from None


async def _next_version(
    session: AsyncSession,
    actor: Actor,
    episode: EpisodeOfCare,
    content: SchedulePut,
    based_on: int | None,
    now: datetime,
) -> Schedule:
    current = await _get_unchanged(session, actor, episode.id, based_on)
    protocol = None if content.protocol is None else _known_protocol(content.protocol)
    entries = protocol.entries if protocol else tuple(plan_entry(entry) for entry in content.entries or ())
    quiet = await _quiet(session, actor, content)
    versions.refuse([*_faults(content, current, episode), *_plan_faults(content, entries, quiet)])
    author = (
        versions.first(actor, episode.id, now)
        if current is None
        else versions.following(current, actor, now, content.reason or "")
    )
    return Schedule(
        **author
        | {
            "patient_id": episode.patient_id,
            "protocol": protocol and f"{protocol.code}@{protocol.version}",
            "entries": [_stored(entry) for entry in entries],
            "quiet_from": content.quiet_hours and content.quiet_hours.begins,
            "quiet_until": content.quiet_hours and content.quiet_hours.ends,
        }
    )


async def _get_unchanged(session: AsyncSession, actor: Actor, id_: UUID, based_on: int | None) -> Schedule | None:
    """The version to be followed, if it is still the one the change is based on; None where there is none."""
    try:
        current = await get_schedule(session, actor, id_)
    except NotFoundError:
        if based_on is not None:
            raise StaleError("There is no schedule yet. Leave `If-Match` out to write the first.") from None
        return None
    if based_on is None:
        raise PreconditionRequiredError("There is a schedule. Send `If-Match` with the `ETag` of the version you read.")
    return await versions.get_unchanged(session, Schedule, actor, current.id, based_on)


async def _quiet(session: AsyncSession, actor: Actor, content: SchedulePut) -> QuietHours:
    if content.quiet_hours is None:
        rules = await rules_of(await driver_connection(session), actor.clinic_id)
        return QuietHours(rules.quiet_from, rules.quiet_until)
    return quiet_hours(content.quiet_hours.begins, content.quiet_hours.ends)


def _known_protocol(reference: str) -> Protocol:
    try:
        return get_protocol(reference)
    except LookupError:
        fault = Fault("/protocol", "unknown_protocol", "There is no such protocol or version.")
        raise InvalidError("The protocol is unknown.", faults=(fault,)) from None


def _faults(content: SchedulePut, current: Schedule | None, episode: EpisodeOfCare) -> Iterator[Fault]:
    if episode.entered_in_error:
        yield Fault("", "episode_in_error", "The episode was entered in error.")
    if current is not None and content.reason is None:
        yield Fault("/reason", "missing", "There is a schedule already; say why it changes.")


def _plan_faults(content: SchedulePut, entries: Sequence[PlanEntry], quiet: QuietHours) -> Iterator[Fault]:
    """Each at its place in the body, which names a protocol's entries by the protocol alone."""
    for fault in plan_faults(entries, quiet):
        place = f"/entries/{fault.index}/{fault.field}" if content.protocol is None else "/protocol"
        yield Fault(place, fault.code, fault.message)


def _stored(entry: PlanEntry) -> dict[str, Any]:
    return schedule_entry(entry).model_dump(mode="json", exclude_none=True)
