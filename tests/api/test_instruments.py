"""Instruments over HTTP."""

import httpx2
import pytest

from app.db import Database
from app.scoring import all_instruments
from tests.conftest import Api

pytestmark = pytest.mark.anyio


async def test_anonymous_is_asked_who_it_is(anonymous: httpx2.AsyncClient) -> None:
    """Even for what is public knowledge: a token is for whom we serve."""
    assert (await anonymous.get("/v1/instruments")).status_code == 401
    assert (await anonymous.post("/v1/instruments/phq-9/score", json={"responses": [0] * 9})).status_code == 401


async def test_every_instrument_is_listed_and_shown_whole(api: Api, researcher: Api) -> None:
    """Every declaration arrives as it stands in the core."""
    listed = (await researcher.http.get("/v1/instruments")).json()
    assert [entry["id"] for entry in listed] == [one.id for one in all_instruments()]
    for one in all_instruments():
        shown = (await api.http.get(f"/v1/instruments/{one.id}")).json()
        assert [item["text"] for item in shown["items"]] == [item.text for item in one.items]
        assert [threshold["source"] for threshold in shown["thresholds"]] == [each.source for each in one.thresholds]
        assert (shown["recall_days"], shown["licence"], shown["missing"]["at_most"]) == (
            one.recall_days,
            one.licence,
            one.missing.at_most,
        )
        assert (await api.http.get(f"/v1/instruments/{one.key}")).json() == shown


@pytest.mark.parametrize("reference", ["phq-99", "phq-9@2", "phq-9@", "@1", "%20", "x" * 51])
async def test_unknown_instrument_is_refused(api: Api, reference: str) -> None:
    """404 for what is not there; 422 for what cannot be a name."""
    assert (await api.http.get(f"/v1/instruments/{reference}")).status_code in {404, 422}
    answer = await api.http.post(f"/v1/instruments/{reference}/score", json={"responses": [0] * 9})
    assert answer.status_code in {404, 422}


async def test_scoring_stores_nothing(api: Api, database: Database) -> None:
    """Each declared example scores over HTTP as declared, and leaves no trace."""
    for one in all_instruments():
        for example in one.examples:
            answer = await api.http.post(f"/v1/instruments/{one.id}/score", json={"responses": example.responses})
            score = answer.json()["score"]
            assert (score["total"], score["validity"]) == (pytest.approx(example.total), example.validity)
            severity = score["severity"]
            assert (severity and severity["code"]) == example.severity
    async with database.connection(api.clinic_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM assessment") == 0


async def test_wrong_answers_are_named_by_place(api: Api) -> None:
    """All of them at once."""
    answer = await api.http.post("/v1/instruments/phq-9/score", json={"responses": [4, 0, 0, -1, 0, 0, 0, 0, 0]})
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/responses/0", "/responses/3"]
