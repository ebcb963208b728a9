"""Forms on their way in: those in flight at once are stored together, by one transaction for each clinic.

A transaction costs as many round trips for one form as for hundreds. Nobody is answered before the commit, and what is
wrong with one form harms no other: such things are found before anything is written, and if Postgres refuses a group
all the same, its forms are tried again one by one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

import asyncpg

from app.auth import Actor
from app.db import Database
from app.errors import AppError, DefectError, KeyReusedError, NotFoundError, UnavailableError
from app.ids import new_id
from app.services.derivation import follow
from app.services.idempotency import find_claimed
from app.services.locks import lock_key
from app.services.scored_assessments import AssessmentInView, ScoredAssessment, in_view
from app.services.stored_assessments import find_first_answers, safety_text_for

GROUP: Final = 100  # forms at most that share a transaction
FLUSHERS: Final = 2  # transactions of one clinic under way at once, so that one computes while the other waits
_ROUNDS: Final = 3  # of storing; a second one is needed when another transaction took an id or key at that moment

Outcome = tuple[AssessmentInView, bool] | AppError  # the stored form, and whether it was a repeat

_LOOK_UP: Final = """
SELECT patient.id IS NOT NULL AS patient_known, form.fingerprint AS form_content,
       known.fingerprint AS key_content, known.resource_id
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[])
     WITH ORDINALITY AS asked (id, patient_id, principal_id, key, number)
LEFT JOIN patient ON patient.clinic_id = $1 AND patient.id = asked.patient_id
LEFT JOIN assessment form ON form.clinic_id = $1 AND form.id = asked.id AND form.version = 1
LEFT JOIN idempotency_key known
  ON known.clinic_id = $1 AND known.principal_id = asked.principal_id AND known.key = asked.key
ORDER BY asked.number
"""
# Forms of ten and of twenty answers do not fit one array of arrays, so each comes as the text of its own.
_STORE: Final = """
WITH entry AS (
    SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::float8[],
        $9::timestamptz[], $10::smallint[], $11::text[], $12::text[], $13::uuid[], $14::text[], $15::bytea[],
        $16::int[], $17::int[], $18::text[], $19::uuid[], $20::uuid[], $21::text[], $22::text[], $23::uuid[])
    AS entry (id, patient_id, instrument, instrument_version, responses, validity, total, taken_at, "offset", mode,
        language, principal_id, role, fingerprint, skew, correction, key, event_id, request_id, address, purpose,
        emergency_id)
), keyed AS (
    INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at)
    SELECT $1, principal_id, key, fingerprint, id, $24 FROM entry WHERE key IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING principal_id, key
), stored AS (
    INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity,
        total, taken_at, taken_at_offset_minutes, received_at, mode, language, status, recorded_by,
        device_skew_seconds, clock_correction_minutes, fingerprint)
    SELECT $1, id, 1, patient_id, instrument, instrument_version, responses::smallint[], validity, total, taken_at,
        "offset", $24, mode, language, 'final', principal_id, skew, correction, fingerprint
    FROM entry WHERE key IS NULL OR (principal_id, key) IN (SELECT principal_id, key FROM keyed)
    ON CONFLICT DO NOTHING RETURNING id
), audited AS (
    INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id, request_id,
        address, purpose, outcome, emergency_id)
    SELECT $1, event_id, $24, principal_id, role, 'assessment.create', patient_id, id, request_id, address, purpose,
        'done', emergency_id
    FROM entry WHERE id IN (SELECT id FROM stored)
)
SELECT id FROM stored
"""
_IS_ANY_ABSENT: Final = """
SELECT EXISTS (
    SELECT FROM unnest($2::uuid[]) named (id)
    WHERE NOT EXISTS (SELECT FROM patient WHERE patient.clinic_id = $1 AND patient.id = named.id))
"""
_CLAIM_KEYS: Final = """
INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at)
SELECT $1, * , $6 FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::uuid[])
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One form as somebody sent it; `content` is its fingerprint."""

    actor: Actor
    form: ScoredAssessment
    content: bytes
    key: str | None
    refusal: AppError | None = None  # of a new form; a repeat is a repeat, whatever the sender's clock shows by now


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """A caller's key for a whole batch, and whose forms its content is made of."""

    key: str
    content: bytes
    patient_ids: frozenset[UUID]


class Intake:
    """The forms in flight of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[UUID, list[tuple[Entry, asyncio.Future[Outcome]]]] = defaultdict(list)
        self._flushing: dict[UUID, int] = defaultdict(int)
        self._tasks: set[asyncio.Task[None]] = set()

    async def store(self, entry: Entry) -> Outcome:
        """Comes back after the commit that made it last."""
        clinic_id = entry.actor.clinic_id
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[clinic_id].append((entry, answer))
        if self._flushing[clinic_id] < FLUSHERS:
            self._flushing[clinic_id] += 1
            task = asyncio.create_task(self._flush(clinic_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _flush(self, clinic_id: UUID) -> None:
        """Until nobody waits. Between finding that and saying so nothing is awaited, or a newcomer would be missed."""
        while group := self._waiting[clinic_id][:GROUP]:
            del self._waiting[clinic_id][:GROUP]
            outcomes = await _store_apart(self._database, clinic_id, [entry for entry, _ in group])
            if isinstance(outcomes[0], UnavailableError):  # who waited behind them would now wait as long again
                group += self._waiting[clinic_id]
                self._waiting[clinic_id].clear()
                outcomes += [outcomes[0]] * (len(group) - len(outcomes))
            for (_, answer), outcome in zip(group, outcomes, strict=True):
                if not answer.done():  # whoever has hung up
                    _give(answer, outcome)
        self._flushing[clinic_id] -= 1
        if not self._flushing[clinic_id]:
            del self._flushing[clinic_id], self._waiting[clinic_id]


_INTAKES: Final[WeakKeyDictionary[Database, Intake]] = WeakKeyDictionary()


def intake_of(database: Database) -> Intake:
    """The one of this process and database; two would not know of each other's forms."""
    if database not in _INTAKES:
        _INTAKES[database] = Intake(database)
    return _INTAKES[database]


async def store_batch(
    database: Database, actor: Actor, entries: Sequence[Entry], claim: BatchClaim | None
) -> tuple[list[Outcome], bool]:
    """An outcome for each, and whether the same batch came before under the same key and content.

    One transaction for all of them. Raises KeyReusedError for a key of other content.
    """
    try:
        async with database.locked(actor.clinic_id, lock_keys(entries)) as connection:
            is_repeat = await _claim_batch(connection, actor, claim)
            return await store_on(connection, actor.clinic_id, entries), is_repeat
    except (AppError, asyncio.CancelledError):
        raise
    except Exception:
        if len(entries) <= 1:
            raise
    return await _store_each(database, actor, entries, claim)


async def _store_each(
    database: Database, actor: Actor, entries: Sequence[Entry], claim: BatchClaim | None
) -> tuple[list[Outcome], bool]:
    """What Postgres refused as a whole: every row for itself, so that the poisoned one stands alone."""
    async with database.connection(actor) as connection:
        is_repeat = await _claim_batch(connection, actor, claim)
    outcomes: list[Outcome] = []
    for entry in entries:
        (outcome,) = await _store_apart(database, actor.clinic_id, [entry])
        outcomes.append(outcome if isinstance(outcome, AppError | tuple) else DefectError("This row met a defect."))
    return outcomes, is_repeat


async def _claim_batch(connection: asyncpg.Connection, actor: Actor, claim: BatchClaim | None) -> bool:
    """Who is no patient of the clinic may have been erased: of them no hash is kept, and each row is its own repeat.

    Nor of those whom the caller does not see: a key that is taken would tell them from those who never were.
    """
    if claim is None or not all(map(actor.sees, claim.patient_ids)):
        return False
    if await connection.fetchval(_IS_ANY_ABSENT, actor.clinic_id, list(claim.patient_ids)):
        return False
    now = datetime.now(UTC)
    return await find_claimed(connection, actor, claim.key, claim.content, new_id(), now, claim.patient_ids) is not None


async def _store_apart(database: Database, clinic_id: UUID, entries: Sequence[Entry]) -> list[Outcome | Exception]:
    """As a group; one by one when the group fails, so that whatever is wrong stays with its own form."""
    keys = lock_keys(entries)
    try:
        async with asyncio.timeout(database.patience_seconds), database.locked(clinic_id, keys) as connection:
            return list(await store_on(connection, clinic_id, entries))
    except UnavailableError as busy:  # one by one, each would wait as long again
        return [busy for _ in entries]
    except TimeoutError:
        return [UnavailableError("The database is busy. Try again in a moment.") for _ in entries]
    except Exception as error:  # noqa: BLE001  # handed on to those who wait; nobody may be left waiting
        if len(entries) == 1:
            return [error]
    alone = (_store_apart(database, clinic_id, [entry]) for entry in entries)
    return [outcome for outcomes in await asyncio.gather(*alone) for outcome in outcomes]


def _give(answer: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if isinstance(outcome, Exception) and not isinstance(outcome, AppError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def lock_keys(entries: Sequence[Entry]) -> set[int]:
    return {lock_key(entry.form.patient_id) for entry in entries}


# --- One transaction --------------------------------------------------------------------------------------------------


async def store_on(connection: asyncpg.Connection, clinic_id: UUID, entries: Sequence[Entry]) -> list[Outcome]:
    """An outcome for each, in their order. The connection's transaction holds the patients' locks."""
    now = datetime.now(UTC)
    settled: dict[int, _Settled] = {}
    for _ in range(_ROUNDS):
        if not (open_ := [number for number in range(len(entries)) if number not in settled]):
            break
        settled |= await _settle(connection, clinic_id, {number: entries[number] for number in open_}, now)
    return await _outcomes(connection, clinic_id, entries, settled, now)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A form that is on record: by this call, or since an earlier one."""

    id: UUID
    is_new: bool


_Settled = _Stored | AppError


async def _settle(
    connection: asyncpg.Connection, clinic_id: UUID, entries: Mapping[int, Entry], now: datetime
) -> dict[int, _Settled]:
    """What has become of each; one that lost a race against another transaction is left out, to be asked again."""
    facts = await connection.fetch(
        _LOOK_UP,
        clinic_id,
        [entry.form.id for entry in entries.values()],
        [entry.form.patient_id for entry in entries.values()],
        [entry.actor.token_id for entry in entries.values()],
        [entry.key for entry in entries.values()],
    )
    decided = _decide(zip(entries.items(), facts, strict=True))
    new = {number: entries[number] for number, found in decided.items() if isinstance(found, _Stored) and found.is_new}
    kept = await _store(connection, clinic_id, list(new.values()), now)
    lost = {entry.form.id for entry in new.values()} - kept
    repeats = [(entries[n], one.id) for n, one in decided.items() if isinstance(one, _Stored) and not one.is_new]
    await _claim_keys(connection, clinic_id, [(entry, id_) for entry, id_ in repeats if id_ not in lost], now)
    return {n: found for n, found in decided.items() if isinstance(found, AppError) or found.id not in lost}


def _decide(asked: Iterable[tuple[tuple[int, Entry], Mapping[str, Any]]]) -> dict[int, _Settled]:
    """New, a repeat, or refused; the first of twins in one group is new and the rest repeat it."""
    by_key: dict[tuple[UUID, str], tuple[bytes, UUID]] = {}
    by_id: dict[UUID, bytes] = {}
    decided: dict[int, _Settled] = {}
    for (number, entry), fact in asked:
        holder = None if entry.key is None else (entry.actor.token_id, entry.key)
        if fact["key_content"] is not None and holder is not None:
            by_key.setdefault(holder, (fact["key_content"], fact["resource_id"]))
        if fact["form_content"] is not None:
            by_id.setdefault(entry.form.id, fact["form_content"])
        decided[number] = found = _decision(entry, by_key.get(holder) if holder else None, by_id, fact)
        if isinstance(found, _Stored):
            by_id.setdefault(found.id, entry.content)
            if holder is not None:
                by_key.setdefault(holder, (entry.content, found.id))
    return decided


def _decision(
    entry: Entry, by_key: tuple[bytes, UUID] | None, by_id: Mapping[UUID, bytes], fact: Mapping[str, Any]
) -> _Settled:
    form = entry.form
    if not fact["patient_known"] or not entry.actor.sees(form.patient_id):
        return NotFoundError("There is no such patient.")
    if by_key is not None and by_key[0] != entry.content:
        return KeyReusedError("This Idempotency-Key was used for other content.")
    # Also of a key that is known: it was claimed in the race for an id that another form won.
    if by_id.get(form.id, entry.content) != entry.content:
        return KeyReusedError("This id belongs to a form with other content.")
    if by_key is not None:
        return _Stored(by_key[1], is_new=False)
    if form.id in by_id:
        return _Stored(form.id, is_new=False)
    return entry.refusal or _Stored(form.id, is_new=True)


async def _store(connection: asyncpg.Connection, clinic_id: UUID, entries: Sequence[Entry], now: datetime) -> set[UUID]:
    """The ids that were really added."""
    if not entries:
        return set()
    columns = list(zip(*map(_values, entries), strict=True))
    return {row["id"] for row in await connection.fetch(_STORE, clinic_id, *columns, now)}


def _values(entry: Entry) -> tuple[Any, ...]:
    form, total, origin = entry.form, entry.form.score.total, entry.actor.origin
    return (
        form.id,
        form.patient_id,
        form.instrument.id,
        form.instrument.version,
        "{" + ",".join("NULL" if value is None else str(value) for value in form.responses) + "}",
        form.score.validity.value,
        None if total is None else float(total),
        form.taken_at,
        form.taken_at_offset_minutes,
        form.mode,
        form.language,
        entry.actor.token_id,
        entry.actor.role.value,
        entry.content,
        form.clock.skew_seconds,
        form.clock.correction_minutes,
        entry.key,
        new_id(),
        origin.request_id,
        origin.address,
        origin.purpose,
        entry.actor.emergency_about(form.patient_id),
    )


async def _claim_keys(
    connection: asyncpg.Connection, clinic_id: UUID, repeats: Sequence[tuple[Entry, UUID]], now: datetime
) -> None:
    """A repeat under a new key: from now on that key stands for the form, too."""
    keyed = [(entry, id_) for entry, id_ in repeats if entry.key is not None]
    if keyed:
        await connection.execute(
            _CLAIM_KEYS,
            clinic_id,
            [entry.actor.token_id for entry, _ in keyed],
            [entry.key for entry, _ in keyed],
            [entry.content for entry, _ in keyed],
            [id_ for _, id_ in keyed],
            now,
        )


async def _outcomes(
    connection: asyncpg.Connection,
    clinic_id: UUID,
    entries: Sequence[Entry],
    settled: Mapping[int, _Settled],
    now: datetime,
) -> list[Outcome]:
    new = {
        found.id: replace(entries[number].form, received_at=now)
        for number, found in settled.items()
        if isinstance(found, _Stored) and found.is_new
    }
    repeated = {found.id for found in settled.values() if isinstance(found, _Stored)} - new.keys()
    views = await _new_in_view(connection, clinic_id, list(new.values()), now)
    views |= await find_first_answers(connection, clinic_id, repeated)
    outcomes: list[Outcome] = []
    for number in range(len(entries)):
        found = settled.get(number, UnavailableError("Others were faster again and again. Try again in a moment."))
        outcomes.append(found if isinstance(found, AppError) else (views[found.id], not found.is_new))
    return outcomes


async def _new_in_view(
    connection: asyncpg.Connection, clinic_id: UUID, forms: Sequence[ScoredAssessment], now: datetime
) -> dict[UUID, AssessmentInView]:
    if not forms:
        return {}
    histories, raised = await follow(connection, clinic_id, forms, now)
    safety_text = await safety_text_for(connection, clinic_id, forms)
    return {
        form.id: in_view(form, histories.get(form.patient_id, ()), raised.get(form.id, ()), safety_text)
        for form in forms
    }
