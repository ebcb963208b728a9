"""Trajectories over HTTP: anonymous, wrong role, other clinic, invalid, valid."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx2
import pytest

from tests.conftest import Api

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
FORMS = {  # total -> a PHQ-9 with it
    19: [3, 3, 2, 2, 2, 2, 2, 2, 1],
    14: [2, 2, 2, 2, 2, 1, 1, 1, 1],
    8: [1, 1, 1, 1, 1, 1, 1, 1, 0],
    4: [1, 1, 1, 1, 0, 0, 0, 0, 0],
}


async def submit(api: Api, patient: str, day: float, responses: list[Any], instrument: str = "phq-9") -> str:
    body = {
        "patient_id": patient,
        "instrument": instrument,
        "responses": responses,
        "taken_at": (START + timedelta(days=day)).isoformat(),
    }
    answer = await api.http.post("/v1/assessments", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def trajectory(api: Api, patient: str, **query: str) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/patients/{patient}/trajectory", params={"instrument": "phq-9"} | query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_anonymous_and_researcher_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 and 403."""
    path = f"/v1/patients/{uuid4()}/trajectory?instrument=phq-9"
    assert (await anonymous.get(path)).status_code == 401
    assert (await researcher.http.get(path)).status_code == 403


async def test_other_clinics_patient_is_an_absent_one(api: Api, other_api: Api) -> None:
    """Byte for byte."""
    foreign = await other_api.add_patient()
    await submit(other_api, foreign, 0, FORMS[19])
    answers = [await api.http.get(f"/v1/patients/{id_}/trajectory?instrument=phq-9") for id_ in (foreign, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    "query",
    ["", "instrument=phq-99", "instrument=", "instrument=phq-9&baseline=last", "instrument=phq-9&known_at=yesterday",
     "instrument=phq-9&from=2026-01-01T00:00:00", "instrument=phq-9&to=x"],
)  # fmt: skip
async def test_odd_parameters_are_refused(api: Api, query: str) -> None:
    """422 that names the parameter."""
    patient = await api.add_patient()
    answer = await api.http.get(f"/v1/patients/{patient}/trajectory?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("query/")


async def test_a_course_is_told_in_order_with_change_and_verdicts(api: Api) -> None:
    """Sent in any order; every rule stands beside its threshold and source."""
    patient = await api.add_patient()
    for day, total in ((28, 4), (0, 19), (14, 8), (7, 14)):
        await submit(api, patient, day, FORMS[total])
    await submit(api, patient, 21, [None] * 9)
    await submit(api, patient, 3, [1] * 7, "gad-7")
    body = await trajectory(api, patient)
    assert [point["total"] for point in body["points"]] == [19, 14, 8, None, 4]
    assert [point["change"] for point in body["points"]] == [0, -5, -11, None, -15]
    assert body["points"][1]["percent_change"] == pytest.approx(-500 / 19)
    assert body["points"][3]["validity"] == "incomplete"
    assert body["baseline"]["rule"] == "first"
    assert body["baseline"]["total"] == 19
    latest = body["latest"]
    assert (latest["total"], latest["change"], latest["category"]) == (4, -15, "recovered")
    met = {verdict["code"]: verdict["met"] for verdict in latest["verdicts"]}
    assert met["reliable_change_6"]
    assert met["response_50_percent"]
    assert met["remission_5"]
    assert all(verdict["source"] and verdict["population"] for verdict in latest["verdicts"])


async def test_named_baseline_and_window(api: Api) -> None:
    """A named form is the baseline; from and to narrow what is shown and judged, never the baseline."""
    patient = await api.add_patient()
    ids = [await submit(api, patient, day, FORMS[total]) for day, total in ((0, 19), (7, 14), (14, 8), (28, 4))]
    named = await trajectory(api, patient, baseline=ids[1])
    assert (named["baseline"]["rule"], named["baseline"]["total"], named["latest"]["change"]) == ("named", 14, -10)
    assert named["points"][0]["change"] is None
    upto = (START + timedelta(days=20)).isoformat()
    since = (START + timedelta(days=5)).isoformat()
    window = await trajectory(api, patient, **{"from": since, "to": upto})
    assert [point["total"] for point in window["points"]] == [14, 8]
    assert (window["baseline"]["total"], window["latest"]["total"]) == (19, 8)
    absent = await trajectory(api, patient, baseline=str(uuid4()))
    assert (absent["baseline"], absent["no_baseline"], absent["latest"]) == (None, "not_found", None)


async def test_a_window_begins_with_a_form_and_ends_before_one(api: Api) -> None:
    """`from` is in it, `to` is not, to the microsecond."""
    patient = await api.add_patient()
    for day, total in ((0, 19), (7, 14), (14, 8)):
        await submit(api, patient, day, FORMS[total])
    begin, end = START + timedelta(days=7), START + timedelta(days=14)
    moment = timedelta(microseconds=1)
    for since, upto, shown in ((begin, end, [14]), (begin + moment, end + moment, [8])):
        window = await trajectory(api, patient, **{"from": since.isoformat(), "to": upto.isoformat()})
        assert [point["total"] for point in window["points"]] == shown


async def test_nothing_is_made_up_for_few_forms(api: Api) -> None:
    """No form: no baseline. One form: a baseline and no judgement."""
    patient = await api.add_patient()
    empty = await trajectory(api, patient)
    assert (empty["points"], empty["baseline"], empty["latest"]) == ([], None, None)
    assert empty["no_baseline"] is not None
    await submit(api, patient, 0, FORMS[19])
    one = await trajectory(api, patient)
    assert one["baseline"]["total"] == 19
    assert one["latest"] is None


async def test_it_is_told_as_it_was_known(api: Api) -> None:
    """A form that arrived later is not in the story of before."""
    patient = await api.add_patient()
    await submit(api, patient, 0, FORMS[19])
    before = datetime.now(UTC).isoformat()
    await submit(api, patient, -7, FORMS[14])
    assert [point["total"] for point in (await trajectory(api, patient))["points"]] == [14, 19]
    assert [point["total"] for point in (await trajectory(api, patient, known_at=before))["points"]] == [19]


async def test_an_unchanged_course_is_not_sent_again(api: Api) -> None:
    """304 for the ETag one has; a new form makes a new one."""
    patient = await api.add_patient()
    await submit(api, patient, 0, FORMS[19])
    path = f"/v1/patients/{patient}/trajectory?instrument=phq-9"
    first = await api.http.get(path)
    same = await api.http.get(path, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (same.status_code, same.content) == (304, b"")
    await submit(api, patient, 7, FORMS[14])
    changed = await api.http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_forms_of_one_moment_stand_in_the_order_of_their_ids(api: Api) -> None:
    """Whichever came first: else a phone that sends its forms in another order would tell another course."""
    ids = sorted(str(uuid4()) for _ in range(4))
    for order in (ids, ids[::-1]):
        patient = await api.add_patient()
        mine = {id_: str(uuid5(UUID(patient), id_)) for id_ in order}
        for id_ in sorted(order, key=mine.__getitem__, reverse=order is ids):
            body = {"id": mine[id_], "patient_id": patient, "instrument": "phq-9", "responses": FORMS[19]}
            sent = await api.http.post("/v1/assessments", json=body | {"taken_at": START.isoformat()})
            assert sent.status_code == 201, sent.text
        points = (await trajectory(api, patient))["points"]
        assert [point["assessment_id"] for point in points] == sorted(mine.values())
