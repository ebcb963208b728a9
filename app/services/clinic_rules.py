"""What a clinic has decided for itself. Until it decides, the defaults hold: they are version 1 of every clinic."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.schemas.clinic_rules import ClinicRulesChange, ClinicRulesContent
from app.schemas.limits import MAX_VERSIONS
from app.services import versions
from app.tables import Clinic, ClinicRules

DEFAULTS: Final[dict[str, Any]] = {
    "quiet_from": "21:00",
    "quiet_until": "08:00",
    "amend_window_hours": 24,
    "missed_in_a_row": 3,
    "safety_text": (
        "Nobody watches this form at all hours. If you are in danger, or may harm yourself, call your local emergency "
        "number or a crisis line now, or tell someone near you. Your clinic will see your answer."
    ),
}

_NEWEST: Final = """
SELECT quiet_from, quiet_until, amend_window_hours, missed_in_a_row, safety_text
FROM clinic_rules WHERE clinic_id = $1 AND id = $1 ORDER BY version DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules in force. Between equal quiet times there is no quiet; they are of the patient's clock."""

    quiet_from: time
    quiet_until: time
    amend_window_hours: int
    missed_in_a_row: int
    safety_text: str


@dataclass(frozen=True, slots=True)
class ClinicInView:
    """The clinic with one version of its rules."""

    clinic: Clinic
    rules: ClinicRules


async def rules_of(connection: asyncpg.Connection, clinic_id: UUID) -> Rules:
    """What holds now."""
    row = dict(await connection.fetchrow(_NEWEST, clinic_id) or DEFAULTS)
    return Rules(**row | {name: time.fromisoformat(row[name]) for name in ("quiet_from", "quiet_until")})


async def get_clinic(session: AsyncSession, actor: Actor) -> ClinicInView:
    return (await find_clinic_versions(session, actor, limit=1))[0]


async def find_clinic_versions(
    session: AsyncSession, actor: Actor, limit: int = MAX_VERSIONS
) -> Sequence[ClinicInView]:
    """Newest first; the last is what every clinic starts with."""
    clinic = await get_own_clinic(session, actor)
    query = select(ClinicRules).where(ClinicRules.clinic_id == actor.clinic_id, ClinicRules.id == actor.clinic_id)
    changes = (await session.exec(query.order_by(col(ClinicRules.version).desc()).limit(limit))).all()
    return [ClinicInView(clinic, rules) for rules in [*changes, _as_made(clinic)][:limit]]


async def amend_clinic_rules(
    session: AsyncSession, actor: Actor, change: ClinicRulesChange, based_on: int, key: str | None
) -> tuple[ClinicInView, bool]:
    """The next version, and whether this was a repeat of an earlier call."""
    before = await get_clinic(session, actor)
    if await versions.is_replayed(session, actor, "clinic_rules.amend", actor.clinic_id, based_on, change, key):
        made = await versions.get_version(session, ClinicRules, actor, actor.clinic_id, based_on + 1)
        return ClinicInView(before.clinic, made), True
    current = versions.unchanged(before.rules, based_on)
    content = versions.changed(ClinicRulesContent, versions.stored(current, ClinicRulesContent), change)
    following = versions.following(current, actor, datetime.now(UTC), change.reason)
    row = ClinicRules(**following | content.model_dump())
    await versions.store(session, actor, row, "clinic_rules.amend")
    return ClinicInView(before.clinic, row), False


async def get_own_clinic(session: AsyncSession, actor: Actor) -> Clinic:
    query = select(Clinic).where(Clinic.clinic_id == actor.clinic_id)
    return (await session.exec(query)).one()


def _as_made(clinic: Clinic) -> ClinicRules:
    return ClinicRules(**versions.default(clinic.clinic_id, clinic.clinic_id, clinic.created_at), **DEFAULTS)
