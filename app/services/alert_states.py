"""Alerts as the record makes them: what is derived from it is held against what was written, and the rest is added."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import asyncpg

from app.scoring.alerting import AlertCause, AlertFact, AlertKind, AlertState, AlertStatus, alert_state, new_facts
from app.services.notification_kinds import NotificationKind
from app.services.outbox import NewNotification, notify

_NAMESPACE: Final = UUID("c4b1f5a6-2d0e-5b7c-9a53-6f0d6b8e4a21")  # never to change: ids of alerts are made with it

_ALERT_EVENTS: Final = """
SELECT alert.id, alert.patient_id, alert.kind AS alert_kind, alert.instrument, alert.item, event.number, event.kind,
       event.at, event.cause, event.assessment_id, event.actor_id, event.action, event.note
FROM alert JOIN alert_event event ON event.clinic_id = $1 AND event.alert_id = alert.id
WHERE alert.clinic_id = $1 AND {wanted}
ORDER BY alert.id, event.number
"""
_OF_PATIENTS: Final = _ALERT_EVENTS.format(wanted="alert.patient_id = ANY($2::uuid[])")
_OF_ALERTS: Final = _ALERT_EVENTS.format(wanted="alert.id = ANY($2::uuid[])")

_STORE: Final = """
WITH added AS (
    INSERT INTO alert_event
        (clinic_id, alert_id, patient_id, number, kind, at, cause, assessment_id, actor_id, action, note)
    SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::int2[], $5::text[], $6::timestamptz[], $7::text[],
        $8::uuid[], $9::uuid[], $10::text[], $11::bytea[])
)
INSERT INTO alert (clinic_id, id, patient_id, kind, instrument, item, status, raised_at, acknowledged_at, resolved_at,
    reopened, version)
SELECT $1, * FROM unnest($12::uuid[], $13::uuid[], $14::text[], $15::text[], $16::int2[], $17::text[],
    $18::timestamptz[], $19::timestamptz[], $20::timestamptz[], $21::int2[], $22::int4[])
ON CONFLICT (clinic_id, id) DO UPDATE SET status = excluded.status, raised_at = excluded.raised_at,
    acknowledged_at = excluded.acknowledged_at, resolved_at = excluded.resolved_at, reopened = excluded.reopened,
    version = excluded.version
"""

# A cause is active until it is withdrawn, as `scoring.alerting` has it.
_OF_FORMS: Final = """
SELECT DISTINCT raised.assessment_id, alert.kind, alert.instrument, alert.item, alert.id
FROM alert_event raised JOIN alert ON alert.clinic_id = $1 AND alert.id = raised.alert_id
WHERE raised.clinic_id = $1 AND raised.assessment_id = ANY($2::uuid[]) AND raised.kind = 'raised'
  AND NOT EXISTS (
    SELECT FROM alert_event later
    WHERE later.clinic_id = $1 AND later.alert_id = raised.alert_id AND later.number > raised.number
      AND later.kind = 'withdrawn' AND later.cause = raised.cause)
ORDER BY raised.assessment_id, alert.kind, alert.instrument, alert.item
"""
# As the sender was first told, whatever came after: what was raised in the transaction that stored the form.
_AT_FIRST: Final = """
SELECT DISTINCT raised.assessment_id, alert.kind, alert.instrument, alert.item, alert.id
FROM assessment form
JOIN alert_event raised ON raised.clinic_id = $1 AND raised.assessment_id = form.id AND raised.at = form.received_at
JOIN alert ON alert.clinic_id = $1 AND alert.id = raised.alert_id
WHERE form.clinic_id = $1 AND form.id = ANY($2::uuid[]) AND form.version = 1 AND raised.kind = 'raised'
ORDER BY raised.assessment_id, alert.kind, alert.instrument, alert.item
"""


class AlertSubject(NamedTuple):
    """What an alert is about. There is one alert for each, for ever."""

    patient_id: UUID
    kind: AlertKind
    instrument: str | None
    item: int | None

    @property
    def id(self) -> UUID:
        return _id_of(self)


@lru_cache(maxsize=1_024)  # asked for several times in one go
def _id_of(subject: AlertSubject) -> UUID:
    instrument, item = ("" if part is None else part for part in (subject.instrument, subject.item))
    return uuid5(_NAMESPACE, f"{subject.patient_id}:{subject.kind.value}:{instrument}:{item}")


@dataclass(frozen=True, slots=True)
class AlertStep:
    """One event of an alert: a fact of the core, and what people want to know of it."""

    number: int
    fact: AlertFact
    assessment_id: UUID | None = None
    actor_id: UUID | None = None  # None: the program
    action: str | None = None
    sealed_note: bytes | None = None
    note: str | None = None  # opened, where somebody is to read it


@dataclass(frozen=True, slots=True)
class AlertHistory:
    """An alert and all that happened to it, oldest first, at least one event."""

    subject: AlertSubject
    steps: tuple[AlertStep, ...]

    @property
    def state(self) -> AlertState:
        return alert_state([step.fact for step in self.steps])

    @property
    def version(self) -> int:
        return len(self.steps)

    def until(self, version: int) -> "AlertHistory":
        """As it stood after that many events."""
        return AlertHistory(self.subject, self.steps[:version])


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert that one form raised or keeps up."""

    id: UUID
    kind: AlertKind
    instrument: str | None
    item: int | None


async def reconcile_alerts(
    connection: asyncpg.Connection, clinic_id: UUID, causes: Mapping[UUID, Collection[AlertCause]], now: datetime
) -> None:
    """Makes these the active causes of these patients' alerts, whatever was active before.

    One query when nothing changes. The caller holds the patients' locks.
    """
    known = {found.subject: found for found in await _histories(connection, _OF_PATIENTS, clinic_id, causes)}
    await _store_changes(connection, clinic_id, list(_changes(known, _by_subject(causes), now)))


async def raise_alerts(
    connection: asyncpg.Connection, clinic_id: UUID, causes: Mapping[UUID, Collection[AlertCause]], now: datetime
) -> dict[UUID, list[RaisedAlert]]:
    """Adds these causes of these patients to those that are active, and says what each form raised.

    For forms that cannot take back what others raised. The caller holds the patients' locks.
    """
    wanted = _by_subject(causes)
    if not wanted:
        return {}
    known = await _histories(connection, _OF_ALERTS, clinic_id, [subject.id for subject in wanted])
    concerned = {found.subject: found for found in known}
    await _store_changes(connection, clinic_id, list(_changes(concerned, wanted, now, keep=True)))
    raised: dict[UUID, list[RaisedAlert]] = {}
    for subject in sorted(wanted, key=lambda subject: subject[1:]):
        alert = RaisedAlert(subject.id, subject.kind, subject.instrument, subject.item)
        for form_id in dict.fromkeys(cause.form_id for cause in wanted[subject].values() if cause.form_id):
            raised.setdefault(UUID(form_id), []).append(alert)
    return raised


async def _store_changes(
    connection: asyncpg.Connection, clinic_id: UUID, changes: Sequence[tuple[AlertHistory, int]]
) -> None:
    if changes:
        await store_steps(connection, clinic_id, changes)
        await notify(connection, clinic_id, list(_notifications(changes)))


async def find_alert_histories(
    connection: asyncpg.Connection, clinic_id: UUID, alert_ids: Iterable[UUID]
) -> list[AlertHistory]:
    """In order of id; one that does not exist is left out."""
    return await _histories(connection, _OF_ALERTS, clinic_id, alert_ids)


async def find_alerts_of_forms(
    connection: asyncpg.Connection, clinic_id: UUID, form_ids: Iterable[UUID]
) -> dict[UUID, list[RaisedAlert]]:
    """By form, each alert that rests on it; a form without any is left out."""
    return _by_form(await connection.fetch(_OF_FORMS, clinic_id, list(form_ids)))


async def find_first_alerts(
    connection: asyncpg.Connection, clinic_id: UUID, form_ids: Iterable[UUID]
) -> dict[UUID, list[RaisedAlert]]:
    """The same as it was when each form came in."""
    return _by_form(await connection.fetch(_AT_FIRST, clinic_id, list(form_ids)))


def _by_form(rows: Iterable[Sequence[Any]]) -> dict[UUID, list[RaisedAlert]]:
    found: dict[UUID, list[RaisedAlert]] = {}
    for form_id, kind, instrument, item, id_ in rows:
        found.setdefault(form_id, []).append(RaisedAlert(id_, AlertKind(kind), instrument, item))
    return found


async def store_steps(
    connection: asyncpg.Connection, clinic_id: UUID, changes: Sequence[tuple[AlertHistory, int]]
) -> None:
    """Each history as it is now, with how many of its last events are new: those, and the state they amount to."""
    steps = [_step_row(history, step) for history, new in changes for step in history.steps[-new:]]
    alerts = [_alert_row(history) for history, _ in changes]
    await connection.execute(_STORE, clinic_id, *zip(*steps, strict=True), *zip(*alerts, strict=True))


async def _histories(
    connection: asyncpg.Connection, query: str, clinic_id: UUID, ids: Iterable[UUID]
) -> list[AlertHistory]:
    rows = await connection.fetch(query, clinic_id, list(ids))
    return [_history(list(mine)) for _, mine in groupby(rows, key=lambda row: row["id"])]


def _history(rows: Sequence[Mapping[str, Any]]) -> AlertHistory:
    first = rows[0]
    subject = AlertSubject(first["patient_id"], AlertKind(first["alert_kind"]), first["instrument"], first["item"])
    return AlertHistory(subject, tuple(map(_step, rows)))


def _step(row: Mapping[str, Any]) -> AlertStep:
    fact = AlertFact(row["kind"], row["at"], row["cause"])
    return AlertStep(row["number"], fact, row["assessment_id"], row["actor_id"], row["action"], row["note"])


def _by_subject(causes: Mapping[UUID, Collection[AlertCause]]) -> dict[AlertSubject, dict[str, AlertCause]]:
    """Each cause once, by its key, under the alert it belongs to."""
    found: dict[AlertSubject, dict[str, AlertCause]] = {}
    for patient_id, own in causes.items():
        for cause in own:
            subject = AlertSubject(patient_id, cause.kind, cause.instrument, cause.item)
            found.setdefault(subject, {})[cause.key] = cause
    return found


def _changes(
    known: Mapping[AlertSubject, AlertHistory],
    derived: Mapping[AlertSubject, Mapping[str, AlertCause]],
    now: datetime,
    *,
    keep: bool = False,
) -> Iterator[tuple[AlertHistory, int]]:
    """What has to be added, in an order that is the same for everybody; with `keep` nothing active is taken back."""
    for subject in sorted(known.keys() | derived.keys(), key=lambda subject: subject.id):
        before = known.get(subject, AlertHistory(subject, ()))
        active = before.state.active if keep and before.steps else frozenset()
        added = _added(before.steps, derived.get(subject, {}), active, now)
        if added:
            yield AlertHistory(subject, before.steps + added), len(added)


def _added(
    before: Sequence[AlertStep], derived: Mapping[str, AlertCause], kept: Collection[str], now: datetime
) -> tuple[AlertStep, ...]:
    """Never earlier than what was there before: `now` was read before the wait for the lock."""
    at = max([now, *(step.fact.at for step in before[-1:])])
    forms = {step.fact.cause: step.assessment_id for step in before if step.fact.kind == "raised"}
    forms |= {key: None if cause.form_id is None else UUID(cause.form_id) for key, cause in derived.items()}
    facts = new_facts([step.fact for step in before], {*derived, *kept}, at)
    return tuple(
        AlertStep(number, fact, forms.get(fact.cause)) for number, fact in enumerate(facts, start=len(before) + 1)
    )


def _notifications(changes: Iterable[tuple[AlertHistory, int]]) -> Iterator[NewNotification]:
    """One for each alert that waits now and did not before. It names no symptom: it ends in logs, on locked screens."""
    for history, new in changes:
        before, last = history.until(history.version - new), history.steps[-1]
        if history.state.status is not AlertStatus.OPEN or (before.steps and before.state.status is AlertStatus.OPEN):
            continue
        kind = NotificationKind.ALERT_REOPENED if before.steps else NotificationKind.ALERT_OPENED
        id_, patient_id = history.subject.id, history.subject.patient_id
        yield NewNotification(f"alert:{id_}:{last.number}", kind, patient_id, id_, last.fact.at)


def _step_row(history: AlertHistory, step: AlertStep) -> tuple[Any, ...]:
    subject, fact = history.subject, step.fact
    happened = (subject.id, subject.patient_id, step.number, fact.kind, fact.at, fact.cause)
    return (*happened, step.assessment_id, step.actor_id, step.action, step.sealed_note)


def _alert_row(history: AlertHistory) -> tuple[Any, ...]:
    subject, state = history.subject, history.state
    about = (subject.id, subject.patient_id, subject.kind.value, subject.instrument, subject.item)
    times = (state.raised_at, state.acknowledged_at, state.resolved_at)
    return (*about, state.status.value, *times, state.reopened, history.version)
