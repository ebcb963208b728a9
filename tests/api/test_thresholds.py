"""A clinic's own rules over HTTP: anonymous, wrong role, other clinic, invalid, valid, replay, retirement."""

from datetime import UTC, datetime
from typing import Any, get_args
from uuid import uuid4

import httpx2
import pytest

from app.db import Database
from app.schemas.thresholds import Kind, Rule, Sign
from app.scoring import get_instrument
from app.scoring.judgement import judge
from app.scoring.model import Inequality, Threshold, ThresholdKind
from app.services.thresholds import find_thresholds
from tests.api.treatment import (
    add,
    assert_closed_to,
    assert_created_once,
    assert_foreign_is_absent,
    assert_refused,
    assert_versions_kept,
    events,
)
from tests.conftest import Api

pytestmark = pytest.mark.anyio

PATH = "/v1/thresholds"
RULE: dict[str, Any] = {
    "instrument": "phq-9",
    "rule": "reliable_change",
    "code": "reliable_change_7_ours",
    "kind": "change_points",
    "inequality": ">=",
    "value": 7,
    "population": "adults of our programme",
    "source": "Clinic guideline 3, 2026",
}
READS: list[tuple[str, str, Any]] = [("GET", f"{PATH}/ID", None), ("GET", f"{PATH}/ID/history", None)]
RETIRE: tuple[str, str, Any] = ("POST", f"{PATH}/ID/retirement", {"reason": "y"})


async def in_force(database: Database, api: Api, instrument: str, known_at: datetime | None = None) -> list[str]:
    async with database.connection(api.clinic_id) as connection:
        found = await find_thresholds(connection, api.clinic_id, instrument, known_at or datetime.now(UTC))
    return [threshold.code for threshold in found]


async def retire(admin: Api, id_: str, version: int = 1) -> httpx2.Response:
    return await admin.http.post(
        f"{PATH}/{id_}/retirement", json={"reason": "replaced"}, headers={"If-Match": f'"{version}"'}
    )


async def test_strangers_and_researchers_see_none(anonymous: httpx2.AsyncClient, researcher: Api) -> None:
    """401 without a token, 403 for a role that reads no rules of a clinic."""
    paths = [("POST", PATH, RULE), ("GET", PATH, None), *READS, RETIRE]
    calls = [(method, path.replace("ID", str(uuid4())), body) for method, path, body in paths]
    await assert_closed_to(anonymous, 401, calls)
    await assert_closed_to(researcher, 403, calls)


async def test_the_administrator_alone_writes(api: Api, admin: Api, service: Api) -> None:
    """Clinicians and programs read."""
    made = await add(admin, PATH, RULE)
    for one in (api, service):
        await assert_closed_to(one, 403, [("POST", PATH, RULE), (RETIRE[0], RETIRE[1], RETIRE[2])])
        assert (await one.http.get(PATH)).json()["data"] == [made]


async def test_another_clinics_are_absent(admin: Api, other_admin: Api, database: Database) -> None:
    """Byte for byte, in lists, for the judge, and a code of theirs is free here."""
    foreign = await add(other_admin, PATH, RULE)
    await assert_foreign_is_absent(admin, foreign["id"], [*READS, RETIRE])
    assert (await admin.http.get(PATH)).json()["data"] == []
    assert await in_force(database, admin, "phq-9") == []
    await add(admin, PATH, RULE)


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"instrument": "phq-99"}, "/instrument", "unknown_instrument"),
        ({"instrument": "phq-9@1"}, "/instrument", "string_pattern_mismatch"),
        ({"rule": "feels_better"}, "/rule", "literal_error"),
        ({"code": "Seven"}, "/code", "string_pattern_mismatch"),
        ({"code": "a" * 61}, "/code", "string_pattern_mismatch"),
        ({"code": "reliable_change_6"}, "/code", "built_in"),
        ({"code": "cut_point_10"}, "/code", "built_in"),
        ({"kind": "vibes"}, "/kind", "literal_error"),
        ({"inequality": "="}, "/inequality", "literal_error"),
        ({"inequality": "<="}, "/inequality", "not_an_improvement"),
        ({"kind": "change_rate", "value": 0.5, "inequality": "<"}, "/inequality", "not_an_improvement"),
        ({"value": "7"}, "/value", "float_type"),
        ({"value": 0}, "/value", "out_of_range"),
        ({"value": -7}, "/value", "out_of_range"),
        ({"value": 27.5}, "/value", "out_of_range"),
        ({"kind": "change_rate", "value": 1.01}, "/value", "out_of_range"),
        ({"kind": "change_rate", "value": 0}, "/value", "out_of_range"),
        ({"kind": "score", "value": 28}, "/value", "out_of_range"),
        ({"kind": "score", "value": -1}, "/value", "out_of_range"),
        ({"population": ""}, "/population", "string_too_short"),
        ({"source": " "}, "/source", "string_too_short"),
        ({"source": "x" * 501}, "/source", "string_too_long"),
        ({"is_default": True}, "", "unknown_field"),
    ],
)
async def test_invalid_content_is_refused(
    admin: Api, database: Database, change: dict[str, Any], pointer: str, code: str
) -> None:
    """By place and rule, and nothing is stored."""
    assert_refused(await admin.http.post(PATH, json=RULE | change), pointer, code)
    assert (await admin.http.get(PATH)).json()["data"] == []
    assert await events(database, admin) == []


@pytest.mark.parametrize("missing", sorted(RULE))
async def test_every_part_of_a_rule_is_required(admin: Api, missing: str) -> None:
    """The source above all."""
    body = {name: value for name, value in RULE.items() if name != missing}
    assert_refused(await admin.http.post(PATH, json=body), f"/{missing}", "missing")


async def test_every_choice_can_be_stored_and_means_what_the_core_means(admin: Api) -> None:
    """All rules, kinds and inequalities, at the ends of their ranges."""
    assert set(get_args(Kind)) == set(ThresholdKind)
    assert set(get_args(Sign)) == set(Inequality)
    for rule in get_args(Rule):
        await add(admin, PATH, RULE | {"rule": rule, "code": f"{rule}_ours"})
    for number, (kind, value) in enumerate(
        [("change_points", 27), ("change_rate", 1), ("score", 0), ("score", 27), ("change_points", 0.5)]
    ):
        await add(admin, PATH, RULE | {"kind": kind, "value": value, "code": f"end_{number}"})
    for number, sign in enumerate(get_args(Sign)):
        await add(admin, PATH, RULE | {"kind": "score", "inequality": sign, "code": f"sign_{number}"})


async def test_a_code_is_taken_for_ever_for_its_instrument(admin: Api) -> None:
    """A verdict of last year must not change its meaning: not after retirement either."""
    made = await add(admin, PATH, RULE)
    assert (await admin.http.post(PATH, json=RULE | {"value": 8})).status_code == 409
    assert (await retire(admin, made["id"])).status_code == 200
    assert (await admin.http.post(PATH, json=RULE)).status_code == 409
    await add(admin, PATH, RULE | {"instrument": "gad-7"})


async def test_a_repeat_is_stored_once(admin: Api) -> None:
    """Whatever arrives at once, and later."""
    await assert_created_once(admin, PATH, RULE, {"value": 8})


async def test_retirement_is_the_second_and_last_version(admin: Api) -> None:
    """428, 412, one winner, the whole history; twice is a conflict; a repeat under its key is not."""
    made = await add(admin, PATH, RULE)
    await assert_versions_kept(admin, f"{PATH}/{made['id']}", {}, post="/retirement")
    assert (await admin.http.get(f"{PATH}/{made['id']}")).json()["retired"] is True
    assert (await retire(admin, made["id"], 2)).status_code == 409
    other = await add(admin, PATH, RULE | {"code": "other"})
    answers = [
        await admin.http.post(
            f"{PATH}/{other['id']}/retirement",
            json={"reason": "y"},
            headers={"If-Match": '"1"', "Idempotency-Key": "bye"},
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_list_is_paged_and_filtered(admin: Api) -> None:
    """Latest changed first; by instrument when asked."""
    for number in range(4):
        await add(admin, PATH, RULE | {"code": f"rule_{number}"})
    await add(admin, PATH, RULE | {"instrument": "gad-7"})
    first = await admin.http.get(f"{PATH}?limit=3")
    second = await admin.http.get(first.links["next"]["url"])
    codes = [row["code"] for page in (first, second) for row in page.json()["data"]]
    assert codes == [RULE["code"], "rule_3", "rule_2", "rule_1", "rule_0"]
    assert len((await admin.http.get(f"{PATH}?instrument=gad-7")).json()["data"]) == 1
    assert (await admin.http.get(f"{PATH}?instrument=PHQ 9")).status_code == 422


async def test_the_core_judges_by_them(admin: Api, database: Database) -> None:
    """Those of the instrument in force at the time asked, as thresholds of the core."""
    before = datetime.now(UTC)
    made = await add(admin, PATH, RULE)
    await add(admin, PATH, RULE | {"instrument": "gad-7"})
    async with database.connection(admin.clinic_id) as connection:
        found = await find_thresholds(connection, admin.clinic_id, "phq-9", datetime.now(UTC))
    assert found == (
        Threshold(
            rule="reliable_change",
            code="reliable_change_7_ours",
            kind=ThresholdKind.CHANGE_POINTS,
            inequality=Inequality.AT_LEAST,
            value=7,
            population=RULE["population"],
            source=RULE["source"],
        ),
    )
    last = judge(get_instrument("phq-9"), 17, 10, found)[-1]
    assert (last.code, last.met, last.source) == ("reliable_change_7_ours", True, RULE["source"])
    in_use = datetime.now(UTC)
    await retire(admin, made["id"])
    assert await in_force(database, admin, "phq-9") == []
    assert await in_force(database, admin, "phq-9", in_use) == ["reliable_change_7_ours"]
    assert await in_force(database, admin, "phq-9", before) == []


async def test_each_write_leaves_one_row_in_the_trail(admin: Api, database: Database) -> None:
    """Added, retired; a refusal leaves none."""
    made = await add(admin, PATH, RULE)
    for _ in range(2):
        await retire(admin, made["id"])
    assert await events(database, admin) == [
        ("threshold.create", None, made["id"]),
        ("threshold.retire", None, made["id"]),
    ]
