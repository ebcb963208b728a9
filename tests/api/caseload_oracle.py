"""A clinic made up at random, row by row, and what a caseload must say of it, worked out in plain Python."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.crypto import KeyRing
from app.scoring.registry import get_instrument
from app.services.data_keys import get_keys
from app.services.sealing import place, seal_text

AS_OF: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY: Final = timedelta(days=1)
CATEGORIES: Final = ("harmed", "deteriorated", "unchanged", None, "improved", "recovered")  # worst first
OTHER_INSTRUMENT: Final = "gad-7"


@dataclass
class Session:
    """All versions of one appointment, oldest first: status, time, whether in error."""

    kind: str
    versions: list[tuple[str, datetime, bool]]


@dataclass
class Person:
    id: UUID
    external_ref: str | None
    created_at: datetime
    standing: dict[str, Any] | None = None  # on the instrument asked for
    alerts: list[tuple[str, datetime]] = field(default_factory=list)  # status, raised at
    windows: list[tuple[datetime, datetime, datetime, bool]] = field(default_factory=list)  # the last: answered
    sessions: list[Session] = field(default_factory=list)

    @property
    def taken_at(self) -> datetime | None:
        return None if self.standing is None else self.standing["taken_at"]

    @property
    def silent_since(self) -> datetime:
        return self.taken_at or self.created_at

    @property
    def open_alerts(self) -> list[datetime]:
        return [at for status, at in self.alerts if status == "open"]

    @property
    def category(self) -> str | None:
        return None if self.standing is None else self.standing["category"]

    @property
    def on_track(self) -> bool | None:
        return None if self.standing is None else self.standing["on_track"]

    @property
    def change(self) -> float | None:
        return None if self.standing is None else self.standing["change"]

    @property
    def overdue(self) -> int:
        return sum(not answered and late <= AS_OF < closes for _, late, closes, answered in self.windows)

    @property
    def missed(self) -> int:
        return sum(not answered and AS_OF - 28 * DAY < closes <= AS_OF for _, _, closes, answered in self.windows)

    @property
    def next_session(self) -> tuple[datetime, str] | None:
        current = [(session.kind, *session.versions[-1]) for session in self.sessions]
        planned = [(at, kind) for kind, status, at, wrong in current if status == "planned" and not wrong]
        return min(((at, kind) for at, kind in planned if at >= AS_OF), default=None)


# --- Making -----------------------------------------------------------------------------------------------------------


def made_up(seed: int, count: int) -> list[Person]:
    """Few different values, and many of them right at a border, so that ties and edges are common."""
    draw = random.Random(seed)  # noqa: S311  # the same clinic in every run
    return [_person(draw, number) for number in range(count)]


def _person(draw: random.Random, number: int) -> Person:
    ref = draw.choice((None, f"chart-{number}", f"Chart {number % 9}-{number}", f"ärztin {number}"))
    person = Person(UUID(int=draw.getrandbits(128), version=4), ref, AS_OF - draw.choice((1, 5, 40)) * DAY)
    if draw.random() < 0.8:
        person.standing = _standing(draw)
    for _ in range(draw.choice((0, 0, 1, 2, 3))):
        status = draw.choice(("open", "acknowledged", "resolved", "withdrawn"))
        person.alerts.append((status, AS_OF - draw.randint(0, 4) * DAY))
    for _ in range(draw.choice((0, 1, 5))):
        late = AS_OF + draw.choice((-30, -28, -27, -1, 0, 1)) * DAY
        closes = late + draw.choice((0, 1, 2)) * DAY
        person.windows.append((late - DAY, late, closes, draw.random() < 0.3))
    for number_of_session in range(draw.choice((0, 1, 3))):
        # No two at one time: which of them is the next would hang on their ids.
        times = [AS_OF + draw.choice((-9, 0, 9)) * DAY + timedelta(hours=number_of_session) for _ in range(2)]
        status = draw.choice(("planned", "planned", "cancelled"))
        last = (status, times[1], draw.random() < 0.2)
        versions = [last] if draw.random() < 0.5 else [("planned", times[0], False), last]
        person.sessions.append(Session(draw.choice(("preparation", "integration")), versions))
    return person


def _standing(draw: random.Random) -> dict[str, Any]:
    total = draw.choice((None, 3, 12, 190 / 9))
    start = draw.choice((None, 14, 20))
    change = None if start is None else draw.choice((-8, -1.5, 0, 0, 4))
    return {
        "episode_id": draw.choice((None, UUID(int=5))),
        "assessment_id": UUID(int=draw.getrandbits(128), version=4),
        "taken_at": AS_OF - draw.choice((0, 1, 7, 7, 30)) * DAY,
        "validity": "incomplete" if total is None else "valid",
        "total": total,
        "severity": None if total is None else {"3": "minimal", "12": "moderate"}.get(str(total), "severe"),
        "change_since_last": draw.choice((None, -2, 1.5)),
        "baseline_id": None if start is None else UUID(int=6),
        "baseline_rule": draw.choice(("pre_treatment", "first")),
        "baseline_total": start,
        "change": change,
        "percent_change": None if change is None else change * 5.0,
        "category": draw.choice(CATEGORIES),
        "on_track": draw.choice((True, False, None)),
        "on_track_reason": "too_early",
        "forms": draw.randint(1, 9),
        "doses": draw.randint(0, 3),
        "last_dose_at": draw.choice((None, AS_OF - 12 * DAY)),
    }


# --- Storing ----------------------------------------------------------------------------------------------------------


async def store(
    connection: asyncpg.Connection, ring: KeyRing, clinic_id: UUID, people: Sequence[Person], instrument: str
) -> None:
    keys = await get_keys(connection, ring, clinic_id, [person.id for person in people])
    for person in people:
        names = json.dumps({"external_ref": person.external_ref})
        home = place("patient", "identifiers", clinic_id, person.id)
        identifiers = None if person.external_ref is None else seal_text(keys[person.id], names, home)
        await connection.execute(
            "INSERT INTO patient (clinic_id, id, identifiers, created_at) VALUES ($1, $2, $3, $4)",
            *(clinic_id, person.id, identifiers, person.created_at),
        )
        if person.standing is not None:
            await set_standing(connection, clinic_id, person.id, instrument, person.standing)
        # A standing on another instrument must neither be shown nor hide the patient.
        another = _standing(random.Random(person.id.int)) | {"category": "harmed"}  # noqa: S311  # no secret
        await set_standing(connection, clinic_id, person.id, OTHER_INSTRUMENT, another)
        await connection.executemany(_ALERT, [(clinic_id, person.id, *alert) for alert in person.alerts])
        await connection.executemany(_WINDOW, [(clinic_id, person.id, *window) for window in person.windows])
        for session in person.sessions:
            await _store_session(connection, clinic_id, person.id, session)


async def set_standing(
    connection: asyncpg.Connection, clinic_id: UUID, patient_id: UUID, instrument: str, row: dict[str, Any]
) -> None:
    values = {"clinic_id": clinic_id, "patient_id": patient_id, "instrument": instrument, **row}
    await connection.execute("DELETE FROM standing WHERE patient_id = $1 AND instrument = $2", patient_id, instrument)
    places = ", ".join(f"${number}" for number, _ in enumerate(values, start=1))
    await connection.execute(f"INSERT INTO standing ({', '.join(values)}) VALUES ({places})", *values.values())


async def _store_session(connection: asyncpg.Connection, clinic_id: UUID, patient_id: UUID, session: Session) -> None:
    made = await connection.fetchval("SELECT gen_random_uuid()")
    for version, (status, at, wrong) in enumerate(session.versions, start=1):
        reason = None if version == 1 else b"moved"
        await connection.execute(
            _SESSION, clinic_id, made, version, reason, patient_id, session.kind, status, at, wrong
        )


_ALERT: Final = """
INSERT INTO alert (clinic_id, id, patient_id, kind, status, raised_at, reopened, version)
VALUES ($1, gen_random_uuid(), $2, 'reliable_worsening', $3, $4, 0, 1)
"""
_WINDOW: Final = """
INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, opens_at,
    overdue_at, closes_at, assessment_id, answered_at)
VALUES ($1, gen_random_uuid(), $2::uuid, $2::uuid, 'k', 'k', 'pcl-5-week', $4::timestamptz, $3, $4::timestamptz, $5,
    CASE WHEN $6::bool THEN $2::uuid END, CASE WHEN $6::bool THEN $4::timestamptz END)
"""
_SESSION: Final = """
INSERT INTO treatment_session (clinic_id, id, version, recorded_at, recorded_by, reason, patient_id, episode_id, kind,
    status, scheduled_at, scheduled_at_offset_minutes, moved, setting, "group", entered_in_error)
VALUES ($1, $2, $3, now(), $1, $4, $5, $5, $6, $7, $8, 0, false, 'clinic', false, $9)
"""


# --- Judging ----------------------------------------------------------------------------------------------------------


def sort_keys(better: int) -> dict[str, Callable[[Person], tuple[Any, ...]]]:
    """By name of the order; `better` is 1 where higher is better, -1 where lower is. The id breaks every tie."""
    return {
        "worst": lambda p: (
            -len(p.open_alerts),
            p.on_track is not False,
            CATEGORIES.index(p.category),
            p.silent_since,
        ),
        "name": lambda p: (p.external_ref is None, (p.external_ref or "").encode()),
        "last_form": lambda p: (p.taken_at is not None, p.silent_since),
        "next_session": lambda p: (
            p.next_session is None,
            p.silent_since if p.next_session is None else p.next_session[0],
        ),
        "change": lambda p: (p.change is None, (p.change or 0) * better),
    }


def in_order(people: Iterable[Person], sort: str, better: int) -> list[Person]:
    key = sort_keys(better)[sort]
    return sorted(people, key=lambda person: (*key(person), person.id.bytes))


def matches(person: Person, filters: dict[str, Any]) -> bool:
    unknown = {True: "true", False: "false", None: "unknown"}
    rules: dict[str, Callable[[Any], bool]] = {
        "category": lambda wanted: (person.category or "unknown") in wanted,
        "on_track": lambda wanted: unknown[person.on_track] == wanted,
        "has_open_alerts": lambda wanted: bool(person.open_alerts) is (wanted == "true"),
        "overdue": lambda wanted: bool(person.overdue) is (wanted == "true"),
        "silent_for_days": lambda wanted: AS_OF - person.silent_since >= wanted * DAY,
        "patient_id": lambda wanted: str(person.id) == wanted,
    }
    return all(rules[name](wanted) for name, wanted in filters.items())


def entry(person: Person, instrument: str) -> dict[str, Any]:
    """What the answer must say of one person."""
    row = person.standing
    missing: dict[str, Any] = dict.fromkeys(
        ("episode_id", "last_form", "baseline", "change", "percent_change", "change_since_last", "category", "on_track")
    ) | dict.fromkeys(("on_track_reason", "forms", "doses", "last_dose_at", "days_since_last_form"))
    return {
        "patient_id": str(person.id),
        "external_ref": person.external_ref,
        **(missing if row is None else _of_standing(row, instrument)),
        "alerts": {
            "open": len(person.open_alerts),
            "acknowledged": sum(status == "acknowledged" for status, _ in person.alerts),
            "oldest_open_at": _time(min(person.open_alerts, default=None)),
        },
        "check_ins": {"overdue": person.overdue, "missed": person.missed},
        "next_session": None
        if person.next_session is None
        else {"at": _time(person.next_session[0]), "kind": person.next_session[1]},
    }


def _of_standing(row: dict[str, Any], instrument: str) -> dict[str, Any]:
    bands = {band.code: band for band in get_instrument(instrument).bands}
    band = bands.get(row["severity"])
    return {
        "episode_id": row["episode_id"] and str(row["episode_id"]),
        "last_form": {
            "assessment_id": str(row["assessment_id"]),
            "taken_at": _time(row["taken_at"]),
            "total": row["total"],
            "validity": row["validity"],
            "severity": band
            and {"code": band.code, "label": band.label, "minimum": band.minimum, "maximum": band.maximum},
        },
        "days_since_last_form": (AS_OF - row["taken_at"]).days,
        "baseline": row["baseline_total"]
        and {
            "assessment_id": str(row["baseline_id"]),
            "rule": row["baseline_rule"],
            "total": row["baseline_total"],
        },
        **{name: row[name] for name in ("change", "percent_change", "change_since_last", "category", "on_track")},
        **{name: row[name] for name in ("on_track_reason", "forms", "doses")},
        "last_dose_at": _time(row["last_dose_at"]),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def ids(people: Sequence[Person]) -> list[str]:
    return [str(person.id) for person in people]
