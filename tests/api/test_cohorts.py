"""Outcomes of cohorts over HTTP: anonymous, wrong role, other clinic, invalid, valid, asked again."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import combinations, permutations
from random import Random
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.privacy import budget
from app.services import cohorts
from app.tables import Clinic
from tests.api.conftest import PatientApi
from tests.api.test_openapi import declared_faults
from tests.api.treatment import assert_refused
from tests.cohort_clinic import START, Invented, invented, settle
from tests.conftest import Api, client
from tests.privacy.test_budget import rank

pytestmark = pytest.mark.anyio

PATH = "/v1/cohorts/outcomes"
PHQ_9 = {"instrument": "phq-9"}
ROUTES = ("intravenous", "sublingual", "oral", "intranasal")


def somebody(number: int, **others: Any) -> Invented:
    """Who responds in two of three cases, and stays away in one of four."""
    later = 8 if number % 3 else 17
    forms: list[tuple[float, float | None]] = [
        (-2.0, 19.0 - number % 4),
        *([] if number % 4 == 3 else [(8.0, later), (28.0, later)]),
    ]
    return Invented(START + timedelta(days=number % 28), forms={"phq-9": forms}, **others)


@pytest.fixture
async def sixty(database: Database, clinic: Clinic) -> None:
    await settle(database, clinic.clinic_id, crowd(60))


def crowd(count: int) -> list[Invented]:
    """Two in three by vein, half with nausea."""
    return [
        somebody(
            number,
            route="sublingual" if number % 3 == 2 else "intravenous",
            events=((0, "nausea", False),) if number % 2 else (),
        )
        for number in range(count)
    ]


async def ask(api: Api, **query: str) -> dict[str, Any]:
    answer = await api.http.get(PATH, params=PHQ_9 | query)
    assert answer.status_code == 200, answer.text
    assert declared_faults(answer, "get", PATH) == []
    body: dict[str, Any] = answer.json()
    return body


async def trail(database: Database, clinic: Clinic) -> list[str]:
    async with database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT action FROM audit_event WHERE action LIKE 'cohort.%' ORDER BY at")
    return [row["action"] for row in rows]


def at(body: dict[str, Any], code: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in body["time_points"] if one["code"] == code)
    return found


async def test_anonymous_and_patients_and_programs_see_none(
    anonymous: httpx2.AsyncClient, patient_api: PatientApi, service: Api
) -> None:
    """401 and 403."""
    assert (await anonymous.get(PATH, params=PHQ_9)).status_code == 401
    for api in (patient_api, service):
        assert (await api.http.get(PATH, params=PHQ_9)).status_code == 403


@pytest.mark.usefixtures("sixty")
async def test_other_clinics_people_are_in_no_cohort(database: Database, researcher: Api, other_clinic: Clinic) -> None:
    """However many they are."""
    await settle(database, other_clinic.clinic_id, [somebody(number) for number in range(60)])
    assert abs((await ask(researcher))["flow"]["dosed"] - 60) < 20


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({}, "query/instrument"),
        ({"instrument": "phq-99"}, "query/instrument"),
        (PHQ_9 | {"first_dose_from": "2026-13"}, "query/first_dose_from"),
        (PHQ_9 | {"first_dose_from": "2026-05-01"}, "query/first_dose_from"),
        (PHQ_9 | {"first_dose_from": "2026-05", "first_dose_to": "2026-04"}, "query/first_dose_to"),
        (PHQ_9 | {"modality": "magic"}, "query/modality"),
        (PHQ_9 | {"route": "rectal"}, "query/route"),
        (PHQ_9 | {"dose_band": "35"}, "query/dose_band"),
        (PHQ_9 | {"doses": "5"}, "query/doses"),
        (PHQ_9 | {"severity": "sad"}, "query/severity"),
        ({"instrument": "pcl-5-week", "severity": "moderate"}, "query/severity"),
    ],
)
async def test_odd_parameters_are_refused(researcher: Api, query: dict[str, str], pointer: str) -> None:
    """422 that names the parameter."""
    answer = await researcher.http.get(PATH, params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert declared_faults(answer, "get", PATH) == []


@pytest.mark.parametrize("people", [0, 1, 10])
async def test_a_small_cohort_is_refused_in_the_same_words(
    database: Database, clinic: Clinic, researcher: Api, api: Api, people: int
) -> None:
    """Whoever asks; how small it is stays untold, and that it was asked is kept."""
    await settle(database, clinic.clinic_id, [somebody(number) for number in range(people)])
    texts = set()
    for caller in (researcher, api):
        answer = await caller.http.get(PATH, params=PHQ_9)
        assert_refused(answer, "query", "too_few_people")
        texts.add(answer.text)
    assert len(texts) == 1
    assert str(people) not in texts.pop().replace("11", "").replace("422", "") or people == 1
    assert await trail(database, clinic) == ["cohort.refuse"] * 2


async def test_a_cohort_is_told_in_counts_near_the_true_ones(
    database: Database, clinic: Clinic, researcher: Api
) -> None:
    """Each rate with its rule, its n, and once more for all treated. So many that no noise hides any of it."""
    await settle(database, clinic.clinic_id, crowd(120))
    body = await ask(researcher)
    week_1 = at(body, "week_1")
    assert body["instrument"] == "phq-9@1"
    assert abs(body["flow"]["dosed"] - 120) <= 15
    assert abs(week_1["observed"] - 90) <= 15
    assert abs(week_1["total"]["mean"] - 11) <= 1
    response = week_1["outcomes"][0]
    assert (response["outcome"], response["rule"], response["threshold"]) == ("response", "response_50_percent", 0.5)
    assert response["source"].startswith("ICSI")
    of_observed, of_treated = response["of_observed"], response["of_treated"]
    assert of_observed["rate"] == of_observed["count"] / of_observed["n"]
    assert of_observed["low"] < of_observed["rate"] < of_observed["high"]
    assert of_treated["rate"] < of_observed["rate"] + 0.15  # a third less, but for the noise of each
    assert "randomised" in body["notes"][0]
    assert abs({one["term"]: one for one in body["adverse_events"]}["nausea"]["persons"]["rate"] - 0.5) < 0.25


async def test_the_day_after_a_dose_judges_nothing(database: Database, clinic: Clinic, researcher: Api) -> None:
    """A two-week form of that day is shown, and stays out of every rate."""
    people = [Invented(forms={"phq-9": [(-2, 15 + number % 3), (1, 4 + number % 3)]}) for number in range(40)]
    await settle(database, clinic.clinic_id, people)
    day = at(await ask(researcher), "hours_24")
    assert day["total"]["mean"] == 5
    few = {"suppressed": True, "reason": "too_few"}
    assert (day["judged"], day["change"], day["effect"]) == (few, few, few)
    assert {str(one["of_observed"]) for one in day["outcomes"]} == {str(few)}


def figures(value: Any, path: str = "") -> dict[str, Any]:
    """Every number of an answer with its place."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: one for key, sub in inner for name, one in figures(sub, f"{path}/{key}").items()}
    return {path: value}


@pytest.mark.usefixtures("sixty")
async def test_no_count_is_small(researcher: Api) -> None:
    """Neither persons nor numerators nor what a numerator leaves out."""
    found = figures(await ask(researcher))
    counts = {path: value for path, value in found.items() if path.rsplit("/", 1)[1] in {"n", "count", "dosed"}}
    assert len(counts) > 20
    assert min(counts.values()) >= 11
    for path, count in counts.items():
        if path.endswith("/count"):
            assert found[path[:-5] + "n"] - count >= 11, path
    told = ("observed", "missed", "ended", "not_yet_due", "due", "judged", "with_baseline")
    numbers = [value for path, value in found.items() if path.endswith(told) and isinstance(value, int)]
    assert min(numbers) >= 11


@pytest.mark.usefixtures("sixty")
async def test_the_same_question_keeps_its_answer(
    app: FastAPI, database: Database, clinic: Clinic, researcher: Api
) -> None:
    """Also when somebody new has come, also for another researcher: a hundred times asked is once answered."""
    first = (await researcher.http.get(PATH, params=PHQ_9)).content
    await settle(database, clinic.clinic_id, [somebody(number) for number in range(30)])
    another = await client(app, database, clinic, Role.RESEARCHER)
    async with another.http:
        assert (await another.http.get(PATH, params=PHQ_9)).content == first
    again = {(await researcher.http.get(PATH, params=PHQ_9)).content for _ in range(20)}
    assert again == {first}
    assert await trail(database, clinic) == ["cohort.read"] * 22


@pytest.mark.usefixtures("sixty")
async def test_an_old_answer_stays_while_few_have_come(
    database: Database, clinic: Clinic, researcher: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came in between would be told by the difference; when many have come there is a new answer."""
    monkeypatch.setattr(cohorts, "PERIOD", timedelta(0))
    first = await ask(researcher)
    for newcomers, is_new in ((3, False), (30, True)):
        await settle(database, clinic.clinic_id, [somebody(number) for number in range(newcomers)])
        assert (await ask(researcher) != first) is is_new


@pytest.mark.usefixtures("sixty")
async def test_neighbours_are_not_both_answered(database: Database, clinic: Clinic, researcher: Api) -> None:
    """One person apart: by subtraction the second answer would be that person's."""
    one = somebody(1, route="oral")
    await settle(database, clinic.clinic_id, [one])
    await ask(researcher)
    for query in ({"modality": "ketamine_assisted_psychotherapy"}, {"first_dose_from": "2026-01"}):
        answer = await researcher.http.get(PATH, params=PHQ_9 | query)
        assert_refused(answer, "query", "too_few_people")
    assert (await researcher.http.get(PATH, params=PHQ_9 | {"route": "oral"})).status_code == 422
    by_vein = await ask(researcher, route="intravenous")
    assert by_vein["cohort"]["route"] == "intravenous"


async def test_no_two_answers_lie_a_few_persons_apart(
    database: Database, clinic: Clinic, researcher: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked in whatever order, by every choice there is: subtraction leaves eleven at least.

    Of two answers, and of any sums of all of them: what few people have in common is a sum of what many have.
    """
    monkeypatch.setattr(cohorts, "QUESTIONS", 1_000)
    people = [invented(number) for number in range(90)]
    await settle(database, clinic.clinic_id, people)
    choices = [
        *({"route": route} for route in ("intravenous", "sublingual")),
        *({"dose_band": band} for band in ("under_50_mg", "50_to_149_mg", "150_mg_or_more")),
        *({"first_dose_from": month} for month in ("2026-01", "2026-02", "2026-03")),
        *({"first_dose_to": month} for month in ("2026-02", "2026-04", "2026-05")),
    ]
    pairs = (one | other for one, other in combinations(choices, 2) if not one.keys() & other.keys())
    asked = [{}, *choices, *pairs]
    shuffle = Random(7)  # noqa: S311  # an order, no secret
    shuffle.shuffle(asked)
    told = []
    for query in asked:
        answer = await researcher.http.get(PATH, params=PHQ_9 | query)
        assert answer.status_code in {200, 422}, answer.text
        if answer.status_code == 200:
            told.append({number for number, one in enumerate(people) if is_in(one, answer.json()["cohort"])})
    assert len(told) >= 4
    assert min(len(one ^ other) for one, other in combinations(told, 2)) >= 11
    kinds = Counter(tuple(number in cohort for cohort in told) for number in range(len(people)))
    assert rank([kind for kind, count in kinds.items() if count >= 11]) == rank(list(kinds))


@pytest.mark.parametrize("order", list(permutations([{}, {"route": "intravenous"}, {"route": "sublingual"}])), ids=str)
async def test_a_person_is_not_what_three_answers_leave(
    database: Database, clinic: Clinic, researcher: Api, order: tuple[dict[str, str], ...]
) -> None:
    """All, those by vein, those under the tongue, each far from the others; and one by mouth is left over."""
    people = [somebody(number, route=ROUTES[number % 2]) for number in range(60)]
    await settle(database, clinic.clinic_id, [*people, somebody(1, route="oral")])
    for query in order[:2]:
        await ask(researcher, **query)
    answer = await researcher.http.get(PATH, params=PHQ_9 | order[2])
    assert_refused(answer, "query", "too_few_people")
    await settle(database, clinic.clinic_id, [somebody(number, route="oral") for number in range(10)])
    assert (await researcher.http.get(PATH, params=PHQ_9 | order[2])).status_code == 200


def is_in(one: Invented, chosen: dict[str, Any]) -> bool:
    month = f"{one.first_dose_at:%Y-%m}"
    bands = {"under_50_mg": one.dose_mg < 50, "150_mg_or_more": one.dose_mg >= 150}
    return all(
        (
            chosen["route"] in {None, one.route},
            chosen["dose_band"] is None or bands.get(chosen["dose_band"], 50 <= one.dose_mg < 150),
            (chosen["first_dose_from"] or "") <= month <= (chosen["first_dose_to"] or "9999"),
        )
    )


async def test_twins_get_one_answer(researcher: Api, database: Database, clinic: Clinic) -> None:
    """Asked at the same moment, it is made once."""
    await settle(database, clinic.clinic_id, [somebody(number) for number in range(40)])
    answers = await asyncio.gather(*(researcher.http.get(PATH, params=PHQ_9) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.content for answer in answers}) == 1
    assert await trail(database, clinic) == ["cohort.read"] * 5
    async with database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT decision FROM cohort_question")
    assert sorted(row["decision"] for row in rows) == ["answered", *["repeated"] * 4]


@pytest.mark.usefixtures("sixty")
async def test_a_budget_is_spent_and_says_when_it_is_not(
    researcher: Api, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 with the time to wait; what was answered before still is, and the clinic's own staff has no budget."""
    monkeypatch.setattr(cohorts, "QUESTIONS", 2)
    asked = [await researcher.http.get(PATH, params=PHQ_9) for _ in range(2)]
    first = asked[0].json()
    assert (await researcher.http.get(PATH, params=PHQ_9 | {"route": "oral"})).status_code == 422
    picture = await researcher.http.get(f"{PATH}.svg", params=PHQ_9)
    assert [answer.headers["cohort-questions-left"] for answer in (*asked, picture)] == ["1", "1", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(cohorts, "read_cohort", None)  # nothing is read of anybody
        answer = await researcher.http.get(PATH, params=PHQ_9 | {"route": "intravenous"})
    assert answer.status_code == 429, answer.text
    assert timedelta(days=29) < timedelta(seconds=int(answer.headers["retry-after"])) <= timedelta(days=30)
    assert declared_faults(answer, "get", PATH) == []
    assert await ask(researcher) == first
    assert (await ask(api, route="intravenous"))["cohort"]["route"] == "intravenous"
    assert "cohort-questions-left" not in (await api.http.get(PATH, params=PHQ_9)).headers


async def test_the_budget_is_one_for_all_processes(
    researcher: Api, database: Database, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight questions at once, computed side by side as in eight processes: three are within the budget."""
    monkeypatch.setattr(cohorts, "QUESTIONS", 3)
    monkeypatch.setattr(cohorts, "_ONE_AT_A_TIME", asyncio.Semaphore(8))
    people = [somebody(number, route=ROUTES[number % 4], dose_mg=(35, 60)[number % 2]) for number in range(160)]
    await settle(database, clinic.clinic_id, people)
    asked = [PHQ_9 | {"route": route} | band for route in ROUTES for band in ({}, {"dose_band": "under_50_mg"})]
    answers = await asyncio.gather(*(researcher.http.get(PATH, params=query) for query in asked))
    assert [answer.status_code for answer in answers].count(429) == len(asked) - 3


@pytest.mark.usefixtures("sixty")
async def test_refusals_are_written_down_with_their_reason(database: Database, clinic: Clinic, researcher: Api) -> None:
    """And a question carries no person."""
    await ask(researcher)
    await researcher.http.get(PATH, params=PHQ_9 | {"route": "oral"})
    async with database.connection(clinic.clinic_id) as connection:
        rows = await connection.fetch("SELECT * FROM cohort_question ORDER BY asked_at")
    assert [(row["decision"], row["refusal"], row["persons"]) for row in rows] == [
        ("answered", None, 60),
        ("refused", budget.Refusal.TOO_FEW_PEOPLE, 0),
    ]
    assert rows[1]["question"] == '{"instrument":"phq-9@1","of":"consenting","route":"oral"}'
    assert rows[0]["asked_at"] <= datetime.now(UTC)


# --- Whom it is of ----------------------------------------------------------------------------------------------------


async def test_researchers_are_told_of_those_who_consent(
    database: Database, clinic: Clinic, researcher: Api, api: Api, admin: Api
) -> None:
    """The clinic's own figures are of everybody: who is left out of them could not be found missing."""
    forms = {"severe": [(-2.0, 19.0), (8.0, 8.0)], "mild": [(-2.0, 8.0), (8.0, 4.0)]}
    groups = [("severe", 40, True), ("mild", 40, False)]
    people = [
        Invented(START, forms={"phq-9": [(day, total - number % 3) for day, total in forms[group]]}, consents=consents)
        for group, count, consents in groups
        for number in range(count)
    ]
    await settle(database, clinic.clinic_id, people)
    found = await ask(researcher)
    assert found["cohort"]["of"] == "consenting"
    assert (found["baseline"]["mean"], abs(found["flow"]["dosed"] - 40) <= 15) == (18, True)
    for caller in (api, admin):
        found = await ask(caller)
        assert found["cohort"]["of"] == "in_view"
        assert (found["baseline"]["mean"], abs(found["flow"]["dosed"] - 80) <= 15) == (12.5, True)
    assert_refused(await researcher.http.get(PATH, params=PHQ_9 | {"severity": "mild"}), "query", "too_few_people")
    assert (await ask(api, severity="mild"))["cohort"]["severity"] == "mild"


@pytest.mark.parametrize("way", ["withdrawn", "for another recipient", "restricted"])
async def test_what_a_consent_says_is_kept_to(
    database: Database, clinic: Clinic, researcher: Api, admin: Api, way: str
) -> None:
    """Eleven consent, and one of them withdraws, or had a single recipient in mind, or is hidden and still consents."""
    await settle(database, clinic.clinic_id, [somebody(number) for number in range(10)])
    await settle(database, clinic.clinic_id, [somebody(10, consents=way != "for another recipient")])
    patients = (await admin.http.get("/v1/patients?limit=100")).json()["data"]
    consents = {
        one["id"]: (await admin.http.get(f"/v1/patients/{one['id']}/consents")).json()["data"] for one in patients
    }
    who = next((patient for patient, given in consents.items() if not given), patients[0]["id"])
    path = f"/v1/patients/{who}"
    match way:
        case "withdrawn":
            answer = await admin.http.post(f"{path}/consents/{consents[who][0]['id']}/withdrawal", json={})
        case "restricted":
            body = {"restricted": True, "members": [], "reason": "a colleague"}
            tag = (await admin.http.get(f"{path}/care-team")).headers["etag"]
            answer = await admin.http.put(f"{path}/care-team", json=body, headers={"If-Match": tag})
        case _:
            named = {
                "purpose": "research",
                "how": "signed",
                "given_at": "2026-01-01T00:00:00Z",
                "recipient": "elsewhere",
            }
            answer = await admin.http.put(f"{path}/consents", json=named)
    assert answer.is_success, answer.text
    answer = await researcher.http.get(PATH, params=PHQ_9)
    assert answer.status_code == (200 if way == "restricted" else 422)


# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sixty")
@pytest.mark.parametrize("picture", ["mean", "survival", "attrition"])
async def test_a_picture_shows_the_figures_as_they_were_told(researcher: Api, picture: str) -> None:
    """The same counts as the answer, however often it is drawn; a document that can do nothing."""
    body = await ask(researcher)
    answers = [await researcher.http.get(f"{PATH}.svg", params=PHQ_9 | {"picture": picture}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[0].headers["content-type"].startswith("image/svg+xml")
    assert answers[0].headers["content-security-policy"].startswith("default-src 'none'")
    assert answers[0].headers["cache-control"] == "no-store"
    told = {
        "mean": at(body, "week_1")["total"]["n"],
        "survival": body["durability"]["persons"],
        "attrition": body["flow"]["dosed"],
    }
    assert str(told[picture]) in answers[0].text


async def test_pictures_are_refused_as_figures_are(
    anonymous: httpx2.AsyncClient, service: Api, researcher: Api
) -> None:
    """401, 403, 422."""
    path, query = f"{PATH}.svg", PHQ_9 | {"picture": "mean"}
    assert (await anonymous.get(path, params=query)).status_code == 401
    assert (await service.http.get(path, params=query)).status_code == 403
    assert_refused(await researcher.http.get(path, params=query), "query", "too_few_people")
    wrong = await researcher.http.get(path, params=PHQ_9 | {"picture": "pie"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "query/picture")
