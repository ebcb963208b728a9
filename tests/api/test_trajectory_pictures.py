"""A course as a picture over HTTP: anonymous, wrong role, other clinic, invalid, valid, not modified."""

from datetime import UTC, datetime
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx2
import pytest

from tests.api.test_trajectories import FORMS, submit
from tests.api.test_trajectories_of_treatment import at, give_dose, open_episode
from tests.conftest import Api

pytestmark = pytest.mark.anyio


def path(patient: object, **query: str) -> str:
    return str(httpx2.URL(f"/v1/patients/{patient}/trajectory.svg", params={"instrument": "phq-9"} | query))


def said(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    picture = ET.fromstring(answer.text)  # noqa: S314  # our own picture
    return str(picture.findtext("{http://www.w3.org/2000/svg}desc"))


async def test_anonymous_and_researcher_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 and 403."""
    assert (await anonymous.get(path(uuid4()))).status_code == 401
    assert (await researcher.http.get(path(uuid4()))).status_code == 403


async def test_other_clinics_patient_is_an_absent_one(api: Api, other_api: Api) -> None:
    """Byte for byte."""
    foreign = await other_api.add_patient()
    await submit(other_api, foreign, 0, FORMS[19])
    answers = [await api.http.get(path(id_)) for id_ in (foreign, uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("query", [{"instrument": "phq-99"}, {"baseline": "last"}, {"to": "x"}])
async def test_odd_parameters_are_refused(api: Api, query: dict[str, str]) -> None:
    """422, as for the numbers."""
    answer = await api.http.get(path(await api.add_patient(), **query))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("query/")


async def test_the_picture_shows_forms_and_doses_with_their_amounts(api: Api) -> None:
    """An SVG that can load nothing, do nothing and tell nobody who it is about."""
    patient = await api.add_patient("our-reference-7")
    episode = await open_episode(api, patient, -7)
    dose = await give_dose(api, episode, 0)
    await submit(api, patient, -3, FORMS[19])
    await submit(api, patient, 7, FORMS[8])
    answer = await api.http.get(path(patient))
    words = said(answer)
    assert "Baseline 19 (27 Feb 2026, last before the first dose). Latest total 8, mild, on 9 Mar 2026." in words
    assert "1 dosing session: 1 on 2 Mar 2026, 70 mg." in words
    assert answer.headers["content-type"].partition(";")[0] == "image/svg+xml"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert not [name for name in (patient, episode, dose, "our-reference-7") if name in answer.text]


async def test_the_amount_is_that_of_the_version_known_then(api: Api) -> None:
    """A corrected amount is drawn from its correction on."""
    patient = await api.add_patient()
    dose = await give_dose(api, await open_episode(api, patient, -7), 0)
    before = datetime.now(UTC).isoformat()
    corrected = await api.http.patch(
        f"/v1/treatment-sessions/{dose}", json={"dose_mg": 52.5, "reason": "misread"}, headers={"If-Match": '"1"'}
    )
    assert corrected.status_code == 200, corrected.text
    assert "52.5 mg" in said(await api.http.get(path(patient)))
    assert "70 mg" in said(await api.http.get(path(patient, known_at=before)))


async def test_nobody_without_forms_is_without_a_picture(api: Api) -> None:
    """It says that there are none."""
    assert "No forms yet." in said(await api.http.get(path(await api.add_patient())))


async def test_period_and_time_of_looking(api: Api) -> None:
    """`from` hides what was before; `to` looks as if nothing later had happened."""
    patient = await api.add_patient()
    for day, total in ((0, 19), (7, 14), (14, 8)):
        await submit(api, patient, day, FORMS[total])
    words = said(await api.http.get(path(patient, **{"from": at(3), "to": at(10)})))
    assert "1 form of 9 Mar 2026" in words
    assert "Baseline 19" in words


async def test_not_modified_until_something_changes(api: Api) -> None:
    """304 without a body; a new form is a new picture."""
    patient = await api.add_patient()
    await submit(api, patient, 0, FORMS[19])
    first = await api.http.get(path(patient))
    known = {"If-None-Match": first.headers["etag"]}
    again = await api.http.get(path(patient), headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await submit(api, patient, 7, FORMS[14])
    assert (await api.http.get(path(patient), headers=known)).status_code == 200
