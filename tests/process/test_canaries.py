"""No word of a request comes out again: in an error, a log, the metrics, the document, or the log of the Postgres."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from app.auth import Role
from app.db import Database
from app.embedded_postgres import EmbeddedPostgres, PostgresAddress
from app.postgres_cluster import QueryError
from tests.process.conftest import Site
from tests.process.service import Service, data_directory, plain_environment
from tests.security.estate import WORRYING, Estate, ago, open_estate
from tests.security.operations import IN_ORDER, Operation, leaves_of, put_at, tag_of

pytestmark = pytest.mark.anyio

CANARY = "canary-4711-made-up"
LANGUAGE = "en-canary"
SPOILT = (CANARY, f" {CANARY}\u0000", f"{CANARY}\ud800", CANARY * 300, {CANARY: CANARY}, [CANARY])
LOUD = {"User-Agent": CANARY, "Referer": f"https://{CANARY}", "Cookie": f"a={CANARY}", "X-Request-Id": CANARY}
EVERY_ERROR = {400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428, 429, 500, 503}
WRONG_TOKENS = 40  # a minute, until they are refused unread
NOWHERE = "localhost:9"  # where nobody listens, and webhooks may try
TALKATIVE = {"TIDEMARK_LOG_LEVEL": "debug", "TIDEMARK_WEBHOOK_INTERNAL_HOSTS": NOWHERE}
# Where a text that is sent stands unsealed: of the clinic, or codes of a schedule, which may be spelled like one.
OF_THE_CLINIC = {"clinic_rules", "release", "suitability_checklist", "threshold", "webhook"}
KEPT_IN = OF_THE_CLINIC | {"api_token", "schedule", "expected_check_in"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One of its own, which says all it can."""
    with data_directory() as data_dir:
        limits = {"TIDEMARK_FAILED_LOGINS_PER_ADDRESS": str(WRONG_TOKENS), "TIDEMARK_TRUSTED_PROXIES": "127.0.0.1"}
        environment = plain_environment(**TALKATIVE, **limits, TIDEMARK_DATA_DIR=str(data_dir))
        said = tmp_path_factory.mktemp("talkative") / "said.log"
        with running(Service(("serve", "--workers", "2"), environment, said)) as service:
            yield service


@pytest.fixture(scope="module")
def durable(service: Service) -> PostgresAddress:
    with EmbeddedPostgres(service.cluster.parent) as joined:
        return joined.address


@contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        service.start()
        yield service
    finally:
        service.end()


# --- What is sent -----------------------------------------------------------------------------------------------------


def bodies_of(sound: Any) -> Iterator[bytes]:
    """A sound body, spoilt in each place in each way."""
    for place in leaves_of(sound):
        for by in SPOILT:
            yield json.dumps(put_at(sound, place, by)).encode()
    yield json.dumps(sound | {CANARY: CANARY}).encode()
    yield json.dumps(sound).encode()[:-1] + CANARY.encode()


async def answers_of(estate: Estate, operation: Operation) -> list[httpx2.Response]:
    """What one write route answers to whom it is for, about things that are there."""
    asked = operation.request(estate.things)
    http, reader = estate.http[min(operation.roles)], estate.http[Role.ADMIN]
    bodies = [*bodies_of(asked.pop("json"))] if operation.has_body else [b""]
    answers = []
    for body in bodies:
        await estate.refill()
        headers = {"Content-Type": "application/json"}
        if "headers" in asked:
            headers["If-Match"] = await tag_of(reader, asked["url"])
        answers.append(await http.request(**asked | {"content": body, "headers": headers}))
    key = {"Idempotency-Key": f"{CANARY} {CANARY}"}
    answers.append(await http.request(**asked | {"headers": key}))
    return answers


def elsewhere(site: Site) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything of a request that is not its body, and clashes with what is stored."""
    form = {"json": site.form()}
    yield "get", f"/v1/patients/{CANARY}", {}
    yield "get", f"/{CANARY}", {}
    yield "get", f"/v1/patients?cursor={CANARY}", {}
    yield "get", f"/v1/assessments?patient_id={CANARY}&status={CANARY}&from={CANARY}", {}
    yield "get", f"/v1/instruments/{quote(CANARY + chr(0))}", {}
    yield "get", "/v1/patients", {"headers": {"Authorization": f"Bearer {CANARY}"}}
    yield "post", "/v1/assessments", form | {"headers": {"Idempotency-Key": f"{CANARY} {CANARY}"}}
    yield "post", "/v1/assessments", form | {"headers": {"Content-Type": f"text/{CANARY}"}}
    key = {"headers": {"Idempotency-Key": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": CANARY}}
    yield "post", "/v1/patients", {"json": {"external_ref": f"{CANARY}-2"}} | key
    yield "post", "/v1/patients", {"json": {"external_ref": f"{CANARY}-3"}} | key
    yield "post", "/v1/patients", {"content": CANARY * 5_000, "headers": {"Content-Type": "application/json"}}
    yield "get", f"/v1/audit-events?after={CANARY}", {}
    yield "delete", f"/v1/patients?{CANARY}", {}
    patch = {"reason": CANARY, "time_zone": "America/Denver"}
    yield "patch", f"/v1/patients/{site.patient_id}", {"json": patch}
    yield "patch", f"/v1/patients/{site.patient_id}", {"json": patch, "headers": {"If-Match": '"99"'}}
    yield "patch", f"/v1/patients/{site.patient_id}", {"json": patch, "headers": {"If-Match": CANARY}}


@asynccontextmanager
async def locked(address: PostgresAddress) -> AsyncIterator[None]:
    """A Postgres that refuses in the middle of a statement, with all values in its hands."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        await connection.execute("BEGIN; LOCK TABLE patient, assessment IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


@asynccontextmanager
async def defective(address: PostgresAddress) -> AsyncIterator[None]:
    """A database with rules nobody foresaw, and which it refuses rows by in words that quote them."""
    connection = await asyncpg.connect(address.owner_url)
    try:
        for table, condition, quoted in (
            ("patient", "ref_index IS NOT NULL", f"('{CANARY}' || encode(ref_index, 'hex'))"),  # the rest is sealed
            ("assessment", f"language = '{LANGUAGE}'", "language"),
        ):
            rule = f"CASE WHEN {condition} THEN {quoted}::int > 0 ELSE true END"
            await connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT unforeseen CHECK ({rule}) NOT VALID")
        yield
        for table in ("patient", "assessment"):
            await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT unforeseen")
    finally:
        await connection.close()


async def provoked(site: Site, address: PostgresAddress) -> list[httpx2.Response]:
    """Every class of error but 429, with the canary in all places a request has."""
    answers = []
    async with site.client() as http:
        http.headers.update(LOUD)
        for method, path, what in elsewhere(site):
            answers.append(await http.request(method, path, **what))
        patient, form = {"external_ref": f"{CANARY}-defect"}, site.form(language=LANGUAGE)
        for trouble, status in ((defective, 500), (locked, 503)):
            async with trouble(address):
                met = [await http.post("/v1/patients", json=patient), await http.post("/v1/assessments", json=form)]
            assert [answer.status_code for answer in met] == [status] * 2, [answer.text for answer in met]
            answers += met
    await no_http(site)
    return answers


async def no_http(site: Site) -> None:
    """Refused before the application is asked."""
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{CANARY} /{CANARY} HTTP/9.9\r\n{CANARY}: {CANARY}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"canary" not in answer


async def guessed(site: Site) -> list[httpx2.Response]:
    """Wrong tokens until they are refused unread, from an address of its own behind the proxy we are."""
    headers = {"Authorization": f"Bearer {CANARY}", "X-Forwarded-For": "192.0.2.9"}
    async with httpx2.AsyncClient(base_url=site.url, headers=headers) as http:
        return [await http.get("/v1/patients", params={"q": CANARY}) for _ in range(WRONG_TOKENS + 5)]


async def called_out(estate: Estate) -> None:
    """A webhook whose address is a canary: the worker has tried it, in vain."""
    admin, clinician = estate.http[Role.ADMIN], estate.http[Role.CLINICIAN]
    hook = {"url": f"https://{NOWHERE}/{CANARY}?{CANARY}", "events": [], "label": CANARY}
    made = await admin.post("/v1/webhooks", json=hook)
    assert made.status_code == 201, made.text
    form = {
        "patient_id": (await admin.post("/v1/patients", json={})).json()["id"],
        "instrument": "phq-9",
        "responses": WORRYING,
        "taken_at": ago(hours=1),
    }
    assert (await clinician.post("/v1/assessments", json=form | {"id": str(uuid4())})).status_code == 201
    tried = "SELECT count(*) FROM delivery WHERE clinic_id = $1 AND webhook_id = $2 AND attempts > 0"
    for _ in range(150):
        async with estate.database.connection(estate.clinic_id) as connection:
            if await connection.fetchval(tried, estate.clinic_id, made.json()["id"]):
                return
        await asyncio.sleep(0.2)
    raise AssertionError("the worker does not try")


# --- Where it is looked for -------------------------------------------------------------------------------------------


async def tables_with_canaries(estate: Estate) -> set[str]:
    return {table for table, rows in (await estate.rows()).items() if CANARY in str(rows)}


def told_by(answer: httpx2.Response) -> str:
    return f"{answer.text} {answer.headers}"


def places_of(service: Service) -> dict[str, str]:
    """Everything that is written down, and what everybody may read."""
    public = {path: httpx2.get(f"{service.url}{path}").text for path in ("/metrics", "/openapi.json", "/problems")}
    return public | {"said": service.said.read_text()} | dict(written(service))


def found_in(places: dict[str, str], word: str = "canary") -> set[str]:
    return {name for name, text in places.items() if word in text.lower()}


def written(service: Service) -> list[tuple[str, str]]:
    """What the Postgres said, since its last start and before."""
    logs = [(path.name, path.read_text(errors="replace")) for path in service.cluster.parent.glob("postgres.log*")]
    assert any("ready to accept connections" in text for _, text in logs), "this is not the log"
    return logs


# --- The search -------------------------------------------------------------------------------------------------------


async def test_no_word_of_a_request_comes_out_again(
    service: Service, site: Site, stored: Database, durable: PostgresAddress
) -> None:
    """Every text of every write route, headers, paths, queries; every class of error; the worker; all at `debug`."""
    answers: list[httpx2.Response] = []
    async with open_estate(service.url, stored, "made-up") as estate:
        for operation in IN_ORDER:
            if operation.id == "erase_patient":  # the last one
                assert await tables_with_canaries(estate) == KEPT_IN
            if operation.is_write:
                told = await answers_of(estate, operation)
                answers += told
                statuses = {answer.status_code for answer in told}
                assert statuses - {401, 403, 404, 503}, "it was not let in"
                assert 422 in statuses or "Idempotency-Key" not in operation.parameters("header"), operation.id
        assert await tables_with_canaries(estate) == OF_THE_CLINIC
        await called_out(estate)
    answers += await provoked(site, durable)
    answers += await guessed(site)
    errors = [answer for answer in answers if answer.status_code >= 400]
    assert {answer.status_code for answer in errors} == EVERY_ERROR
    assert [answer.text for answer in errors if "canary" in told_by(answer).lower()] == []
    places = places_of(service)
    assert found_in(places) == set()
    events = Counter(json.loads(line)["event"] for line in places["said"].splitlines())
    assert events.keys() >= {"serving", "request", "defect", "library"}
    assert events["defect"] == 2
    assert events["request"] > 1_000


@pytest.fixture
def plain_place(durable: PostgresAddress, tmp_path: Path) -> dict[str, str]:
    return plain_environment(
        **TALKATIVE,
        TIDEMARK_LOG_FORMAT="text",
        TIDEMARK_DATABASE_URL=durable.runtime_url,
        TIDEMARK_DATA_DIR=str(tmp_path),
    )


async def test_nor_where_the_log_is_text(
    plain_place: dict[str, str], site: Site, durable: PostgresAddress, tmp_path: Path
) -> None:
    """The same errors, written for people."""
    with running(Service(("serve",), plain_place, tmp_path / "said.log")) as second:
        site.url = second.url
        answers = await provoked(site, durable)
        assert [answer.text for answer in answers if answer.status_code >= 400 and "canary" in told_by(answer)] == []
        said = second.said.read_text()
    assert " defect " in said
    assert " library " in said
    assert "canary" not in said.lower()


# --- That the search finds what is there ------------------------------------------------------------------------------

OUTSPOKEN = """
import logging
from app import cli, logs, middleware
logs.Lines = lambda _: logging.Formatter("%(message)s %(args)s")
middleware.trouble = lambda error: {"error": repr(error)}
middleware.template = lambda scope: scope["path"]
cli.main()
"""


async def test_a_log_that_quotes_is_found_out(
    plain_place: dict[str, str], site: Site, durable: PostgresAddress, tmp_path: Path
) -> None:
    """With an everyday formatter in place of ours the same errors fill it with what was sent."""
    service = Service(("serve",), plain_place, tmp_path / "said.log", program=("-c", OUTSPOKEN))
    with running(service):
        site.url = service.url
        await provoked(site, durable)
        lines = [line for line in service.said.read_text().lower().splitlines() if "canary" in line]
    assert [line for line in lines if "defect" in line], "the row a rule refused"
    assert [line for line in lines if "request" in line], "the path"


async def test_a_postgres_that_quotes_is_found_out(service: Service) -> None:
    """One that logs what it refuses, as it does unless it is told not to."""
    word = f"planted-{uuid4().hex}"
    with EmbeddedPostgres(service.cluster.parent) as joined, pytest.raises(QueryError):
        joined._query(f"SET log_min_messages = error; SET log_min_error_statement = error; SELECT '{word}'::int;")
    assert found_in(dict(written(service)), word) == {"postgres.log"}
