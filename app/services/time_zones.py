"""Where patients' clocks stand: the clinic's zone, and from some time on the one a patient travelled to."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID
from zoneinfo import available_timezones

import asyncpg

from app.errors import Fault
from app.scoring.schedule import ZoneFrom

FURTHEST_AHEAD: Final = timedelta(days=366)  # of a journey that is planned
_NO_PLACES: Final = frozenset({"Factory", "localtime"})  # in the list of zones, and no zone anybody lives in

# The clinic's own zone stands before all others. `id` is the patient's, and the key begins with it.
_ZONES: Final = """
SELECT NULL::uuid AS patient_id, time_zone, NULL::timestamptz AS valid_from, 0 AS version FROM clinic
WHERE clinic_id = $1
UNION ALL
SELECT id, time_zone, valid_from, version FROM patient_time_zone
WHERE clinic_id = $1 AND id = ANY($2::uuid[]) AND recorded_at <= coalesce($3, 'infinity'::timestamptz)
ORDER BY version
"""


async def zones_of(
    connection: asyncpg.Connection, clinic_id: UUID, patient_ids: Collection[UUID], known_at: datetime | None = None
) -> dict[UUID, tuple[ZoneFrom, ...]]:
    """For each patient the clinic's zone, then the patient's own; at an instant holds the last that has begun.

    As the record stood at a time, or as it stands now.
    """
    clinics, *rows = await connection.fetch(_ZONES, clinic_id, list(patient_ids), known_at)
    zones = {patient: [ZoneFrom(None, clinics["time_zone"])] for patient in patient_ids}
    for row in rows:
        zones[row["patient_id"]].append(ZoneFrom(row["valid_from"], row["time_zone"]))
    return {patient: in_order(own) for patient, own in zones.items()}


def in_order(zones: Iterable[ZoneFrom]) -> tuple[ZoneFrom, ...]:
    """By the time they begin; of those that begin together, the one recorded later stays the last."""
    return tuple(sorted(zones, key=lambda zone: (zone.valid_from is not None, zone.valid_from)))


def zone_at(zones: Sequence[ZoneFrom], at: datetime) -> str:
    """The zone that holds at an instant."""
    return [zone.zone for zone in zones if zone.valid_from is None or zone.valid_from <= at][-1]


@cache
def known_zones() -> frozenset[str]:
    """All IANA names; read from disk once."""
    return frozenset(available_timezones()) - _NO_PLACES


def zone_faults(time_zone: str) -> Iterator[Fault]:
    """One for a zone that nobody knows."""
    if time_zone not in known_zones():
        yield Fault("/time_zone", "unknown_time_zone", "Write an IANA name, Europe/Berlin.")


def journey_faults(time_zone: str, valid_from: datetime, now: datetime) -> Iterator[Fault]:
    """What is wrong with a zone that shall hold from some time on."""
    yield from zone_faults(time_zone)
    if valid_from > now + FURTHEST_AHEAD:
        yield Fault("/time_zone_from", "too_far_ahead", "The time lies more than a year ahead.")
