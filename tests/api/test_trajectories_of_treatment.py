"""Trajectories around doses: context, baseline, effects, durability, corrections, and what was known when."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.api.test_trajectories import FORMS, START, submit, trajectory
from tests.conftest import Api

pytestmark = pytest.mark.anyio


def at(day: float) -> str:
    return (START + timedelta(days=day)).isoformat()


async def post(api: Api, path: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def open_episode(api: Api, patient: str, day: float, **more: Any) -> str:
    path = f"/v1/patients/{patient}/episodes"
    created = await post(api, path, modality="ketamine_assisted_psychotherapy", opened_at=at(day), **more)
    return str(created["id"])


async def give_dose(api: Api, episode: str, day: float) -> str:
    created = await post(
        api,
        f"/v1/episodes/{episode}/treatment-sessions",
        kind="dosing",
        started_at=at(day),
        ended_at=at(day + 1 / 24),
        medicine="ketamine_racemic",
        route="intramuscular",
        dose_mg=70.0,
        weight_kg=70.0,
    )
    return str(created["id"])


async def test_a_form_says_where_it_stands_among_the_doses(api: Api) -> None:
    """In the answer to its submission, when it is read, in lists and in the trajectory alike."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    await give_dose(api, episode, 0)
    await give_dose(api, episode, 7)
    body = {"patient_id": patient, "instrument": "phq-9", "responses": FORMS[8], "taken_at": at(7 + 25.5 / 24)}
    sent = await api.http.post("/v1/assessments", json=body)
    context = sent.json()["context"]
    assert (context["episode_id"], context["dose_number"]) == (episode, 2)
    assert context["hours_since_dose"] == pytest.approx(25.5)
    assert context["recall_after_dose"] == pytest.approx(25.5 / 24 / 14)
    assert (await api.http.get(sent.headers["location"])).json() == sent.json()
    assert (await api.http.get("/v1/assessments")).json()["data"] == [sent.json()]
    (point,) = (await trajectory(api, patient))["points"]
    assert {key: point[key] for key in ("dose_number", "hours_since_dose", "recall_after_dose")} == {
        key: context[key] for key in ("dose_number", "hours_since_dose", "recall_after_dose")
    }


async def test_a_form_before_any_dose_has_no_place_among_them(api: Api) -> None:
    """Nulls, not zeros."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    await give_dose(api, episode, 7)
    body = {"patient_id": patient, "instrument": "phq-9", "responses": FORMS[8], "taken_at": at(0)}
    context = (await api.http.post("/v1/assessments", json=body)).json()["context"]
    assert context == {
        "episode_id": episode,
        "dose_number": None,
        "hours_since_dose": None,
        "recall_after_dose": None,
    }


async def test_late_and_corrected_sessions_re_date_the_forms(api: Api) -> None:
    """A dose recorded later, then corrected, then found to be an error, each moves the forms; the past stays told."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    await submit(api, patient, 2, FORMS[8])

    async def hours(**query: str) -> float | None:
        (point,) = (await trajectory(api, patient, **query))["points"]
        value: float | None = point["hours_since_dose"]
        return value

    assert await hours() is None
    before = datetime.now(UTC).isoformat()
    dose = await give_dose(api, episode, 0)
    assert await hours() == pytest.approx(48)
    assert await hours(known_at=before) is None
    moved = await api.http.patch(
        f"/v1/treatment-sessions/{dose}",
        json={"started_at": at(1), "ended_at": at(1.1), "reason": "wrong day"},
        headers={"If-Match": '"1"'},
    )
    assert moved.status_code == 200, moved.text
    assert await hours() == pytest.approx(24)
    await api.http.patch(
        f"/v1/treatment-sessions/{dose}",
        json={"entered_in_error": True, "reason": "another patient's"},
        headers={"If-Match": '"2"'},
    )
    assert await hours() is None


async def test_the_course_of_a_fast_responder_who_relapses(api: Api) -> None:
    """Baseline before the first dose, response, its loss, the effect of the dose, and how it is known."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    dose = await give_dose(api, episode, 0)
    for day, total in ((-3, 19), (1, 14), (7, 8), (14, 8), (21, 8), (28, 8), (35, 14), (42, 19)):
        await submit(api, patient, day, FORMS[total])
    body = await trajectory(api, patient)
    assert (body["episode_id"], body["baseline"]["rule"], body["baseline"]["total"]) == (episode, "pre_treatment", 19)
    durability = body["durability"]
    assert durability["first_response_at"].startswith("2026-03-09")
    assert durability["lost_at"].startswith("2026-04-06")
    assert (durability["days_sustained"], durability["censored"], durability["doses_to_response"]) == (28, False, 1)
    assert durability["hours_to_response"] == 168
    assert durability["kept_out_by_recall"] == 1
    (session,) = body["sessions"]
    assert (session["treatment_session_id"], session["effect"], session["effect_window"]) == (dose, -11, "28d")
    assert session["standard_error"] == pytest.approx(3.45, abs=0.01)
    assert session["after"]["24h"]["not_estimable"] == "recall_straddles_dose"
    completeness = body["completeness"]
    assert {stage["code"]: (stage["expected"], stage["received"]) for stage in completeness["stages"]} == {
        "baseline": (1, 1),
        "24h": (1, 1),
        "weekly": (8, 6),
        "months": (2, 0),
    }
    assert (completeness["expected"], completeness["missing"]) == (12, 4)
    assert body["latest"]["category"] == "unchanged"
    assert body["trend"]["n"] == 8
    assert body["on_track"]["statement"]


async def test_worse_after_a_dose_is_named(api: Api) -> None:
    """A reliable worsening and a new answer to item 9 within days of the second dose."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    await give_dose(api, episode, 0)
    second = await give_dose(api, episode, 7)
    await submit(api, patient, -1, FORMS[8])
    await submit(api, patient, 9, FORMS[14])
    (worse,) = (await trajectory(api, patient))["worse_after_dose"]
    assert (worse["treatment_session_id"], worse["dose_number"], worse["change"]) == (second, 2, 6)
    assert set(worse["reasons"]) == {"reliable_worsening", "critical_item_new"}
    assert worse["items"] == [{"item": 9, "before": 0, "after": 1, "reason": "critical_item_new"}]


async def test_to_looks_as_if_at_that_time(api: Api) -> None:
    """Doses and forms from then on have not happened."""
    patient = await api.add_patient()
    episode = await open_episode(api, patient, -7)
    await give_dose(api, episode, 0)
    await give_dose(api, episode, 7)
    for day, total in ((-1, 19), (5, 14), (10, 8)):
        await submit(api, patient, day, FORMS[total])
    body = await trajectory(api, patient, to=at(6))
    assert [session["dose_number"] for session in body["sessions"]] == [1]
    assert [point["total"] for point in body["points"]] == [19, 14]


async def test_each_episode_has_a_course_of_its_own(api: Api) -> None:
    """Doses of another episode neither number nor judge; an unknown episode is absent."""
    patient, stranger = await api.add_patient(), await api.add_patient()
    first = await open_episode(api, patient, -100, closed_at=at(-50))
    second = await open_episode(api, patient, -7)
    await give_dose(api, first, -90)
    await give_dose(api, second, 0)
    for day, total in ((-95, 14), (-80, 8), (-3, 19), (20, 4)):
        await submit(api, patient, day, FORMS[total])
    now, before = await trajectory(api, patient), await trajectory(api, patient, episode_id=first)
    assert (now["episode_id"], now["baseline"]["total"], [p["total"] for p in now["points"]]) == (second, 19, [19, 4])
    assert (before["baseline"]["total"], [p["total"] for p in before["points"]]) == (14, [14, 8])
    for person, episode in ((patient, str(uuid4())), (stranger, first)):
        path = f"/v1/patients/{person}/trajectory?instrument=phq-9&episode_id={episode}"
        assert (await api.http.get(path)).status_code == 404


async def test_other_clinics_doses_are_nobodys_business(api: Api, other_api: Api) -> None:
    """An episode of another clinic cannot be asked for."""
    foreign_patient = await other_api.add_patient()
    foreign = await open_episode(other_api, foreign_patient, -7)
    patient = await api.add_patient()
    answers = [
        await api.http.get(f"/v1/patients/{patient}/trajectory?instrument=phq-9&episode_id={episode}")
        for episode in (foreign, uuid4())
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


async def test_month_and_week_forms_are_two_courses(api: Api) -> None:
    """A change is never counted across the two PCL-5."""
    patient = await api.add_patient()
    await submit(api, patient, 0, [3] * 20, "pcl-5-month")
    await submit(api, patient, 14, [1] * 20, "pcl-5-week")
    for instrument, total in (("pcl-5-month", 60), ("pcl-5-week", 20)):
        body = await trajectory(api, patient, instrument=instrument)
        assert ([point["total"] for point in body["points"]], body["latest"]) == ([total], None)


async def test_a_clinics_own_rule_stands_beside_the_published_ones(api: Api, admin: Api) -> None:
    """Named by its code, with the source the clinic gave."""
    await post(
        admin,
        "/v1/thresholds",
        instrument="phq-9",
        rule="reliable_change",
        code="house_rule_12",
        kind="change_points",
        inequality=">=",
        value=12,
        population="our patients",
        source="clinic meeting of May 2026",
    )
    patient = await api.add_patient()
    await submit(api, patient, 0, FORMS[19])
    await submit(api, patient, 7, FORMS[8])
    verdicts = {verdict["code"]: verdict for verdict in (await trajectory(api, patient))["latest"]["verdicts"]}
    assert (verdicts["house_rule_12"]["met"], verdicts["house_rule_12"]["threshold"]) == (False, 12)
    assert verdicts["reliable_change_6"]["met"] is True
