"""Either of the two walls between clinics holds alone: row-level security, and the conditions the services write.

The same requests with neither wall show the other clinic's rows, so what is tested here does look for them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.settings import Settings
from tests.security.conftest import Pair
from tests.security.operations import IN_ORDER, OPERATIONS, Operation
from tests.security.sabotage import forgetful, reads_of, without_clinic

pytestmark = pytest.mark.anyio

# Figures without an id, and what is found by the bearer's own patient.
SHOW_NO_ID = {"get_alert_latency", "get_check_in", "get_cohort_outcomes", "get_cohort_picture"}
READ_BY_NO_GET = {"derivation", "idempotency_key", "request_rate", "refresh_token", "issuer_key_set"}
BROKEN = "breaks on rows of two clinics"
READS = [one for one in OPERATIONS if one.path.startswith("/v1/") and not one.is_write]
# What is no clinic's own.
OF_NOBODY = {"list_instruments", "get_instrument_by_reference", "list_protocols", "get_protocol"}


@asynccontextmanager
async def started(url: str, settings: Settings) -> AsyncIterator[FastAPI]:
    """Another instance, whose connections have prepared nothing yet."""
    app = create_app(settings, url)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def as_it_logs_in(tmp_path: Path) -> Settings:
    """Behind a pooler no role is taken on: the login's own rights hold."""
    return Settings(data_dir=tmp_path, database_pooler="transaction")


@pytest.fixture
async def tables(pair: Pair) -> frozenset[str]:
    return frozenset(await pair.own.rows())


async def leaks(app: FastAPI, pair: Pair) -> dict[str, list[str]]:
    """By operation, what was shown of the other clinic to any role of ours, by its own things and by the other's."""
    found: dict[str, list[str]] = {}
    transport = httpx2.ASGITransport(app)
    for caller in Role:
        headers = pair.own.http[caller].headers
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
            for operation in READS:
                if caller in operation.roles:
                    shown = [mark for asked in requests(operation, pair) async for mark in marks(http, asked, pair)]
                    found.setdefault(operation.id, []).extend(shown)
    return {name: shown for name, shown in found.items() if shown}


def requests(operation: Operation, pair: Pair) -> list[dict[str, Any]]:
    own, foreign = operation.request(pair.own.things), operation.request(pair.foreign.things)
    wide = {name: value for name, value in own["params"].items() if name == "instrument"}
    return [
        own,
        foreign,
        own | {"params": wide | ({"limit": 200} if "cursor" in operation.parameters("query") else {})},
    ]


async def marks(http: httpx2.AsyncClient, asked: dict[str, Any], pair: Pair) -> AsyncIterator[str]:
    """What the answer shows of the other clinic beyond what was asked by name."""
    answer = await http.request(**asked)
    if answer.status_code >= 500:
        yield BROKEN
    named = f"{asked['url']} {asked['params']}"
    for mark in pair.marks:
        if mark in answer.text and mark not in named:
            yield mark
    if answer.status_code == 200 and any(mark in asked["url"] for mark in pair.marks):
        yield f"answered {asked['url']}"


def test_every_form_of_the_condition_is_switched_off() -> None:
    """By parameter, by another table's column, as SQLAlchemy writes it; what is stored is left as it is."""
    assert without_clinic("WHERE clinic_id = $1 AND id = $2") == "WHERE (clinic_id = $1 OR true) AND id = $2"
    assert without_clinic("ON a.clinic_id = b.clinic_id") == "ON (a.clinic_id = b.clinic_id OR true)"
    assert without_clinic("patient.clinic_id = $3::UUID AND") == "(patient.clinic_id = $3::UUID OR true) AND"
    assert without_clinic("INSERT INTO t (clinic_id) VALUES ($1)") == "INSERT INTO t (clinic_id) VALUES ($1)"


async def test_without_the_services_conditions_no_row_of_another_clinic_is_seen(
    address: PostgresAddress, settings: Settings, pair: Pair, tables: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through any GET route, by any role: row-level security alone keeps the clinics apart."""
    with forgetful(monkeypatch) as sent:
        async with started(address.runtime_url, settings) as app:
            assert await leaks(app, pair) == {}
    reading = {statement for statement in sent if reads_of(statement, tables)}
    assert [one for one in reading if "OR true" not in one] == []
    assert tables - frozenset().union(*(reads_of(one, tables) for one in reading)) == READ_BY_NO_GET


async def test_without_the_services_conditions_no_row_of_another_clinic_is_changed(
    address: PostgresAddress, settings: Settings, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through any other route, by who may, naming each of the other clinic's things."""
    before = await pair.foreign.rows()
    with forgetful(monkeypatch):
        async with started(address.runtime_url, settings) as app:
            for operation in IN_ORDER:
                if operation.is_write:
                    await write_to(app, pair, operation)
    assert await pair.foreign.rows() == before


async def write_to(app: FastAPI, pair: Pair, operation: Operation) -> None:
    headers = pair.own.http[min(operation.roles)].headers
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http:
        asked = [operation.request(pair.own.things, slot, pair.foreign.things[slot.kind]) for slot in operation.slots()]
        for one in [*asked, operation.request(pair.foreign.things)]:
            answer = await http.request(**one)
            assert answer.status_code < 500, (operation.id, answer.text)
            assert not operation.slots() or not is_done(answer), (operation.id, answer.text)


def is_done(answer: httpx2.Response) -> bool:
    return answer.is_success and '"problem"' not in answer.text


async def test_without_row_level_security_no_row_of_another_clinic_is_seen(
    unbound: str, as_it_logs_in: Settings, pair: Pair
) -> None:
    """Every query of a GET route names its clinic itself."""
    async with started(unbound, as_it_logs_in) as app:
        assert await leaks(app, pair) == {}


async def test_without_both_nearly_every_route_shows_another_clinics_rows(
    unbound: str, as_it_logs_in: Settings, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the two tests above do see what there is to be seen."""
    with forgetful(monkeypatch):
        async with started(unbound, as_it_logs_in) as app:
            shown = await leaks(app, pair)
    # The oldest alerts come first, and with both walls down those of every test before this one fill the page.
    assert {operation.id for operation in READS} - shown.keys() - OF_NOBODY - {"list_alerts"} == SHOW_NO_ID
    assert sum(set(marks) != {BROKEN} for marks in shown.values()) > 30
