"""What is known of patients' treatment: episodes of care with the doses given in them, as of any time."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.scoring.episode import Episode
from app.scoring.treatment import Dose

History = tuple[Episode, ...]


def history_sql(clinic: str, patients: str, known_at: str, more: str = "") -> str:
    """A query of current episodes and doses; the arguments are the SQL of its three parameters, and further columns.

    Each row is a dose with its episode, or an episode without any. Versions are few, so that the probe for a later one
    costs little; it is asked "as known at", so that the story of before can be told as it stood. That the doses, and
    later versions of an episode, are of the same patients is implied, and said so that the planner takes the index.
    """
    return f"""
SELECT episode.patient_id, episode.id, episode.opened_at, episode.closed_at, dose.id AS dose_id, dose.started_at,
       dose.ended_at{more}
FROM episode
LEFT JOIN treatment_session dose
  ON dose.clinic_id = episode.clinic_id AND dose.patient_id = episode.patient_id AND dose.episode_id = episode.id
  AND dose.patient_id = ANY({patients})
  AND dose.kind = 'dosing' AND dose.status = 'done' AND NOT dose.entered_in_error AND dose.recorded_at <= {known_at}
  AND NOT EXISTS (
    SELECT FROM treatment_session later
    WHERE later.clinic_id = {clinic} AND later.id = dose.id AND later.version > dose.version
      AND later.recorded_at <= {known_at})
WHERE episode.clinic_id = {clinic} AND episode.patient_id = ANY({patients})
  AND NOT episode.entered_in_error AND episode.recorded_at <= {known_at}
  AND NOT EXISTS (
    SELECT FROM episode later
    WHERE later.clinic_id = {clinic} AND later.patient_id = ANY({patients}) AND later.id = episode.id
      AND later.version > episode.version AND later.recorded_at <= {known_at})
ORDER BY episode.patient_id, episode.opened_at, episode.id, dose.started_at, dose.id
"""


_HISTORIES: Final = history_sql("$1", "$2::uuid[]", "$3")


async def find_histories(
    connection: asyncpg.Connection, clinic_id: UUID, patient_ids: Iterable[UUID], known_at: datetime
) -> dict[UUID, History]:
    """By patient; one without any episode is left out."""
    rows = await connection.fetch(_HISTORIES, clinic_id, list(patient_ids), known_at)
    return {patient: history_of(mine) for patient, mine in groupby(rows, key=itemgetter("patient_id"))}


def history_of(rows: Iterable[Mapping[str, Any]]) -> History:
    """One patient's rows of the query, as what they mean."""
    return tuple(_episode(list(mine)) for _, mine in groupby(rows, key=itemgetter("id")))


def history_from_json(text: str | None) -> History:
    """The same rows where they came as JSON inside another statement's answer."""
    return history_of([_with_times(row) for row in json.loads(text or "[]")])


def _episode(rows: list[Mapping[str, Any]]) -> Episode:
    doses = [
        Dose(str(row["dose_id"]), row["started_at"], row["ended_at"]) for row in rows if row["dose_id"] is not None
    ]
    return Episode(str(rows[0]["id"]), rows[0]["opened_at"], rows[0]["closed_at"], tuple(doses))


def _with_times(row: dict[str, Any]) -> dict[str, Any]:
    times = ("opened_at", "closed_at", "started_at", "ended_at")
    return row | {name: datetime.fromisoformat(row[name]) for name in times if row[name] is not None}
