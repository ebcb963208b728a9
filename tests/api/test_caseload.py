"""The caseload over HTTP: anonymous, wrong role, other clinic, invalid, valid, order, filters, paging."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.paging import encode_keys
from app.schemas.caseload import Category
from app.scoring.change import ChangeCategory
from app.scoring.on_track import FOURTH_CHECK_IN
from app.scoring.registry import get_instrument
from app.services import clinics
from app.services.caseload_query import CaseloadFilter, CaseloadQuery, CaseloadRequest, OnTrackAnswer, Sort
from app.tables import Clinic
from tests.api import caseload_oracle as oracle
from tests.api.caseload_oracle import AS_OF, DAY, Person
from tests.api.treatment import add_episode, assert_closed_to, assert_refused
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/caseload"
HERE: list[tuple[str, str, Any]] = [("GET", PATH, None)]
BETTER = {"phq-9": -1, "who-5": 1}
# Before everybody, so that a walk can be made to look from any moment.
BEFORE_ALL: dict[Sort, tuple[Any, ...]] = {
    Sort.WORST: (-1000, 0, 0, datetime(1990, 1, 1, tzinfo=UTC)),
    Sort.LAST_FORM: (-1, AS_OF),
    Sort.NEXT_SESSION: (-1, AS_OF),
    Sort.CHANGE: (-1, 0.0),
}
FILTERS: list[dict[str, Any]] = [
    {},
    {"category": ["harmed"]},
    {"category": ["unknown", "recovered", "recovered"]},
    {"on_track": "true"},
    {"on_track": "false"},
    {"on_track": "unknown"},
    {"has_open_alerts": "true"},
    {"has_open_alerts": "false"},
    {"overdue": "true"},
    {"overdue": "false"},
    {"silent_for_days": 7},
    {"silent_for_days": 31},
    {"category": ["unchanged", "deteriorated"], "on_track": "unknown", "overdue": "true", "silent_for_days": 1},
]


def asked(sort: Sort, instrument: str, filters: dict[str, Any]) -> CaseloadRequest:
    track = filters.get("on_track")
    alerts, overdue = (filters[name] == "true" if name in filters else None for name in ("has_open_alerts", "overdue"))
    only = CaseloadFilter(
        tuple(filters.get("category", ())),
        None if track is None else OnTrackAnswer(track),
        alerts,
        overdue,
        filters.get("silent_for_days"),
        UUID(filters["patient_id"]) if "patient_id" in filters else None,
    )
    return CaseloadRequest(instrument, only, sort)


def beginning(api: Api, request: CaseloadRequest) -> str | None:
    """A cursor before everybody that looks from the oracle's moment; the list by name needs none."""
    if request.sort is Sort.NAME:
        return None
    return encode_keys(request.question(api.clinic_id), (AS_OF, *BEFORE_ALL[request.sort], UUID(int=0)))


async def get(api: Api, **query: Any) -> dict[str, Any]:
    answer = await api.http.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    link = '; rel="next"' if page["next_cursor"] else None
    assert (answer.headers.get("link") or "")[-len(link or "") :] == (link or "")
    return page


async def walk(api: Api, cursor: str | None = None, **query: Any) -> list[dict[str, Any]]:
    """Every page, one after the other."""
    pages = []
    while True:
        pages.append(await get(api, **query, **({} if cursor is None else {"cursor": cursor})))
        cursor = pages[-1]["next_cursor"]
        if cursor is None:
            return pages


async def settle(database: Database, api: Api, people: Sequence[Person], instrument: str = "phq-9") -> None:
    async with database.connection(api.clinic_id) as connection:
        await oracle.store(connection, database.keys, api.clinic_id, people, instrument)


# --- Who may look -----------------------------------------------------------------------------------------------------


async def test_strangers_researchers_and_patients_are_refused(
    app: FastAPI, database: Database, api: Api, anonymous: httpx2.AsyncClient, researcher: Api
) -> None:
    """401 without a token; 403 for a researcher, who sees no single row, and for a patient, who sees no other."""
    await assert_closed_to(anonymous, 401, HERE)
    await assert_closed_to(researcher, 403, HERE)
    patient_id = UUID(await api.add_patient())
    _, token = await clinics.record_token(database, api.clinic_id, Role.PATIENT, patient_id=patient_id)
    transport, headers = httpx2.ASGITransport(app), {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as patient:
        await assert_closed_to(patient, 403, HERE)


async def test_all_of_care_may_look(api: Api, admin: Api, service: Api) -> None:
    """Clinicians, administrators, and programs that work for them."""
    await api.add_patient("one")
    pages = [await get(caller) for caller in (api, admin, service)]
    assert [len(page["data"]) for page in pages] == [1, 1, 1]


async def test_other_clinics_patients_are_never_shown(database: Database, api: Api, other_api: Api) -> None:
    """Nor counted, nor found by id: a foreign id answers as one that never was."""
    await settle(database, api, oracle.made_up(1, 3))
    strangers = oracle.made_up(2, 40)
    await settle(database, other_api, strangers)
    for sort in Sort:
        page = await get(api, sort=sort.value)
        assert page["n"]["patients"] == page["n"]["matching"] == len(page["data"]) == 3
        assert not {row["patient_id"] for row in page["data"]} & set(oracle.ids(strangers))
    foreign, absent = [await get(api, patient_id=id_) for id_ in (str(strangers[0].id), str(uuid4()))]
    assert foreign["data"] == []
    assert {**foreign, "as_of": None} == {**absent, "as_of": None}


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ({"sort": "id; DROP TABLE patient"}, "query/sort", "enum"),
        ({"category": "worse"}, "query/category/0", "enum"),
        ({"category": ["harmed"] * 7}, "query/category", "too_long"),
        ({"on_track": "maybe"}, "query/on_track", "enum"),
        ({"has_open_alerts": "perhaps"}, "query/has_open_alerts", "bool_parsing"),
        ({"overdue": ""}, "query/overdue", "bool_parsing"),
        ({"silent_for_days": 0}, "query/silent_for_days", "greater_than_equal"),
        ({"silent_for_days": 36_501}, "query/silent_for_days", "less_than_equal"),
        ({"patient_id": "me"}, "query/patient_id", "not_a_uuid"),
        ({"instrument": "phq-9@1"}, "query/instrument", "string_pattern_mismatch"),
        ({"instrument": "phq-99"}, "query/instrument", "unknown_instrument"),
        ({"limit": 201}, "query/limit", "less_than_equal"),
        ({"cursor": "x"}, "query/cursor", "not_a_cursor"),
    ],
)
async def test_what_nobody_can_ask_is_refused(api: Api, query: dict[str, Any], pointer: str, code: str) -> None:
    """422 that names the parameter and never repeats its value."""
    answer = await api.http.get(PATH, params=query)
    assert_refused(answer, pointer, code)
    assert "DROP" not in answer.text


async def test_a_cursor_is_good_for_its_own_list_alone(database: Database, api: Api, other_api: Api) -> None:
    """Another order, filter, instrument or clinic is another list; another length of page is not."""
    for each, seed in ((api, 3), (other_api, 4)):
        await settle(database, each, oracle.made_up(seed, 6))
    cursor = (await get(api, limit=2))["next_cursor"]
    assert len((await get(api, limit=3, cursor=cursor))["data"]) == 3
    others: list[dict[str, Any]] = [
        *({"sort": sort.value} for sort in Sort if sort is not Sort.WORST),
        {"category": "harmed"},
        {"on_track": "unknown"},
        {"has_open_alerts": "false"},
        {"overdue": "false"},
        {"silent_for_days": 1},
        {"patient_id": str(UUID(int=1))},
        {"instrument": "gad-7"},
    ]
    for query in others:
        answer = await api.http.get(PATH, params={**query, "cursor": cursor})
        assert answer.status_code == 422, query
        assert answer.json()["errors"][0]["code"] in {"cursor_of_another_list", "not_a_cursor"}, query
    assert_refused(await other_api.http.get(PATH, params={"cursor": cursor}), "query/cursor", "cursor_of_another_list")
    for _ in range(2):
        await api.add_patient()
    patients = (await api.http.get("/v1/patients", params={"limit": 1})).json()["next_cursor"]
    assert_refused(await api.http.get(PATH, params={"cursor": patients}), "query/cursor", "not_a_cursor")
    assert_refused(await api.http.get("/v1/patients", params={"cursor": cursor}), "query/cursor", "not_a_cursor")


async def test_a_list_by_name_is_begun_again_when_its_place_is_lost(api: Api) -> None:
    """Its cursor carries no name, so a patient erased meanwhile cannot be gone on from; nobody is skipped silently."""
    await api.add_patient("one")
    question = CaseloadRequest(sort=Sort.NAME).question(api.clinic_id)
    answer = await api.http.get(PATH, params={"sort": "name", "cursor": encode_keys(question, (AS_OF, uuid4()))})
    assert_refused(answer, "query/cursor", "place_lost")


# --- What is told -----------------------------------------------------------------------------------------------------


async def test_patients_without_forms_are_unknown_and_counted(database: Database, api: Api) -> None:
    """Nulls for what nobody knows, a place in the list, and their number beside it."""
    people = oracle.made_up(5, 30)
    await settle(database, api, people)
    with_form = sum(person.standing is not None for person in people)
    page = await get(api, category="unknown", silent_for_days=40)
    expected = [p for p in people if p.category is None and datetime.now(UTC) - p.silent_since >= 40 * DAY]
    assert page["n"] == {
        "patients": 30,
        "with_form": with_form,
        "without_form": 30 - with_form,
        "matching": len(expected),
    }
    assert {row["patient_id"] for row in page["data"]} == set(oracle.ids(expected))
    bare = [row for row in page["data"] if row["last_form"] is None]
    assert bare
    for row in bare:
        known = {"patient_id", "external_ref", "alerts", "check_ins", "next_session"}
        assert {value for name, value in row.items() if name not in known} == {None}


async def test_an_empty_clinic_has_an_empty_list(api: Api) -> None:
    """With its counts and rules all the same."""
    page = await get(api)
    assert (page["data"], page["next_cursor"]) == ([], None)
    assert page["n"] == {"patients": 0, "with_form": 0, "without_form": 0, "matching": 0}


async def test_every_number_comes_with_its_rule(api: Api) -> None:
    """In words made of the numbers that are judged by."""
    rules = (await get(api, sort="change"))["rules"]
    assert FOURTH_CHECK_IN.statement in rules["on_track"]
    assert "No alert is no all-clear" in rules["alerts"]
    assert "28 days" in rules["baseline"]
    assert "change for the worse" in rules["order"]
    reliable = next(t for t in get_instrument("phq-9").thresholds if t.rule == "reliable_change")
    assert reliable.code in rules["category"]
    assert "cut_point_10" in rules["category"]
    unjudged = await get(api, instrument="pc-ptsd-5")
    assert "All are unknown" in unjudged["rules"]["category"]


@pytest.mark.parametrize("instrument", BETTER)
@pytest.mark.parametrize("sort", Sort)
async def test_order_and_content_are_what_plain_python_says(
    database: Database, api: Api, sort: Sort, instrument: str
) -> None:
    """Whole and page by page, for a clinic made up with many ties and values right at the borders."""
    people = oracle.made_up(len(sort) + len(instrument), 60)
    await settle(database, api, people, instrument)
    expected = oracle.in_order(people, sort.value, BETTER[instrument])
    cursor = beginning(api, asked(sort, instrument, {}))
    (whole,) = await walk(api, cursor, sort=sort.value, instrument=instrument, limit=60)
    assert [row["patient_id"] for row in whole["data"]] == oracle.ids(expected)
    assert whole["n"]["matching"] == 60
    if cursor is not None:
        assert whole["as_of"] == "2026-11-20T12:00:00Z"
        assert whole["data"] == [oracle.entry(person, instrument) for person in expected]
    pages = await walk(api, cursor, sort=sort.value, instrument=instrument, limit=7)
    assert [len(page["data"]) for page in pages] == [7] * 8 + [4]
    assert len({page["as_of"] for page in pages}) == 1, "one walk looks from one moment"
    assert [row["patient_id"] for page in pages for row in page["data"]] == oracle.ids(expected)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_filters_leave_in_what_plain_python_leaves_in(
    database: Database, api: Api, filters: dict[str, Any]
) -> None:
    """In any order of the list, and together with each other."""
    people = oracle.made_up(11, 80)
    await settle(database, api, people)
    for sort in (Sort.WORST, Sort.NEXT_SESSION):
        kept = [person for person in people if oracle.matches(person, filters)]
        cursor = beginning(api, asked(sort, "phq-9", filters))
        pages = await walk(api, cursor, sort=sort.value, limit=9, **filters)
        found = [row["patient_id"] for page in pages for row in page["data"]]
        assert found == oracle.ids(oracle.in_order(kept, sort.value, -1))
        assert {page["n"]["matching"] for page in pages} == {len(kept)}
        assert {page["n"]["patients"] for page in pages} == {80}


async def test_one_patient_can_be_asked_for(database: Database, api: Api) -> None:
    """The same row as in the list of all."""
    people = oracle.made_up(13, 5)
    await settle(database, api, people)
    wanted = people[3]
    filters = {"patient_id": str(wanted.id)}
    page = await get(api, cursor=beginning(api, asked(Sort.WORST, "phq-9", filters)), **filters)
    assert page["data"] == [oracle.entry(wanted, "phq-9")]


def test_every_category_can_be_asked_for() -> None:
    """The filter's words are the core's categories in order of gravity, and one for those without any."""
    words = [category or "unknown" for category in oracle.CATEGORIES]
    assert list(Category) == words
    assert set(Category) == set(ChangeCategory) | {"unknown"}


PHQ_9 = {18: [2] * 9, 16: [2] * 8 + [0], 27: [3] * 9, 8: [1] * 8 + [0]}  # answers by total


async def test_the_list_says_what_the_course_says(api: Api) -> None:
    """From check-ins, an episode and doses to the row, without anybody making it: the same as the trajectory."""
    now = datetime.now(UTC)
    worse, better = [(await add_episode(api, opened_at=_told(now - 60 * DAY)))["patient_id"] for _ in range(2)]
    for patient, totals in ((better, (18, 16, 8)), (worse, (8, 16, 27))):
        for weeks_ago, total in zip((7, 4, 1), totals, strict=True):
            form = {"patient_id": patient, "instrument": "phq-9", "responses": PHQ_9[total], "mode": "self"}
            form |= {"taken_at": _told(now - weeks_ago * 7 * DAY), "language": "en"}
            assert (await api.http.post("/v1/assessments", json=form)).status_code == 201
    page = await get(api)
    assert [row["patient_id"] for row in page["data"]] == [worse, better]
    assert [row["category"] for row in page["data"]] == ["harmed", "recovered"]
    assert page["data"][0]["alerts"]["open"] > 0
    for row in page["data"]:
        path = f"/v1/patients/{row['patient_id']}/trajectory"
        course = (await api.http.get(path, params={"instrument": "phq-9"})).json()
        latest, baseline = course["latest"], course["baseline"]
        for name in ("assessment_id", "taken_at", "total"):
            assert row["last_form"][name] == latest[name]
        assert row["last_form"]["severity"] == course["points"][-1]["severity"]
        assert row["baseline"] == {name: baseline[name] for name in ("assessment_id", "rule", "total")}
        for name in ("change", "percent_change", "category"):
            assert row[name] == latest[name]
        assert (row["on_track"], row["on_track_reason"]) == (course["on_track"]["met"], course["on_track"]["reason"])
        assert (row["forms"], row["doses"], row["days_since_last_form"]) == (3, 0, 7)


def _told(at: datetime) -> str:
    return at.isoformat()


# --- While rows change ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort", Sort)
async def test_who_did_not_change_is_seen_once(database: Database, api: Api, sort: Sort) -> None:
    """Between pages patients are added, move up, move down; of all others none is missed and none comes twice."""
    people = oracle.made_up(17, 50)
    await settle(database, api, people)
    draw = random.Random(19)  # noqa: S311  # the same run every time
    movers = people[::3]
    still = oracle.ids(oracle.in_order([p for p in people if p not in movers], sort.value, -1))
    added = [p for p in oracle.made_up(23, 40) if p.external_ref is None]
    cursor, seen = beginning(api, asked(sort, "phq-9", {})), []
    while True:
        page = await get(api, sort=sort.value, limit=4, **({} if cursor is None else {"cursor": cursor}))
        seen += [row["patient_id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        async with database.connection(api.clinic_id) as connection:
            for person in draw.sample(movers, 3):
                await oracle.set_standing(connection, api.clinic_id, person.id, "phq-9", oracle._standing(draw))
            if added:
                await oracle.store(connection, database.keys, api.clinic_id, [added.pop()], "phq-9")
    assert [id_ for id_ in seen if id_ in set(still)] == still


# --- What it costs ----------------------------------------------------------------------------------------------------


async def test_a_page_is_three_queries(database: Database, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many patients are on it: the list itself, its names, and the keys that open them."""
    await settle(database, api, oracle.made_up(29, 20))
    await get(api)  # the token is known from here on
    asked_for: list[str] = []
    fetch = asyncpg.connection.Connection.fetch

    async def counted(self: asyncpg.Connection, query: str, *args: Any, **kwargs: Any) -> Any:
        asked_for.append(query)
        return await fetch(self, query, *args, **kwargs)

    monkeypatch.setattr(asyncpg.connection.Connection, "fetch", counted)
    assert len((await get(api))["data"]) == 20
    assert len(asked_for) == 3


@pytest.mark.parametrize("sort", Sort)
async def test_the_work_grows_with_the_clinic_and_no_faster(
    database: Database, clinic: Clinic, api: Api, sort: Sort
) -> None:
    """No step of the plan looks at more than a small multiple of what is stored, even without any statistics."""
    people = oracle.made_up(31, 300)
    await settle(database, api, people)
    instrument = get_instrument("phq-9")
    only = CaseloadFilter(overdue=False, silent_for_days=1)
    query = CaseloadQuery(CaseloadRequest(only=only, sort=sort), instrument, None)
    async with database.connection(clinic.clinic_id) as connection:
        text = f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}"
        plan = json.loads(await connection.fetchval(text, clinic.clinic_id, "phq-9", AS_OF, 51, *query.values))
    stored = max(sum(len(p.windows) for p in people), 2 * len(people), sum(len(p.alerts) for p in people))
    assert max(_rows_touched(plan[0]["Plan"])) <= 4 * stored


def _rows_touched(node: dict[str, Any]) -> list[float]:
    removed = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Join Filter", "Index Recheck"))
    mine = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return [mine, *(rows for child in node.get("Plans", []) for rows in _rows_touched(child))]
