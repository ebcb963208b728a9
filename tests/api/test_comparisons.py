"""A patient among comparable ones over HTTP: anonymous, wrong role, other clinic, invalid, valid."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.api.test_openapi import declared_faults
from tests.api.test_trajectories import FORMS, submit
from tests.api.test_trajectories_of_treatment import give_dose, open_episode, post
from tests.api.treatment import patch
from tests.conftest import Api

pytestmark = pytest.mark.anyio

WEEKS = [1, 2, 3, 4, 5, 6, 7, 8, 13, 26]


async def add_course(api: Api, before: int = 19, week_1: int = 8) -> str:
    """A patient with a baseline, a dose, and a form a week later."""
    patient = await api.add_patient()
    await give_dose(api, await open_episode(api, patient, -7), 0)
    await submit(api, patient, -3, FORMS[before])
    await submit(api, patient, 7, FORMS[week_1])
    return patient


async def comparison(api: Api, patient: str, **query: str) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/patients/{patient}/comparison", params={"instrument": "phq-9"} | query)
    assert answer.status_code == 200, answer.text
    assert declared_faults(answer, "get", "/v1/patients/{patient_id}/comparison") == []
    body: dict[str, Any] = answer.json()
    return body


async def test_anonymous_and_researcher_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 and 403."""
    path = f"/v1/patients/{uuid4()}/comparison?instrument=phq-9"
    assert (await anonymous.get(path)).status_code == 401
    assert (await researcher.http.get(path)).status_code == 403


async def test_other_clinics_patients_and_episodes_are_absent_ones(api: Api, other_api: Api) -> None:
    """Byte for byte."""
    foreign, mine = await other_api.add_patient(), await api.add_patient()
    foreign_episode = await open_episode(other_api, foreign, -7)
    await submit(other_api, foreign, 0, FORMS[19])
    for addresses in (
        [f"/v1/patients/{id_}/comparison?instrument=phq-9" for id_ in (foreign, uuid4())],
        [f"/v1/patients/{mine}/comparison?instrument=phq-9&episode_id={id_}" for id_ in (foreign_episode, uuid4())],
    ):
        answers = [await api.http.get(address) for address in addresses]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content


@pytest.mark.parametrize("query", ["", "instrument=phq-99", "instrument=", "instrument=phq-9&episode_id=1"])
async def test_odd_parameters_are_refused(api: Api, query: str) -> None:
    """422 that names the parameter."""
    patient = await api.add_patient()
    answer = await api.http.get(f"/v1/patients/{patient}/comparison?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("query/")


async def test_without_a_baseline_there_is_a_reason_and_no_week(api: Api) -> None:
    """No dose, or no form before it."""
    patient = await api.add_patient()
    assert (await comparison(api, patient))["no_baseline"] == "no_dose"
    await give_dose(api, await open_episode(api, patient, -7), 0)
    await submit(api, patient, 7, FORMS[8])
    body = await comparison(api, patient)
    assert (body["baseline"], body["no_baseline"]) == (None, "none_before_first_dose")
    assert (body["comparable"], body["weeks"]) == (None, [])


async def test_fewer_than_thirty_give_no_band(api: Api) -> None:
    """But their number, the reason, and the patient's own totals."""
    await add_course(api)
    body = await comparison(api, await add_course(api, week_1=14))
    assert (body["comparable"]["patients"], body["comparable"]["severity"]) == (1, "moderately_severe")
    assert [week["week"] for week in body["weeks"]] == WEEKS
    empty = dict.fromkeys(("p10", "p25", "p50", "p75", "p90"))
    assert body["weeks"][0] == {"week": 1, "n": 1, **empty, "reason": "too_few", "own": 14}
    assert body["weeks"][1] == {"week": 2, "n": 0, **empty, "reason": "too_few", "own": None}
    assert "no norm" in body["note"]


async def test_thirty_one_comparable_patients_give_a_band(api: Api, other_api: Api) -> None:
    """Neither another clinic's patients nor other severities are among them."""
    mine = await add_course(api, week_1=4)
    for number in range(31):
        await add_course(api, week_1=8 if number < 20 else 14)
    await add_course(api, before=14, week_1=19)
    await add_course(other_api, week_1=19)
    body = await comparison(api, mine)
    assert (body["baseline"]["total"], body["comparable"]["patients"]) == (19, 31)
    assert body["comparable"]["modality"] == "ketamine_assisted_psychotherapy"
    week = {"week": 1, "n": 31, "p10": 8, "p25": 8, "p50": 8, "p75": 14, "p90": 14, "reason": None, "own": 4}
    assert body["weeks"][0] == week
    assert {week["reason"] for week in body["weeks"][1:]} == {"too_few"}
    assert (await comparison(other_api, await add_course(other_api)))["comparable"]["patients"] == 1


async def test_only_what_stands_now_counts(api: Api) -> None:
    """Not an episode entered in error, not a dose of one, not another modality, not one without a baseline."""
    mine = await add_course(api)
    await add_course(api)
    voided = await api.add_patient()
    episode = await open_episode(api, voided, -7)
    dose = await give_dose(api, episode, 0)
    await submit(api, voided, -3, FORMS[19])
    assert (await comparison(api, mine))["comparable"]["patients"] == 2
    error = {"entered_in_error": True, "reason": "another patient's"}
    assert (await patch(api, f"/v1/treatment-sessions/{dose}", error)).status_code == 200
    assert (await comparison(api, mine))["comparable"]["patients"] == 1
    other = await api.add_patient()
    body = {"modality": "emdr", "opened_at": "2026-02-23T09:00:00Z"}
    await give_dose(api, str((await post(api, f"/v1/patients/{other}/episodes", **body))["id"]), 0)
    await submit(api, other, -3, FORMS[19])
    late = await api.add_patient()
    await give_dose(api, await open_episode(api, late, -7), 0)
    await submit(api, late, 7, FORMS[8])
    assert (await comparison(api, mine))["comparable"]["patients"] == 1


async def test_forms_of_the_next_course_do_not_count(api: Api) -> None:
    """Once a closed episode is followed by another, its weeks are over: the n is that of the core's own stretch."""
    mine, other = await add_course(api), await api.add_patient()
    await give_dose(api, await open_episode(api, other, -7, closed_at="2026-03-12T09:00:00Z"), 0)
    for day in (-3, 7, 21):
        await submit(api, other, day, FORMS[19])
    assert [week["n"] for week in (await comparison(api, mine))["weeks"][:3]] == [1, 0, 1]
    await open_episode(api, other, 15)
    assert [week["n"] for week in (await comparison(api, mine))["weeks"][:3]] == [1, 0, 0]
