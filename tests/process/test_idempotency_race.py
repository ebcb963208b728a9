"""Twins at once over several workers: one form, one answer, whatever names it, and through the death of a worker."""

import asyncio
import secrets
from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.auth import Role
from app.db import Database
from app.services import clinics
from tests.process.conftest import Site, added_patient
from tests.process.service import Service, kill

pytestmark = pytest.mark.anyio

random = secrets.SystemRandom()

TWINS = 40  # parallel sends of one form
FORMS = 8  # one after the other
PATIENCE_SECONDS = 40.0
OF_THE_MOMENT = ("date", "idempotency-replayed", "x-request-id")  # headers in which twins may differ


@pytest.fixture
async def other_site(service: Service, stored: Database) -> Site:
    clinic = await clinics.record_clinic(stored, "Other clinic", "America/Denver")
    _, token = await clinics.record_token(stored, clinic.clinic_id, Role.CLINICIAN)
    site = Site(service.url, clinic.clinic_id, token, "")
    site.patient_id = await added_patient(site)
    return site


def named(site: Site, how: str, **fields: object) -> tuple[dict[str, Any], dict[str, str]]:
    """A form that raises an alert, and its headers: told apart by its id, by a key, or by both."""
    responses = [random.randint(0, 3) for _ in range(8)] + [2]
    body = site.form(responses=responses, **({} if how == "key" else {"id": str(uuid4())}) | fields)
    return body, {} if how == "id" else {"Idempotency-Key": f"key-{uuid4()}"}


async def insist(http: httpx2.AsyncClient, body: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
    """Until somebody says something else than 503."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                answer = await http.post("/v1/assessments", json=body, headers=headers)
            except httpx2.TransportError:
                answer = None
            if answer is not None and answer.status_code != 503:
                return answer
            await asyncio.sleep(random.uniform(0.05, 0.2))


def assert_twins(answers: list[httpx2.Response], most_replayed: int = TWINS - 1) -> None:
    """All alike to the byte but for the mark, which all but the first bear."""
    assert {answer.status_code for answer in answers} == {201}, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    alike = {tuple(sorted((k, v) for k, v in one.headers.items() if k not in OF_THE_MOMENT)) for one in answers}
    assert len(alike) == 1
    assert TWINS - 1 <= sum("Idempotency-Replayed" in answer.headers for answer in answers) <= most_replayed


async def stored_rows(site: Site, stored: Database) -> list[tuple[UUID, UUID]]:
    """Form and patient."""
    async with stored.connection(site.clinic_id) as connection:
        return [tuple(row) for row in await connection.fetch("SELECT id, patient_id FROM assessment")]


async def assert_alerts(site: Site, stored: Database, bodies: dict[UUID, dict[str, Any]]) -> None:
    """Each of these forms, whose item 9 is above 0, raised the alert of its patient once."""
    async with stored.connection(site.clinic_id) as connection:
        raised = await connection.fetch(
            "SELECT event.cause FROM alert_event event JOIN alert ON alert.id = event.alert_id "
            "WHERE alert.kind = 'critical_item' AND event.kind = 'raised'"
        )
    assert Counter(row["cause"] for row in raised) == Counter(
        f"{id_}:9:{body['responses'][8]}" for id_, body in bodies.items() if body["responses"][8]
    )


@pytest.mark.parametrize("how", ["id", "key", "both"])
async def test_twins_are_one_form(service: Service, site: Site, stored: Database, how: str) -> None:
    """Forty at once: 201 for all, one row, one alert, every answer the same."""
    assert len(service.workers()) == 2
    bodies = {}
    async with site.client() as http:
        for _ in range(FORMS):
            body, headers = named(site, how)
            answers = await asyncio.gather(*(insist(http, body, headers) for _ in range(TWINS)))
            assert_twins(answers)
            bodies[UUID(answers[0].json()["id"])] = body
            assert [one["kind"] for one in answers[0].json()["alerts"]][:1] == ["critical_item"]
    assert {id_ for id_, _ in await stored_rows(site, stored)} == bodies.keys()
    await assert_alerts(site, stored, bodies)


async def test_two_clinics_share_a_key_and_an_id(site: Site, other_site: Site, stored: Database) -> None:
    """At the same moment: each has its own form, and neither hears of the other's."""
    async with site.client() as http, other_site.client() as other_http:
        for _ in range(FORMS):
            body, headers = named(site, "both")
            other = body | {"patient_id": other_site.patient_id, "responses": [1] * 9}
            sends = [insist(http, body, headers) for _ in range(TWINS)]
            sends += [insist(other_http, other, headers) for _ in range(TWINS)]
            answers = await asyncio.gather(*sends)
            assert_twins(answers[:TWINS])
            assert_twins(answers[TWINS:])
            told = [(one.json()["patient_id"], one.json()["responses"]) for one in answers[TWINS - 1 : TWINS + 1]]
            assert told == [(each["patient_id"], each["responses"]) for each in (body, other)]
    for one in (site, other_site):
        assert {str(patient) for _, patient in await stored_rows(one, stored)} == {one.patient_id}


@pytest.mark.parametrize("how", ["id", "both"])
async def test_one_id_for_two_patients_is_the_first_ones(site: Site, stored: Database, how: str) -> None:
    """Each under a key of its own or none: who comes second gets 422 for ever, and never sees the other's form."""
    async with site.client() as http:
        second = (await http.post("/v1/patients", json={})).json()["id"]
        for _ in range(FORMS):
            one, headers = named(site, how)
            other, other_headers = named(site, how, patient_id=second, id=one["id"])
            sent = [(one, headers), (other, other_headers)] * (TWINS // 2)
            for _ in range(2):
                answers = await asyncio.gather(*(insist(http, *each) for each in sent))
                outcomes = {
                    (body["patient_id"], answer.status_code, answer.json().get("patient_id"))
                    for (body, _), answer in zip(sent, answers, strict=True)
                }
                assert outcomes in (
                    {(site.patient_id, 201, site.patient_id), (second, 422, None)},
                    {(site.patient_id, 422, None), (second, 201, second)},
                )
    assert len(await stored_rows(site, stored)) == FORMS


async def test_twins_outlive_a_worker(service: Service, site: Site, stored: Database) -> None:
    """A worker is killed while it answers them: who repeats gets the one answer, and the alert is there once."""
    bodies = {}
    broken = 0
    async with site.client() as http:
        for number in range(FORMS):
            body, headers = named(
                site, ("id", "key", "both")[number % 3], taken_at=f"2026-03-{number + 1:02d}T09:00:00Z"
            )
            sends = [asyncio.create_task(insist(http, body, headers)) for _ in range(TWINS)]
            await asyncio.sleep(random.uniform(0, 0.05))
            broken += any(not send.done() for send in sends)
            while not (workers := [pid for pid in service.workers() if pid != service.launcher.pid]):  # noqa: ASYNC110  # nothing tells when those killed before are replaced
                await asyncio.sleep(0.01)
            kill(random.choice(workers))
            answers = await asyncio.gather(*sends)
            assert_twins(answers, most_replayed=TWINS)  # the first answer may have died with its worker
            bodies[UUID(answers[0].json()["id"])] = body
    assert broken, "no kill fell into the load"
    assert {id_ for id_, _ in await stored_rows(site, stored)} == bodies.keys()
    await assert_alerts(site, stored, bodies)
