"""What decides which check-ins are expected of patients: schedules, dosing sessions, and where their clocks stand."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.schemas.schedules import ScheduleEntry, plan_entry, quiet_hours
from app.scoring.schedule import PlanEntry, QuietHours, Session, ZoneFrom
from app.services.clinic_rules import DEFAULTS
from app.services.time_zones import zones_of

# Episodes that have a schedule, those entered in error too: what was expected in them has to go. A patient without any
# costs a probe of the episodes' index. $3 is null, or the time as of which the story is to be told.
_PLANS: Final = """
SELECT episode.patient_id, episode.id, episode.opened_at, episode.closed_at, episode.entered_in_error,
       schedule.version, schedule.entries::text AS entries,
       coalesce(schedule.quiet_from, rules.quiet_from) AS quiet_from,
       coalesce(schedule.quiet_until, rules.quiet_until) AS quiet_until
FROM episode
CROSS JOIN LATERAL (
  SELECT version, entries, quiet_from, quiet_until FROM schedule
  WHERE clinic_id = $1 AND id = episode.id AND recorded_at <= coalesce($3, 'infinity'::timestamptz)
  ORDER BY version DESC LIMIT 1) schedule
LEFT JOIN LATERAL (
  SELECT quiet_from, quiet_until FROM clinic_rules
  WHERE clinic_id = $1 AND id = $1 AND recorded_at <= coalesce($3, 'infinity'::timestamptz)
  ORDER BY version DESC LIMIT 1) rules ON true
WHERE episode.clinic_id = $1 AND episode.patient_id = ANY($2::uuid[])
  AND episode.recorded_at <= coalesce($3, 'infinity'::timestamptz)
  AND NOT EXISTS (
    SELECT FROM episode later
    WHERE later.clinic_id = $1 AND later.id = episode.id AND later.version > episode.version
      AND later.recorded_at <= coalesce($3, 'infinity'::timestamptz))
ORDER BY episode.patient_id, episode.opened_at, episode.id
"""
_SESSIONS: Final = """
SELECT this.episode_id, this.id, coalesce(this.started_at, this.scheduled_at) AS at
FROM treatment_session this
WHERE this.clinic_id = $1 AND this.episode_id = ANY($2::uuid[])
  AND this.recorded_at <= coalesce($3, 'infinity'::timestamptz)
  AND this.kind = 'dosing' AND this.status IN ('planned', 'done') AND NOT this.entered_in_error
  AND NOT EXISTS (
    SELECT FROM treatment_session later
    WHERE later.clinic_id = $1 AND later.id = this.id AND later.version > this.version
      AND later.recorded_at <= coalesce($3, 'infinity'::timestamptz))
ORDER BY this.episode_id, at, this.id
"""


@dataclass(frozen=True, slots=True)
class PlannedEpisode:
    """One course of treatment with its schedule and the dosing sessions that are planned or done."""

    id: UUID
    opened_at: datetime
    closed_at: datetime | None
    schedule_version: int
    entries: tuple[PlanEntry, ...]  # none in an episode entered in error: nothing is asked in it
    quiet: QuietHours
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class PatientTreatment:
    """What is asked of one patient: the episodes that have a schedule, oldest first."""

    episodes: tuple[PlannedEpisode, ...]
    zones: tuple[ZoneFrom, ...]


async def find_treatments(
    connection: asyncpg.Connection, clinic_id: UUID, patient_ids: Collection[UUID], known_at: datetime | None = None
) -> dict[UUID, PatientTreatment]:
    """By patient; one none of whose episodes has a schedule is left out.

    As the record stood at a time, or as it stands now.
    """
    plans = await connection.fetch(_PLANS, clinic_id, list(patient_ids), known_at)
    if not plans:
        return {}
    episodes = [plan["id"] for plan in plans if not plan["entered_in_error"]]
    sessions = _by_episode(await connection.fetch(_SESSIONS, clinic_id, episodes, known_at))
    patients = dict.fromkeys(plan["patient_id"] for plan in plans)
    zones = await zones_of(connection, clinic_id, list(patients), known_at)
    planned: dict[UUID, list[PlannedEpisode]] = defaultdict(list)
    for plan in plans:
        planned[plan["patient_id"]].append(_planned(plan, sessions.get(plan["id"], ())))
    return {patient: PatientTreatment(tuple(planned[patient]), zones[patient]) for patient in patients}


def _planned(plan: Mapping[str, Any], sessions: Sequence[Session]) -> PlannedEpisode:
    return PlannedEpisode(
        id=plan["id"],
        opened_at=plan["opened_at"],
        closed_at=plan["closed_at"],
        schedule_version=plan["version"],
        entries=() if plan["entered_in_error"] else _entries(plan["entries"]),
        quiet=quiet_hours(plan["quiet_from"] or DEFAULTS["quiet_from"], plan["quiet_until"] or DEFAULTS["quiet_until"]),
        sessions=tuple(sessions),
    )


@lru_cache(maxsize=256)
def _entries(stored: str) -> tuple[PlanEntry, ...]:
    """Read once for each schedule: most patients of a clinic have the same one."""
    return tuple(plan_entry(ScheduleEntry.model_validate(entry)) for entry in json.loads(stored))


def _by_episode(rows: Iterable[Mapping[str, Any]]) -> dict[UUID, list[Session]]:
    found: dict[UUID, list[Session]] = defaultdict(list)
    for row in rows:
        mine = found[row["episode_id"]]
        mine.append(Session(id=str(row["id"]), at=row["at"], number=len(mine) + 1))
    return found
