"""Every kind of tampering with the trail is found, and the first bad row is named."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import InvalidError
from app.ids import new_id
from app.services import clinics
from app.services.audit_chain import BEGINNING, FIRST_ID, link_hash, seal
from app.services.audit_heads import Head, new_key, parse_heads, private_key, public_key
from tests.services.trail import (
    a_chain,
    add_event,
    an_actor,
    breaking_in,
    checked,
    event_at,
    fault,
    head,
    links,
    show,
    write,
)

pytestmark = pytest.mark.anyio

KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))


@pytest.fixture
async def clinic_id(stored: Database) -> UUID:
    return (await clinics.record_clinic(stored, "Trail", "UTC")).clinic_id


# --- Tampering --------------------------------------------------------------------------------------------------------

CHANGES: list[tuple[str, str]] = [
    ("action", "'assessment.creatf'"),
    ("actor_role", "'admin'"),
    ("at", "at - interval '1 microsecond'"),
    ("actor_id", "gen_random_uuid()"),
    ("subject_id", "NULL"),
    ("resource_id", "gen_random_uuid()"),
    ("purpose", "'research'"),
    ("address", "'192.0.2.8'"),
    ("request_id", "gen_random_uuid()"),
    ("outcome", "NULL"),
    ("rows", "1"),
    ("filter", "'limit=3'"),
    ("subjects_digest", "repeat('a', 64)"),
    ("emergency_id", "gen_random_uuid()"),
]


@pytest.mark.parametrize(("column", "value"), CHANGES, ids=[column for column, _ in CHANGES])
async def test_a_changed_event_is_found(
    stored: Database, own: PostgresAddress, clinic_id: UUID, column: str, value: str
) -> None:
    """By number and id, down to one byte."""
    await a_chain(stored, clinic_id)
    event_id = await event_at(stored, clinic_id, 5)
    async with breaking_in(own) as connection:
        await connection.execute(f"UPDATE audit_event SET {column} = {value} WHERE id = $1", event_id)
    found = await checked(stored, clinic_id)
    assert found.fault is not None
    assert (found.fault.code, found.fault.number, found.fault.event_id) == ("changed", 5, event_id)
    assert str(event_id) in found.fault.message
    assert found.checked == 4


LISTED = "audit_subject WHERE clinic_id = $1"
ONE_OF_THEM = f"WHERE patient_id = (SELECT min(patient_id::text)::uuid FROM {LISTED})"
NOBODY = f"'{UUID(int=0)}'::uuid"
NUMBER_OF_THE_LIST = """
SELECT max(number) FROM audit_link JOIN audit_subject USING (clinic_id, event_id) WHERE clinic_id = $1
"""
OTHERS: dict[str, str] = {
    "one is dropped": f"DELETE FROM audit_subject {ONE_OF_THEM}",
    "all are dropped": f"DELETE FROM {LISTED}",
    "one is exchanged": f"UPDATE audit_subject SET patient_id = {NOBODY} {ONE_OF_THEM}",
    "one is added": f"INSERT INTO audit_subject SELECT $1, event_id, {NOBODY}, at FROM {LISTED} LIMIT 1",
    "an event about one gets another": f"INSERT INTO audit_subject SELECT $1, event_id, {NOBODY}, now() "
    "FROM audit_link WHERE clinic_id = $1 AND number = 3",
}


@pytest.mark.parametrize("statement", OTHERS.values(), ids=OTHERS.keys())
async def test_other_patients_than_those_of_a_list_are_found(
    stored: Database, own: PostgresAddress, clinic_id: UUID, statement: str
) -> None:
    """Whoever was shown cannot be taken off an event, nor anybody put to one."""
    actor, patients = an_actor(clinic_id), [uuid4(), uuid4()]
    await a_chain(stored, clinic_id, 3)
    await show(stored, actor, [*patients, patients[0]])
    await write(stored, actor)
    await seal(stored, clinic_id, FIRST_ID)
    assert (await checked(stored, clinic_id)).checked == 5
    async with breaking_in(own) as connection:
        list_ = await connection.fetchval(NUMBER_OF_THE_LIST, clinic_id)  # within a millisecond ids are in any order
        await connection.execute(statement, clinic_id)
    found = (await checked(stored, clinic_id)).fault
    assert found is not None
    assert (found.code, found.number) == ("changed", 3 if "number = 3" in statement else list_)
    assert "other patients" in found.message


OF_THE_FOURTH = "WHERE id = (SELECT event_id FROM audit_link WHERE clinic_id = $1 AND number = 4)"
BREAKS: dict[str, tuple[str, tuple[str, int]]] = {
    "an event is dropped": (
        "DELETE FROM audit_event WHERE id = (SELECT event_id FROM audit_link WHERE clinic_id = $1 AND number = 5)",
        ("event_missing", 5),
    ),
    "a link is dropped": ("DELETE FROM audit_link WHERE clinic_id = $1 AND number = 5", ("gap", 5)),
    "the first link is dropped": ("DELETE FROM audit_link WHERE clinic_id = $1 AND number = 1", ("gap", 1)),
    "an event gets another's id": (
        f"UPDATE audit_event SET id = gen_random_uuid() {OF_THE_FOURTH}",
        ("event_missing", 4),
    ),
    "an event goes to another clinic": (
        f"UPDATE audit_event SET clinic_id = gen_random_uuid() {OF_THE_FOURTH}",
        ("event_missing", 4),
    ),
    "one bit of a hash is turned": (
        "UPDATE audit_link SET hash = set_bit(hash, 0, 1 - get_bit(hash, 0)) WHERE clinic_id = $1 AND number = 6",
        ("changed", 6),
    ),
    "many links are dropped": ("DELETE FROM audit_link WHERE clinic_id = $1 AND number BETWEEN 2 AND 7", ("gap", 2)),
    "a link is moved far away": (
        "UPDATE audit_link SET number = 9000000000000000000 WHERE clinic_id = $1 AND number = 8",
        ("gap", 8),
    ),
    "a link is appended": (
        "INSERT INTO audit_link SELECT $1, 9, gen_random_uuid(), hash FROM audit_link WHERE clinic_id = $1 LIMIT 1",
        ("event_missing", 9),
    ),
}


@pytest.mark.parametrize(("statement", "expected"), BREAKS.values(), ids=BREAKS.keys())
async def test_a_broken_chain_is_found(
    stored: Database, own: PostgresAddress, clinic_id: UUID, statement: str, expected: tuple[str, int]
) -> None:
    """And the first bad row is named."""
    await a_chain(stored, clinic_id)
    async with breaking_in(own) as connection:
        await connection.execute(statement, clinic_id)
    assert await fault(stored, clinic_id) == expected


SWAPS: dict[str, str] = {
    "contents": """
        WITH pair AS (SELECT event_id, number FROM audit_link WHERE clinic_id = $1 AND number IN (3, 6))
        UPDATE audit_event mine SET resource_id = other.resource_id, actor_id = other.actor_id, at = other.at,
            subject_id = other.subject_id
        FROM audit_event other, pair here, pair there
        WHERE mine.id = here.event_id AND other.id = there.event_id AND here.number <> there.number""",
    "places": """
        WITH gone AS (DELETE FROM audit_link WHERE clinic_id = $1 AND number IN (3, 6) RETURNING *)
        SELECT $1, 9 - number, event_id, hash FROM gone""",
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_swapped_events_are_found(stored: Database, own: PostgresAddress, clinic_id: UUID, swap: str) -> None:
    """Whether their contents are exchanged, or their links' places."""
    await a_chain(stored, clinic_id)
    async with breaking_in(own) as connection:
        rows = await connection.fetch(SWAPS[swap], clinic_id)
        await connection.executemany("INSERT INTO audit_link VALUES ($1, $2, $3, $4)", rows)
    assert len(await links(stored, clinic_id)) == 8
    assert await fault(stored, clinic_id) == ("changed", 3)


async def test_an_inserted_event_is_found(stored: Database, own: PostgresAddress, clinic_id: UUID) -> None:
    """Put between two others, with a hash that fits the one before: the one behind it does not fit any more."""
    await a_chain(stored, clinic_id)
    async with breaking_in(own) as connection:
        await connection.execute(
            "UPDATE audit_link SET number = number + 100 WHERE clinic_id = $1 AND number > 4", clinic_id
        )
        await connection.execute(
            "UPDATE audit_link SET number = number - 99 WHERE clinic_id = $1 AND number > 100", clinic_id
        )
        forged = new_id()
        await add_event(connection, clinic_id, forged, datetime.now(UTC))
        event = await connection.fetchrow("SELECT * FROM audit_event WHERE id = $1", forged)
        before = await connection.fetchval("SELECT hash FROM audit_link WHERE clinic_id = $1 AND number = 4", clinic_id)
        await connection.execute(
            "INSERT INTO audit_link VALUES ($1, 5, $2, $3)", clinic_id, forged, link_hash(5, before, event)
        )
    found = await checked(stored, clinic_id)
    assert found.fault is not None
    assert (found.fault.code, found.fault.number, found.checked) == ("changed", 6, 5)


async def test_a_cut_end_is_found_by_a_head_alone(stored: Database, own: PostgresAddress, clinic_id: UUID) -> None:
    """Inside the database nothing is left that could tell."""
    await a_chain(stored, clinic_id)
    kept = await head(stored, clinic_id)
    async with breaking_in(own) as connection:
        await connection.execute(
            "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_link WHERE clinic_id = $1 AND number > 6)",
            clinic_id,
        )
        await connection.execute("DELETE FROM audit_link WHERE clinic_id = $1 AND number > 6", clinic_id)
    assert await fault(stored, clinic_id) is None
    assert await fault(stored, clinic_id, kept) == ("cut_off", 7)
    await a_chain(stored, clinic_id, 2)  # others grow in their place
    assert await fault(stored, clinic_id) is None
    assert await fault(stored, clinic_id, kept) == ("made_anew", 8)


async def rebuild(connection: asyncpg.Connection, clinic_id: UUID) -> None:
    """Every link with a hash that fits, as whoever has read this program can make them."""
    before = BEGINNING
    events = await connection.fetch(
        "SELECT l.number AS place, e.* FROM audit_link l JOIN audit_event e ON e.id = l.event_id "
        "WHERE l.clinic_id = $1 ORDER BY l.number",
        clinic_id,
    )
    for row in events:
        event = {name: value for name, value in row.items() if name != "place"}
        before = link_hash(row["place"], before, event)
        await connection.execute(
            "UPDATE audit_link SET hash = $3 WHERE clinic_id = $1 AND number = $2", clinic_id, row["place"], before
        )


async def test_a_chain_made_anew_is_found_by_a_head_alone(
    stored: Database, own: PostgresAddress, clinic_id: UUID
) -> None:
    """At the first head behind the change; heads from before it still agree."""
    await a_chain(stored, clinic_id, 4)
    early = await head(stored, clinic_id)
    await a_chain_goes_on(stored, clinic_id)
    kept = [early, await head(stored, clinic_id)]
    assert (await checked(stored, clinic_id, *kept)).heads_agree == 2
    event_id = await event_at(stored, clinic_id, 5)
    async with breaking_in(own) as connection:
        await connection.execute("UPDATE audit_event SET action = 'patient.create' WHERE id = $1", event_id)
        await rebuild(connection, clinic_id)
    assert await fault(stored, clinic_id) is None
    assert await fault(stored, clinic_id, early) is None
    assert await fault(stored, clinic_id, *kept) == ("made_anew", 8)


async def a_chain_goes_on(database: Database, clinic_id: UUID) -> None:
    for _ in range(4):
        await write(database, an_actor(clinic_id))
    assert await seal(database, clinic_id, FIRST_ID) == (4, None)


# --- Heads ------------------------------------------------------------------------------------------------------------


async def test_a_head_is_proven_by_its_key(stored: Database, clinic_id: UUID) -> None:
    """Another key, another number and no signature at all are refused; without a key only the hash is compared."""
    await a_chain(stored, clinic_id, 2)
    signed = await head(stored, clinic_id, KEY)
    assert parse_heads(signed.line()) == [signed]
    found = await checked(stored, clinic_id, signed, signer=KEY.public_key())
    assert (found.fault, found.heads_agree) == (None, 1)
    assert signed.signature is not None
    bare = signed.signature.removeprefix("ed25519:")
    forged = [
        Head(clinic_id, 1, signed.hash, signed.at, signed.signature),
        Head(clinic_id, 2, "0" * 64, signed.at, signed.signature),
        Head(clinic_id, 2, signed.hash, "2026-01-01T00:00:00Z", signed.signature),
        signed.signed(None),
        signed.signed(OTHER_KEY),
        *(
            Head(clinic_id, 2, signed.hash, signed.at, signature)
            for signature in ("", "ed25519:", "ed25519:ä", f"ed25519:{'A' * 86}==", bare, f"hmac-sha256:{bare}")
        ),
    ]
    for one in forged:
        found = await checked(stored, clinic_id, signed, one, signer=KEY.public_key())
        assert found.fault is not None
        assert (found.fault.code, found.checked) == ("head_not_ours", 0)
    assert await fault(stored, clinic_id, signed.signed(OTHER_KEY)) is None


async def test_the_head_of_an_empty_chain_is_one(stored: Database, clinic_id: UUID) -> None:
    """Number 0 and a hash of zeros: it agrees with every chain that begins where ours do."""
    first = await head(stored, clinic_id)
    assert (first.number, first.hash) == (0, "0" * 64)
    await a_chain(stored, clinic_id, 2)
    assert (await checked(stored, clinic_id, first)).heads_agree == 1
    assert await fault(stored, clinic_id, Head(clinic_id, 0, "1" * 64, first.at)) == ("made_anew", 0)


async def test_signatures_are_those_of_rfc_8032() -> None:
    """Section 7.1, TEST 2: key, message of one byte, signature. Ours go over the purpose and the line without them."""
    seed, public, message = (
        bytes.fromhex(text)
        for text in (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
        )
    )
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key, signer = private_key(base64.b64encode(seed).decode()), public_key(base64.b64encode(public).decode())
    assert key.public_key() == signer
    assert key.sign(message) == signature
    signed = Head(UUID(int=1), 1, "0" * 64, "2026-11-20T19:31:00Z").signed(key)
    line = json.loads(signed.line())
    scheme, _, told = line.pop("signature").partition(":")
    assert scheme == "ed25519"
    content = json.dumps(line, sort_keys=True, separators=(",", ":")).encode()
    signer.verify(base64.b64decode(told), b"tidemark-audit-head-1\0" + content)


async def test_a_fresh_key_is_a_pair() -> None:
    """Never the same twice; what is no public key is refused."""
    (private, public), other = new_key(), new_key()
    assert private_key(private).public_key() == public_key(public)
    assert len({private, public, *other}) == 4
    for text in ("", "A" * 43, "A" * 40, public + "AAAA", "ä" * 44):
        with pytest.raises(InvalidError):
            public_key(text)


GOOD = '{"at":"2026-11-20T19:31:00Z","clinic_id":"00000000-0000-0000-0000-000000000001","hash":"%s","number":1%s}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "no head",
        "[]",
        "1",
        "{}",
        GOOD % ("0" * 64, ""),
        GOOD % ("0" * 63, ',"signature":null'),
        GOOD % ("0" * 64, ',"signature":1'),
        GOOD % ("0" * 64, ',"signature":null,"more":1'),
        (GOOD % ("0" * 64, ',"signature":null')).replace('"number":1', '"number":true'),
        (GOOD % ("0" * 64, ',"signature":null')).replace('"number":1', '"number":-1'),
        (GOOD % ("0" * 64, ',"signature":null')).replace('"number":1', '"number":9223372036854775808'),
        (GOOD % ("0" * 64, ',"signature":null')).replace("2026-11-20T19:31:00Z", "yesterday"),
        (GOOD % ("0" * 64, ',"signature":null')).replace("00000000-0000-0000-0000-000000000001", "mine"),
        GOOD % ("0" * 64, ',"signature":null') + "\n" + "[" * 100_000,
    ],
)
async def test_what_is_no_head_is_refused(text: str) -> None:
    """With its line, and never a defect."""
    assert len(parse_heads(GOOD % ("0" * 64, ',"signature":null') + "\n\n")) == 1
    with pytest.raises(InvalidError):
        parse_heads(text)
