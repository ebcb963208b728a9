"""Limits on what one token and one address may ask for: over all processes, told in time, no burden for others."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import Role, new_token, parse_token
from app.client_address import UNKNOWN, sender
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.errors import TooManyError, UnavailableError
from app.main import create_app
from app.services import clinics
from app.services.rate_limits import FailedLogins, RateLimit, RateTable
from app.services.request_rates import NOBODY, SLOT_SECONDS, SLOTS, RateKey, RateKind, Usage, add_usage, sweep_rates
from app.settings import Settings
from app.tables import Clinic
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/instruments"
WRONG_TOKENS = 10
Client = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def host() -> str:
    """An address of the test's own, for the table outlives the test."""
    return str(IPv4Address(random.SystemRandom().randrange(2**24, 2**31)))


@pytest.fixture
async def token(database: Database, clinic: Clinic) -> str:
    return (await clinics.record_token(database, clinic.clinic_id, Role.CLINICIAN))[1]


@asynccontextmanager
async def processes(address: PostgresAddress, number: int, **settings: Any) -> AsyncIterator[list[Client]]:
    """As many applications on one database, each with limits and memory of its own, as workers have them."""
    off = {"rate_per_token": 0, "rate_per_address": 0, "failed_logins_per_address": 0}
    async with AsyncExitStack() as stack:

        async def process() -> Client:
            app = create_app(Settings(**off | settings), address.runtime_url)
            await stack.enter_async_context(app.router.lifespan_context(app))

            def client(token: str, host: str) -> httpx2.AsyncClient:
                transport = httpx2.ASGITransport(app, client=(host, 1))
                return httpx2.AsyncClient(
                    transport=transport, base_url="http://test", headers={"Authorization": f"Bearer {token}"}
                )

            return client

        yield [await process() for _ in range(number)]


async def statuses(client: httpx2.AsyncClient, times: int, path: str = PATH) -> list[int]:
    return [(await client.get(path)).status_code for _ in range(times)]


def wrong_token(clinic_id: UUID) -> str:
    return new_token(clinic_id, uuid4())[0]


# --- Of tokens --------------------------------------------------------------------------------------------------------


async def test_a_token_over_its_limit_is_told_when_to_come_again(
    address: PostgresAddress, database: Database, clinic: Clinic, token: str, host: str
) -> None:
    """429 in the one shape of errors, for reads and writes alike; another token of the same place goes on."""
    _, other_token = await clinics.record_token(database, clinic.clinic_id, Role.CLINICIAN)
    async with processes(address, 1, rate_per_token=10) as [client]:
        assert await statuses(client(token, host), 14) == [200] * 10 + [429] * 4
        refused = await client(token, host).post("/v1/patients", json={})
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many")
        assert refused.headers["content-type"] == "application/problem+json"
        assert 1 <= int(refused.headers["retry-after"]) <= SLOTS * SLOT_SECONDS
        assert await statuses(client(other_token, host), 3) == [200] * 3


async def test_a_request_counts_once_however_it_is_read(address: PostgresAddress, token: str, host: str) -> None:
    """Bodies are read behind a first look at the token, and a batch is one request: its size has a limit of its own."""
    form = {"patient_id": str(uuid4()), "instrument": "phq-9", "responses": [0] * 9, "taken_at": "2026-03-02T09:00:00Z"}
    async with processes(address, 1, rate_per_token=6) as [client]:
        http = client(token, host)
        for _ in range(2):
            assert (await http.post("/v1/patients", json={})).status_code == 201
            assert (await http.post("/v1/assessments", json=form)).status_code == 404
            assert (await http.post("/v1/assessments/batch", json={"assessments": [form] * 5})).status_code == 200
        assert await statuses(http, 1) == [429]


async def test_a_limit_holds_over_processes(address: PostgresAddress, token: str, host: str) -> None:
    """Two, asked in turn and at once: never less than the limit, and over it by no more than a fiftieth for each."""
    limit = 200
    async with processes(address, 2, rate_per_token=limit) as clients:
        calls = [statuses(client(token, host), 40) for client in clients for _ in range(8)]
        counted = Counter(status for told in await asyncio.gather(*calls) for status in told)
        assert set(counted) <= {200, 429, 503}  # 503: a slow machine had no time for it, counted or not
        assert limit - counted[503] <= counted[200] <= limit + 2 * limit // 50
        again = [await statuses(client(token, host), 10) for client in clients]
        assert counted[200] + sum(told.count(200) for told in again) <= limit + 2 * limit // 50


async def test_a_limit_ends(
    address: PostgresAddress, database: Database, clinic: Clinic, token: str, host: str
) -> None:
    """Once what was sent is more than a minute old, as the table tells a process that knows of nothing."""
    async with processes(address, 2, rate_per_token=5) as (first, second):
        assert await statuses(first(token, host), 6) == [200] * 5 + [429]
        async with database.connection(clinic.clinic_id) as connection:
            await connection.execute(f"UPDATE request_rate SET slot = slot - {SLOTS}")
        assert await statuses(second(token, host), 6) == [200] * 5 + [429]


async def test_nearly_every_request_is_decided_without_the_table(
    address: PostgresAddress, token: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written for a slow sender; of a fast one each sixtieth request or so is told, all of them together."""
    told: list[int] = []

    async def counted(database: Database, key: RateKey, number: int) -> Usage:
        told.append(number)
        return await add_usage(database, key, number)

    monkeypatch.setattr("app.services.rate_limits.add_usage", counted)
    async with processes(address, 1, rate_per_token=6_000) as [client]:
        assert set(await statuses(client(token, host), 59)) == {200}
        assert told == []
        assert set(await statuses(client(token, host), 241)) == {200}
    assert len(told) <= 5
    assert 240 <= sum(told) <= 300


async def test_nothing_is_limited_where_limits_are_off(address: PostgresAddress, token: str, host: str) -> None:
    """0 is no limit: neither of tokens and addresses nor of wrong tokens."""
    async with processes(address, 1) as [client]:
        assert set(await statuses(client(token, host), 40)) == {200}
        assert set(await statuses(client("wrong", host), 40)) == {401}


# --- Of addresses -----------------------------------------------------------------------------------------------------


async def test_an_address_is_limited_whatever_it_sends(
    address: PostgresAddress, api: Api, other_api: Api, host: str
) -> None:
    """Tokens of two clinics from one address share its limit; what needs no token, and other addresses, do not."""
    tokens = [one.http.headers["authorization"].split()[1] for one in (api, other_api)]
    async with processes(address, 1, rate_per_address=10) as [client]:
        told = [await statuses(client(token, host), 1) for _ in range(6) for token in tokens]
        assert told == [[200]] * 10 + [[429]] * 2
        assert await statuses(client(tokens[0], host), 3, "/livez") == [200] * 3
        assert (await client("", host).get(PATH)).status_code == 401
        assert await statuses(client(tokens[0], "203.0.113.7"), 1) == [200]


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", UNKNOWN),
        (None, UNKNOWN),
        ("x" * 300, UNKNOWN),
        ("192.0.2.7'; --", UNKNOWN),
    ],
)
def test_one_household_is_one_sender(given: str | None, counted: str) -> None:
    """It may choose freely among 2^64 addresses; what is no address counts as one sender."""
    assert sender(given) == counted


@pytest.mark.parametrize(
    ("trusted", "forwarded", "counted"),
    [
        ("", "198.51.100.9", "192.0.2.1"),
        ("192.0.2.2", "198.51.100.9", "192.0.2.1"),
        ("192.0.2.0/24", "198.51.100.9", "198.51.100.9"),
        ("192.0.2.1", "203.0.113.1, 198.51.100.9", "198.51.100.9"),
        ("192.0.2.0/24, 198.51.100.9", "203.0.113.1, 198.51.100.9, 192.0.2.8", "203.0.113.1"),
        ("192.0.2.1", "198.51.100.9:4711", "198.51.100.9"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "made up", UNKNOWN),
    ],
)
async def test_only_trusted_proxies_say_who_sent_it(
    address: PostgresAddress, database: Database, token: str, trusted: str, forwarded: str, counted: str
) -> None:
    """Else everybody could send in another's name. Of several, the last that is no proxy of ours."""
    async with database.connection(NOBODY) as connection:
        await connection.execute("DELETE FROM request_rate")
    async with processes(address, 1, rate_per_address=2, trusted_proxies=trusted) as [client]:
        answer = await client(token, "192.0.2.1").get(PATH, headers={"X-Forwarded-For": forwarded})
        assert answer.status_code == 200
    async with database.connection(NOBODY) as connection:
        assert [row["key"] for row in await connection.fetch("SELECT key FROM request_rate")] == [counted]


@pytest.mark.parametrize("proxies", ["*", "nonsense", "10.0.0.1/8", "10.0.0.0/99"])
def test_a_proxy_that_is_none_is_refused(proxies: str) -> None:
    """At the start, not silently."""
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=proxies)


# --- Of wrong tokens --------------------------------------------------------------------------------------------------


async def test_the_eleventh_wrong_token_is_429_everywhere(
    address: PostgresAddress, clinic: Clinic, token: str, host: str
) -> None:
    """In the process that saw the ten, and in one that saw none; whatever is wrong with them."""
    async with processes(address, 2, failed_logins_per_address=WRONG_TOKENS) as (first, second):
        wrong = ["x", "tmk_short", *(wrong_token(clinic.clinic_id) for _ in range(4)), wrong_token(uuid4())]
        told = [await statuses(first(wrong[number % 7], host), 1) for number in range(WRONG_TOKENS)]
        assert told == [[401]] * WRONG_TOKENS
        for client in (first, second):
            refused = await client(wrong_token(clinic.clinic_id), host).get(PATH)
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= SLOTS * SLOT_SECONDS
        assert await statuses(first(token, host), 1) == [429]  # a right guess is not told apart
        assert await statuses(first(token, "203.0.113.8"), 1) == [200]


async def test_many_wrong_tokens_at_once_slip_through_nowhere(
    address: PostgresAddress, clinic: Clinic, host: str
) -> None:
    """Eighty in two processes: exactly ten are answered 401, or fewer where the machine was too busy to count one."""
    async with processes(address, 2, failed_logins_per_address=WRONG_TOKENS) as clients:
        calls = [statuses(client(wrong_token(clinic.clinic_id), host), 2) for client in clients for _ in range(20)]
        counted = Counter(status for told in await asyncio.gather(*calls) for status in told)
    assert set(counted) <= {401, 429, 503}
    assert counted[401] == WRONG_TOKENS if not counted[503] else counted[401] <= WRONG_TOKENS


async def test_whoever_was_proven_goes_on_beside_a_guesser(
    address: PostgresAddress, database: Database, clinic: Clinic, token: str, host: str
) -> None:
    """A clinic shares one address: one broken program in it must not lock the others out. Revoked ends all the same."""
    async with processes(address, 1, failed_logins_per_address=WRONG_TOKENS) as [client]:
        assert await statuses(client(token, host), 1) == [200]
        assert set(await statuses(client(wrong_token(clinic.clinic_id), host), WRONG_TOKENS)) == {401}
        await asyncio.sleep(1.1)  # the second for which a token is taken on trust
        assert await statuses(client(token, host), 3) == [200] * 3
        assert await statuses(client(wrong_token(clinic.clinic_id), host), 1) == [429]
        await clinics.revoke_token(database, clinic.clinic_id, parse_token(token).token_id)
        await asyncio.sleep(1.1)
        assert await statuses(client(token, host), 2) == [429] * 2


# --- The table --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=SLOTS, max_size=SLOTS), st.floats(0, 9.9), st.integers(1, 100))
def test_the_time_told_is_when_there_is_room_again(used: list[int], seconds: float, limit: int) -> None:
    """Against slots that are let go one by one: below the limit then, and not a slot earlier."""

    def left_after(wait: float) -> int:
        gone = int((seconds + wait) // SLOT_SECONDS)
        return sum(used[: max(0, SLOTS - gone)])

    wait = Usage(used, seconds).seconds_until_below(limit)
    assert 1 <= wait <= SLOTS * SLOT_SECONDS
    assert left_after(wait) < limit
    assert wait <= SLOT_SECONDS or left_after(wait - SLOT_SECONDS) >= limit


async def test_slots_move_on_as_time_does(database: Database, clinic: Clinic) -> None:
    """A long random walk, held against a list that is shifted by hand."""
    key = RateKey(clinic.clinic_id, RateKind.TOKEN, str(uuid4()))
    draw = random.Random(7)  # noqa: S311  # the same walk each time
    model = [0] * SLOTS
    slot = None
    for _ in range(60):
        gap, number = draw.choice([0, 0, 1, 2, 5, 6, 7, 8, 100]), draw.randint(1, 9)
        async with database.connection(clinic.clinic_id) as connection:
            await connection.execute("UPDATE request_rate SET slot = slot - $1", gap)
            before = await connection.fetchval("SELECT slot FROM request_rate")
        usage = await add_usage(database, key, number)
        async with database.connection(clinic.clinic_id) as connection:
            slot = await connection.fetchval("SELECT slot FROM request_rate")
        moved = 0 if before is None else min(slot - before, SLOTS)  # the clock may have ticked between
        model = ([0] * moved + model)[:SLOTS]
        model[0] += number
        assert list(usage.used) == model
        assert 0 <= usage.seconds <= SLOT_SECONDS + 1


async def test_rates_are_counted_behind_a_pooler(address: PostgresAddress, clinic: Clinic) -> None:
    """Where nothing may stick to a connection, the binding sticks to the statement's own transaction."""
    database = Database(address.runtime_url, Settings(pool_size=1, database_pooler="transaction"))
    await database.open()
    try:
        key = RateKey(clinic.clinic_id, RateKind.TOKEN, str(uuid4()))
        assert [(await add_usage(database, key, 2)).total for _ in range(3)] == [2, 4, 6]
        assert await database.fetch_alone("SELECT key FROM request_rate") == []
    finally:
        await database.close()


async def test_old_rows_are_swept_and_new_ones_stay(database: Database, clinic: Clinic) -> None:
    """Whoever has sent nothing for a minute is forgotten."""
    keys = [RateKey(clinic.clinic_id, RateKind.TOKEN, name) for name in ("old", "new")]
    await add_usage(database, keys[0], 1)
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(f"UPDATE request_rate SET slot = slot - {SLOTS + 1}")
    await add_usage(database, keys[1], 1)
    await sweep_rates(database, clinic.clinic_id)
    async with database.connection(clinic.clinic_id) as connection:
        assert [row["key"] for row in await connection.fetch("SELECT key FROM request_rate")] == ["new"]


async def test_a_process_sweeps_by_itself(database: Database, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it counts, once in a while."""
    table = RateTable()
    old = RateKey(clinic.clinic_id, RateKind.TOKEN, "old")
    await table.add(database, old, 1)
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(f"UPDATE request_rate SET slot = slot - {SLOTS + 1}")
    monkeypatch.setattr("app.services.rate_limits.SWEEP_SECONDS", 0)
    await table.add(database, RateKey(clinic.clinic_id, RateKind.TOKEN, "new"), 1)
    await table.close()
    async with database.connection(clinic.clinic_id) as connection:
        assert [row["key"] for row in await connection.fetch("SELECT key FROM request_rate")] == ["new"]


async def test_a_clinic_sees_its_own_rates_alone(database: Database, clinic: Clinic, other_clinic: Clinic) -> None:
    """Neither another clinic's nor any address."""
    await add_usage(database, RateKey(clinic.clinic_id, RateKind.TOKEN, "mine"), 1)
    await add_usage(database, RateKey(NOBODY, RateKind.ADDRESS, "192.0.2.99"), 1)
    seen = {}
    for clinic_id in (clinic.clinic_id, other_clinic.clinic_id):
        async with database.connection(clinic_id) as connection:
            seen[clinic_id] = [row["key"] for row in await connection.fetch("SELECT key FROM request_rate")]
    assert seen == {clinic.clinic_id: ["mine"], other_clinic.clinic_id: []}
    assert await database.fetch_alone("SELECT key FROM request_rate") == []


async def test_a_database_that_is_away_limits_nobody() -> None:
    """What needs it is answered 503 by itself; what does not need it goes on."""
    away = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    table = RateTable()
    limit = RateLimit(RateKind.ADDRESS, 5, table)
    for _ in range(20):
        await limit.take(away, NOBODY, "192.0.2.1")


async def test_a_wrong_token_that_cannot_be_counted_blocks_its_address() -> None:
    """Whoever keeps the database busy does not get to guess; another address does not feel it, nor does it last."""
    away = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    failures = FailedLogins(5, RateTable())
    with pytest.raises(UnavailableError):
        await failures.record(away, "192.0.2.1")
    with pytest.raises(TooManyError) as refused:
        failures.refuse_blocked("192.0.2.1")
    assert refused.value.retry_after_seconds == SLOT_SECONDS
    failures.refuse_blocked("192.0.2.2")
    failures._blocked["192.0.2.1"] -= SLOT_SECONDS
    failures.refuse_blocked("192.0.2.1")


async def test_too_many_senders_are_forgotten_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has an end, whatever is sent; a defect of the table is logged by its class and limits nobody."""
    monkeypatch.setattr("app.services.rate_limits.MAX_KEYS", 50)

    async def full(*_: object) -> Usage:
        return Usage([100] + [0] * 6, 0)

    monkeypatch.setattr("app.services.rate_limits.add_usage", full)
    nowhere = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    limit, failures = RateLimit(RateKind.ADDRESS, 5_000, RateTable()), FailedLogins(5, RateTable())
    for number in range(1_000):
        await limit.take(nowhere, NOBODY, f"sender {number}")
        with pytest.raises(TooManyError):
            await failures.record(nowhere, f"sender {number}")
    assert len(limit._counters) <= 50
    assert len(failures._blocked) <= 50


async def test_a_defect_of_the_table_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged by its class alone."""

    async def broken(*_: object) -> Usage:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr("app.services.rate_limits.add_usage", broken)
    nowhere = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    limit = RateLimit(RateKind.ADDRESS, 5, RateTable())
    for _ in range(20):
        await limit.take(nowhere, NOBODY, "192.0.2.1")
    assert {record.args["error"] for record in caplog.records} == {"ZeroDivisionError"}  # type: ignore[call-overload, index]  # a mapping
    assert "canary" not in str([(record.msg, record.args) for record in caplog.records])


async def test_a_sweep_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged by its class alone, and in nobody's way."""
    monkeypatch.setattr("app.services.rate_limits.SWEEP_SECONDS", -1.0)
    table = RateTable()
    away = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    assert await table.add(away, RateKey(NOBODY, RateKind.ADDRESS, "192.0.2.1"), 1) is None
    await table.close()
    assert [record.msg for record in caplog.records] == ["rates_not_swept"]
    assert {record.args["error"] for record in caplog.records} == {"UnavailableError"}  # type: ignore[call-overload, index]  # a mapping


async def test_what_was_let_through_long_ago_is_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not told within a minute no longer counts; an address that was refused is tried again after its time."""

    async def full(*_: object) -> Usage:
        return Usage([6] + [0] * 6, 0)

    monkeypatch.setattr("app.services.rate_limits.add_usage", full)
    nowhere = Database("postgresql://nobody:wrong@127.0.0.1:1/none", Settings())
    limit, failures = RateLimit(RateKind.ADDRESS, 500, RateTable()), FailedLogins(5, RateTable())
    await limit.take(nowhere, NOBODY, "192.0.2.1")
    counter = limit._counters[NOBODY, "192.0.2.1"]
    counter.since -= 61
    await limit.take(nowhere, NOBODY, "192.0.2.1")
    assert counter.pending == 1
    with pytest.raises(TooManyError):
        await failures.record(nowhere, "192.0.2.1")
    failures._blocked["192.0.2.1"] -= 120
    failures.refuse_blocked("192.0.2.1")
    assert failures._blocked == {}
