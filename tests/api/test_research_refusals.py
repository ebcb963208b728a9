"""Every refusal that stands between research data and a person is clear, and stands in the trail."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.services.releases import end_releases
from app.tables import Clinic
from tests.api.test_release_differences import BY_VEIN, people
from tests.api.test_releases import ASKED, ask, built, download, end_of_time, send
from tests.cohort_clinic import settle
from tests.conftest import Api, client

pytestmark = pytest.mark.anyio

COHORT = "/v1/cohorts/outcomes"


@pytest.fixture
async def colleague(app: FastAPI, database: Database, clinic: Clinic) -> AsyncIterator[Api]:
    """A second researcher of the clinic."""
    api = await client(app, database, clinic, Role.RESEARCHER)
    async with api.http:
        yield api


async def told(admin: Api) -> dict[str, Any]:
    """The newest event of the trail but for the looking itself."""
    events = (await send(admin, "GET", "/v1/audit-events"))["data"]
    return next(one for one in events if not one["action"].startswith("audit_event"))


async def refused(admin: Api, answer: httpx2.Response, status: int, words: str, event: tuple[str, str, str]) -> Any:
    """Answered with this status and these words, and told as this action of this role with this outcome."""
    assert answer.status_code == status, answer.text
    assert words in answer.text
    last = await told(admin)
    assert (last["action"], last["actor_role"], last["outcome"]) == event
    assert last["patient_id"] is None
    return last["resource_id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tier": "limited_data_set"}, "data use agreement"),
        ({"tier": "expert"}, "expert's determination"),
        ({"columns": ["scores.responses"]}, "no such column"),
        ({"disclosure": {"k": 5}}, "too small"),
        ({"cohort": {"patient_id": "019a9c40-0000-7000-8000-000000000001"}}, "nobody knows"),
        ({"cohort": {"date_of_birth": "1988-05-01"}}, "nobody knows"),
        ({"cohort": {"first_dose_from": "2026-03-02"}}, "not of the expected form"),
    ],
)
async def test_what_may_not_be_asked_for(researcher: Api, admin: Api, change: dict[str, Any], words: str) -> None:
    """Without its agreement, finer than its tier, or with a filter that could pick somebody out."""
    answer = await researcher.http.post("/v1/releases", json=ASKED | change)
    await refused(admin, answer, 422, words, ("request_release", "researcher", "refused"))
    assert (await send(researcher, "GET", "/v1/releases"))["data"] == []


async def test_an_approval_by_whoever_asked(admin: Api) -> None:
    release = await ask(admin)
    answer = await admin.http.post(f"/v1/releases/{release['id']}/approval", json={"decision": "approved"})
    event = ("decide_release", "admin", "refused")
    assert await refused(admin, answer, 409, "Another administrator has to decide", event) == release["id"]


async def test_an_approval_by_a_researcher(researcher: Api, colleague: Api, admin: Api) -> None:
    release = await ask(researcher)
    for caller in (researcher, colleague):
        answer = await caller.http.post(f"/v1/releases/{release['id']}/approval", json={"decision": "approved"})
        await refused(admin, answer, 403, "role", ("decide_release", "researcher", "refused"))


@pytest.mark.parametrize(
    ("others", "cohort", "failure"),
    [(10, {"route": "oral"}, "too_few_people"), (8, BY_VEIN, "too_near_an_earlier_release")],
)
async def test_a_cohort_that_is_too_small_or_singles_somebody_out(
    researcher: Api, admin: Api, database: Database, others: int, cohort: dict[str, str], failure: str
) -> None:
    """Told when it is built, after two people wanted it: who asks alone cannot try out cohorts."""
    await settle(database, admin.clinic_id, people(20) + people(others, route="oral"))
    assert (await built(researcher, admin, database))["status"] == "ready"
    release = await built(researcher, admin, database, cohort=cohort)
    assert (release["status"], release["failure"]) == ("failed", failure)
    last = await told(admin)
    assert (last["action"], last["actor_role"], last["resource_id"]) == ("release.fail", "service", release["id"])
    answer = await download(researcher, release, "scores.csv")
    await refused(admin, answer, 404, "no such file", ("download_release_file", "researcher", "absent"))


@pytest.mark.parametrize("way", ["expired", "revoked", "withdrawn"])
async def test_a_download_after_the_end(
    researcher: Api, admin: Api, database: Database, address: PostgresAddress, way: str
) -> None:
    """Before the worker has come by, and after."""
    await settle(database, admin.clinic_id, people(12))
    release = await built(researcher, admin, database)
    match way:
        case "expired":
            await end_of_time(address, admin.clinic_id, release)
        case "revoked":
            await send(admin, "POST", f"/v1/releases/{release['id']}/revocation")
        case "withdrawn":
            patient = (await send(admin, "GET", "/v1/patients"))["data"][0]["id"]
            (consent,) = (await send(admin, "GET", f"/v1/patients/{patient}/consents"))["data"]
            await send(admin, "POST", f"/v1/patients/{patient}/consents/{consent['id']}/withdrawal", {})
    event = ("download_release_file", "researcher", "refused")
    for _ in range(2):
        answer = await download(researcher, release, "scores.csv")
        assert await refused(admin, answer, 410, "Ask for a new one", event) == release["id"]
        await end_releases(database, admin.clinic_id)


async def test_a_download_by_another(
    researcher: Api, colleague: Api, api: Api, admin: Api, database: Database, other_admin: Api
) -> None:
    """Absent to researchers who did not ask and to other clinics, forbidden to clinicians; the other clinic is told."""
    await settle(database, admin.clinic_id, people(12))
    release = await built(researcher, admin, database)
    answer = await download(colleague, release, "scores.csv")
    await refused(admin, answer, 404, "no such release", ("download_release_file", "researcher", "absent"))
    answer = await download(api, release, "scores.csv")
    await refused(admin, answer, 403, "role", ("download_release_file", "clinician", "refused"))
    answer = await download(other_admin, release, "scores.csv")
    event = ("download_release_file", "admin", "absent")
    assert await refused(other_admin, answer, 404, "no such release", event) == str(other_admin.clinic_id)


@pytest.mark.parametrize("query", [{"first_dose_from": "2026-03-02"}, {"dose_band": "35"}, {"severity": "27"}])
async def test_a_cohort_question_that_is_too_fine(researcher: Api, admin: Api, query: dict[str, str]) -> None:
    """The choices are months and bands."""
    answer = await researcher.http.get(COHORT, params={"instrument": "phq-9"} | query)
    await refused(admin, answer, 422, "errors", ("get_cohort_outcomes", "researcher", "refused"))


async def test_a_cohort_question_about_a_few(researcher: Api, admin: Api, database: Database) -> None:
    """Once in the trail, with its conditions."""
    await settle(database, admin.clinic_id, people(10))
    before = datetime.now(UTC)
    answer = await researcher.http.get(COHORT, params={"instrument": "phq-9", "route": "intravenous"})
    assert (answer.status_code, "fewer than 11" in answer.text) == (422, True)
    events = (await send(admin, "GET", f"/v1/audit-events?from={before:%Y-%m-%dT%H:%M:%SZ}"))["data"]
    found = [(one["action"], one["filter"]) for one in events if one["actor_role"] == "researcher"]
    assert found == [("cohort.refuse", "route=intravenous")]


async def test_who_asks_for_too_much(researcher: Api, admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.releases.MAX_OPEN", 1)
    await ask(researcher)
    answer = await researcher.http.post("/v1/releases", json=ASKED)
    await refused(admin, answer, 409, "releases are open", ("request_release", "researcher", "refused"))


async def test_a_slip_elsewhere_is_not_told(admin: Api) -> None:
    """Content of a form that breaks a rule is sent again, and is no attempt at anything."""
    assert (await admin.http.post("/v1/patients", json={"nothing": 1})).status_code == 422
    assert (await send(admin, "GET", "/v1/audit-events"))["data"] == []


async def test_more_cohort_questions_than_the_budget_has(
    researcher: Api, admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.cohorts.QUESTIONS", 1)
    assert (await researcher.http.get(COHORT, params={"instrument": "phq-9"})).status_code == 422
    answer = await researcher.http.get(COHORT, params={"instrument": "phq-9", "route": "oral"})
    await refused(admin, answer, 429, "different cohort questions", ("get_cohort_outcomes", "researcher", "refused"))
