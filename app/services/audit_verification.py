"""Verifying the trail: every hash made anew, from the first link to the last, in pages; the first bad row is named."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.audit import digest_of
from app.db import Database
from app.errors import InvalidError
from app.services.audit_chain import (
    BEGINNING,
    FIRST_ID,
    LAST_ID,
    ChainEnd,
    find_overdue,
    get_chain_end,
    link_hash,
    stretch_end,
)
from app.services.audit_heads import Head

PAGE: Final = 2_000  # links read at a time: about 2 MB
GRACE: Final = timedelta(hours=1)  # twice what the worker takes at most, as long as one runs

# A page is a range of numbers and OFFSET 0 makes the event a look-up for each: neither table is read from end to end,
# whatever the planner believes about a trail that has just grown.
_LINKS: Final = """
SELECT link.number AS link_number, link.event_id AS link_event_id, link.hash AS link_hash, event.*,
    ARRAY(SELECT patient_id FROM audit_subject WHERE clinic_id = $1 AND event_id = link.event_id) AS link_subjects
FROM audit_link link
LEFT JOIN LATERAL (
    SELECT * FROM audit_event WHERE clinic_id = $1 AND id = link.event_id OFFSET 0
) event ON true
WHERE link.clinic_id = $1 AND link.number > $2 AND link.number <= $3
ORDER BY link.number
"""
_LINK_COLUMNS: Final = ("link_number", "link_event_id", "link_hash", "link_subjects")


@dataclass(frozen=True, slots=True)
class ChainFault:
    """The first thing wrong with a chain."""

    code: str
    number: int
    event_id: UUID | None
    message: str


@dataclass(slots=True)
class Verification:
    """What was found. `overdue` and `backdated` are events that nothing proves wrong and somebody should look at."""

    checked: int = 0  # links
    end: ChainEnd = field(default_factory=lambda: ChainEnd(0, BEGINNING))
    fault: ChainFault | None = None
    heads_agree: int = 0
    overdue: int = 0
    first_overdue: UUID | None = None
    backdated: int = 0
    first_backdated: UUID | None = None


Told = Callable[[int, int], None]  # done, of how many


async def get_head(database: Database, clinic_id: UUID, key: Ed25519PrivateKey | None) -> Head:
    async with database.connection(clinic_id) as connection:
        end = await get_chain_end(connection, clinic_id)
    at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Head(clinic_id, end.number, end.hash.hex(), at).signed(key)


async def verify(
    database: Database, clinic_id: UUID, heads: Sequence[Head], signer: Ed25519PublicKey | None, told: Told
) -> Verification:
    """Of the links there were at the beginning. Raises InvalidError for a head of another clinic."""
    if any(head.clinic_id != clinic_id for head in heads):
        raise InvalidError("A head in this file is of another clinic's chain.")
    async with database.connection(clinic_id) as connection:
        end = await get_chain_end(connection, clinic_id)
    found = Verification(fault=_first_forged(heads, signer))
    if found.fault is None:
        await _check_links(database, clinic_id, end, heads, found, told)
    if found.fault is None:
        await _look_for_overdue(database, clinic_id, found)
    return found


def _first_forged(heads: Sequence[Head], signer: Ed25519PublicKey | None) -> ChainFault | None:
    """Without a key nothing can be said of signatures; with one, a head without is as good as forged."""
    for head in heads:
        if signer is not None and not head.is_signed_by(signer):
            message = f"The head of {head.at}, number {head.number}, is not signed by this key."
            return ChainFault("head_not_ours", head.number, None, message)
    return None


# --- Links ------------------------------------------------------------------------------------------------------------


async def _check_links(
    database: Database, clinic_id: UUID, end: ChainEnd, heads: Sequence[Head], found: Verification, told: Told
) -> None:
    wanted: dict[int, list[Head]] = {}
    for head in heads:
        wanted.setdefault(head.number, []).append(head)
    newest = datetime.min.replace(tzinfo=UTC)  # of the events so far
    found.fault = _unlike_heads(wanted.pop(0, ()), BEGINNING, None, found)
    async for link in _links(database, clinic_id, end.number):
        if found.fault is None:
            found.fault = _fault_of(link, found.end)
        if found.fault is None:
            found.checked += 1
            found.end = ChainEnd(link["link_number"], link["link_hash"])
            newest = _note_backdated(link, newest, found)
            heads_here = wanted.pop(found.end.number, ())
            found.fault = _unlike_heads(heads_here, found.end.hash, link["link_event_id"], found)
        if found.fault is not None:
            return
        if found.checked % PAGE == 0 or found.checked == end.number:
            told(found.checked, end.number)
    if found.end.number < end.number:  # there was such an end a moment ago
        found.fault = _gap(found.end.number + 1)
    elif wanted:
        found.fault = _cut_off(found.end, wanted[min(wanted)][0])


async def _links(database: Database, clinic_id: UUID, until: int) -> AsyncIterator[asyncpg.Record]:
    """In order, each page in a transaction of its own: what is only ever added to needs no longer one.

    Ends early behind a page without any: what is missing has been missed, whatever comes later.
    """
    for after in range(0, until, PAGE):
        async with database.connection(clinic_id) as connection:
            page = await connection.fetch(_LINKS, clinic_id, after, min(after + PAGE, until))
        if not page:
            return
        for link in page:
            yield link


def _fault_of(link: asyncpg.Record, before: ChainEnd) -> ChainFault | None:
    number, event_id = before.number + 1, link["link_event_id"]
    if link["link_number"] != number:
        return _gap(number)
    if link["id"] is None:
        message = f"Number {number}: the event {event_id} is gone."
        return ChainFault("event_missing", number, event_id, message)
    event = {name: value for name, value in link.items() if name not in _LINK_COLUMNS}
    if link_hash(number, before.hash, event) != link["link_hash"]:
        message = f"Number {number}: the event {event_id} or its link is not what was sealed at this place."
        return ChainFault("changed", number, event_id, message)
    if digest_of(link["link_subjects"]) != link["subjects_digest"]:
        message = f"Number {number}: the event {event_id} is about other patients than those it was sealed with."
        return ChainFault("changed", number, event_id, message)
    return None


def _gap(number: int) -> ChainFault:
    return ChainFault("gap", number, None, f"Number {number}: the link is gone.")


def _note_backdated(link: asyncpg.Record, newest: datetime, found: Verification) -> datetime:
    """An event that says it is much older than one sealed before it: committed late, or invented."""
    at: datetime = link["at"]
    if newest - at > GRACE:
        found.backdated += 1
        found.first_backdated = found.first_backdated or link["id"]
    return max(newest, at)


# --- Heads ------------------------------------------------------------------------------------------------------------


def _unlike_heads(heads: Sequence[Head], hash_: bytes, event_id: UUID | None, found: Verification) -> ChainFault | None:
    for head in heads:
        if head.hash != hash_.hex():
            message = f"Number {head.number}: the hash is not that of the head of {head.at}: the chain was made anew."
            return ChainFault("made_anew", head.number, event_id, message)
        found.heads_agree += 1
    return None


def _cut_off(end: ChainEnd, head: Head) -> ChainFault:
    message = (
        f"Number {end.number + 1}: the link is gone: the chain ends at {end.number}, "
        f"the head of {head.at} says {head.number}: its end was cut off."
    )
    return ChainFault("cut_off", end.number + 1, None, message)


# --- What is not sealed -----------------------------------------------------------------------------------------------


async def _look_for_overdue(database: Database, clinic_id: UUID, found: Verification) -> None:
    before, after = datetime.now(UTC) - GRACE, FIRST_ID
    while after != LAST_ID:
        async with database.connection(clinic_id) as connection:
            end = await stretch_end(connection, clinic_id, after) or LAST_ID
            overdue = await find_overdue(connection, clinic_id, after, end, before)
        found.overdue += len(overdue)
        found.first_overdue = found.first_overdue or (overdue[0] if overdue else None)
        after = end
