"""Every operation by every role, naming what is their own, another patient's, another clinic's, and nobody's."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx2
import pytest

from app import paging
from app.auth import Role
from tests.security.answers import told
from tests.security.conftest import Pair
from tests.security.estate import NOW, Estate
from tests.security.operations import BY_ID, OPERATIONS, SOUND, Operation, Slot, walk

pytestmark = pytest.mark.anyio

CALLERS = (*Role, "anonymous")
SECURED = [operation for operation in OPERATIONS if operation.path.startswith("/v1/")]
BOUND = (Role.PATIENT, Role.LINK)  # who stands for one patient


# Written out a second time, so that a slip in the table of roles is a failure here.
MAY_ALSO: dict[Role, set[str]] = {
    Role.RESEARCHER: {
        "list_instruments", "get_instrument_by_reference", "score_without_storing", "get_cohort_outcomes",
        "get_cohort_picture", "request_release", "list_releases", "get_release", "download_release_file",
        "revoke_release",
    },
    Role.LINK: {"get_check_in", "answer_check_in"},
    Role.CODE: {"redeem_enrolment"},
    Role.REFRESH: {"refresh_token", "log_out"},
    Role.PATIENT: {
        "list_instruments", "get_instrument_by_reference", "score_without_storing", "submit_assessment", "submit_batch",
        "list_assessments", "get_assessment", "list_assessment_versions", "amend_assessment", "get_trajectory",
        "get_trajectory_picture", "list_due_of_patient", "list_accesses", "list_consents", "list_consent_versions",
        "withdraw_consent", "get_part_two", "list_part_two_versions", "get_everything",
    },
}  # fmt: skip
BY_OTHER_BEARERS_ALONE = MAY_ALSO[Role.LINK] | MAY_ALSO[Role.CODE] | MAY_ALSO[Role.REFRESH]
BY_RESEARCH = {"request_release", "list_releases", "get_release", "download_release_file", "revoke_release"}
BY_ADMIN_ALONE = {
    "amend_clinic_rules", "create_suitability_checklist", "amend_suitability_checklist", "create_threshold",
    "retire_threshold", "create_webhook", "list_webhooks", "get_webhook", "rotate_webhook_secret", "disable_webhook",
    "enable_webhook", "list_webhook_deliveries", "retry_webhook_delivery", "list_audit_events", "put_care_team",
    "get_care_team", "list_care_team_versions", "erase_patient", "list_erasures", "get_erasure", "create_token",
    "list_tokens", "get_token", "revoke_token", "get_principal", "decide_release",
} | BY_RESEARCH  # fmt: skip
BY_CLINICIANS_ALONE = {"open_emergency_access"}
BY_PERSONS_ALONE = {
    "amend_assessment", "void_assessment", "acknowledge_alert", "resolve_alert", "list_accesses", "list_consents",
    "list_consent_versions", "put_consent", "withdraw_consent", "get_part_two", "list_part_two_versions",
    "put_part_two", "get_everything", "list_emergency_accesses", "get_emergency_access", "end_emergency_access",
    "create_enrolment", "revoke_enrolment",
    "get_cohort_outcomes", "get_cohort_picture",
}  # fmt: skip


def test_every_role_may_what_is_meant() -> None:
    """Who stands for one person little, the rest of the staff all but what is the administrator's or a person's."""
    everything = {operation.id for operation in SECURED}
    meant = MAY_ALSO | {
        Role.ADMIN: everything - BY_OTHER_BEARERS_ALONE - BY_CLINICIANS_ALONE,
        Role.CLINICIAN: everything - BY_OTHER_BEARERS_ALONE - BY_ADMIN_ALONE,
        Role.SERVICE: everything - BY_OTHER_BEARERS_ALONE - BY_ADMIN_ALONE - BY_CLINICIANS_ALONE - BY_PERSONS_ALONE,
    }
    assert {role: {one.id for one in SECURED if role in one.roles} for role in Role} == meant


def test_every_operation_has_a_sound_request() -> None:
    """A new route without one is not proven."""
    assert [operation.id for operation in OPERATIONS if operation.id not in SOUND] == []
    assert set(SOUND) == set(BY_ID)


@pytest.mark.parametrize("caller", CALLERS)
async def test_who_may_not_is_refused_whatever_they_name(pair: Pair, caller: str) -> None:
    """401 or 403 in the same words for their own, another clinic's and nobody's; nothing is stored."""
    before = [without_trail(await pair.own.rows()), await pair.foreign.rows()]
    status = 401 if caller == "anonymous" else 403
    nobodys = {kind: str(uuid4()) for kind in pair.own.things}
    for operation in SECURED:
        if caller in operation.roles:
            continue
        answers = [
            await pair.own.http[caller].request(**operation.request(things))
            for things in (pair.own.things, pair.foreign.things, nobodys)
        ]
        assert {answer.status_code for answer in answers} == {status}, operation.id
        assert len({told(answer) for answer in answers}) == 1, operation.id
    assert [without_trail(await pair.own.rows()), await pair.foreign.rows()] == before


def without_trail(rows: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is asked in vain is told in the caller's own clinic, and nothing else comes of it."""
    return {table: mine for table, mine in rows.items() if not table.startswith("audit_")}


def swaps(caller: str) -> Iterator[tuple[Operation, Slot]]:
    for operation in SECURED:
        if caller in operation.roles:
            for slot in operation.slots():
                yield operation, slot


@pytest.mark.parametrize("caller", Role)
async def test_another_clinics_things_answer_as_absent_ones(pair: Pair, caller: str) -> None:
    """In paths, queries and bodies: the same status, headers and bytes; nothing of either clinic changes."""
    await assert_absent(pair, caller, pair.foreign.things, pair.own.things)
    trail = str([mine for table, mine in (await pair.own.rows()).items() if table.startswith("audit_")])
    assert [mark for mark in pair.marks if mark in trail] == []


@pytest.mark.parametrize("caller", BOUND)
async def test_another_patients_things_answer_as_absent_ones(pair: Pair, caller: str) -> None:
    """To who stands for one patient, the clinic's other patients do not exist."""
    await assert_absent(pair, caller, pair.own.others, pair.own.things)


@pytest.mark.parametrize("caller", [Role.ADMIN, Role.CLINICIAN, Role.SERVICE])
async def test_a_thing_of_one_patient_is_absent_beside_another(pair: Pair, caller: str) -> None:
    """Named together with a patient it is not of, it answers as one that never was."""
    tried = 0
    for operation, slot in swaps(caller):
        owns = [other for other in operation.slots() if other.kind == "patient" and other != slot]
        if owns and pair.own.others[slot.kind] != pair.own.things[slot.kind]:
            answers = [
                await pair.own.http[caller].request(**operation.request(pair.own.things, slot, by))
                for by in (pair.own.others[slot.kind], str(uuid4()))
            ]
            assert told(answers[0]) == told(answers[1]), f"{operation.id} {slot}"
            tried += 1
    assert tried >= 5


async def assert_absent(pair: Pair, caller: str, hidden: dict[str, str], own: dict[str, str]) -> None:
    before = [without_trail(await pair.own.rows()), await pair.foreign.rows()]
    for operation, slot in swaps(caller):
        answers = [
            await pair.own.http[caller].request(**operation.request(own, slot, by))
            for by in (hidden[slot.kind], str(uuid4()))
        ]
        named = f"{operation.id} {slot}"
        assert told(answers[0]) == told(answers[1]), named
        assert is_absence(operation, slot, answers[0]), (named, answers[0].text)
        assert hidden[slot.kind] not in answers[0].text, named
    after = [without_trail(await pair.own.rows()), await pair.foreign.rows()]
    if caller == Role.LINK:  # what is refused costs a try of the own link
        for rows in (before[0], after[0]):
            rows.pop("check_in_link")
    assert after == before


def is_absence(operation: Operation, slot: Slot, answer: httpx2.Response) -> bool:
    """404; an empty list where a list is filtered; 404 in the row where many are sent; no baseline if it is named."""
    if slot.name == "baseline":
        return answer.status_code == 200
    if operation.id == "submit_batch":
        return answer.status_code == 200 and [row["status"] for row in answer.json()["outcomes"]] == [404]
    if answer.status_code == 200 and not operation.is_write:
        return bool(answer.json()["data"] == [])
    return answer.status_code == 404


@pytest.mark.parametrize("caller", Role)
async def test_no_answer_shows_anything_of_another_clinic(pair: Pair, caller: str) -> None:
    """Whatever is read without naming it, with each page as long as it can be."""
    read = 0
    for operation in SECURED:
        if caller in operation.roles and not operation.is_write:
            asked = operation.request(pair.own.things)
            limits = {"limit": 200} if "limit" in operation.parameters("query") else {}
            wide = {name: value for name, value in asked["params"].items() if name == "instrument"}
            for params in (asked["params"], wide | limits):
                answer = await pair.own.http[caller].request(**asked | {"params": params})
                assert answer.status_code == 200, (operation.id, answer.text)
                assert seen(answer, pair.marks) == [], operation.id
                read += 1
    assert read > 0 or caller in {Role.CODE, Role.REFRESH}, "who reads nothing at all"


def seen(answer: httpx2.Response, marks: frozenset[str]) -> list[str]:
    told_in = f"{answer.text} {answer.headers}"
    return [mark for mark in marks if mark in told_in]


async def test_another_clinics_place_in_a_list_opens_nothing(pair: Pair) -> None:
    """A cursor is a place, not a right: one of another clinic answers as one made of nobody's id."""
    admin, tried = pair.own.http[Role.ADMIN], 0
    marks = [value for key, value in pair.foreign.things.items() if not key.endswith("_token")]
    for operation in SECURED:
        if "cursor" not in operation.parameters("query"):
            continue
        asked = operation.request(pair.own.things)
        genuine = await pair.foreign.http[Role.ADMIN].request(
            **operation.request(pair.foreign.things) | {"params": {"limit": 1}}
        )
        if cursor := genuine.json()["next_cursor"]:
            answer = await admin.request(**asked | {"params": {"cursor": cursor}})
            assert answer.status_code in {200, 422}, operation.id
            assert seen(answer, pair.marks) == [], operation.id
            tried += 1
        for mark in marks:
            answers = [
                await admin.request(**asked | {"params": {"cursor": paging.encode(paging.Position(NOW, UUID(id_)))}})
                for id_ in (mark, str(uuid4()))
            ]
            assert {answer.status_code for answer in answers} <= {200, 422}, operation.id
            assert len({rows_of(answer) for answer in answers}) == 1, operation.id
    assert tried >= 5


def rows_of(answer: httpx2.Response) -> str:
    body = answer.json()
    return str(body["data"] if answer.status_code == 200 else body)


async def test_ids_and_keys_of_another_clinic_are_free_to_use(pair: Pair, fresh: Estate) -> None:
    """What the client names itself is its own clinic's: taken elsewhere it is as good as new, and tells nothing."""
    form = BY_ID["submit_assessment"].request(fresh.things)
    key = {"Idempotency-Key": "one-key-of-two-clinics"}
    before = await pair.foreign.rows()
    for estate in (pair.own, fresh):
        body = {"external_ref": f"of {estate.name}"}
        made = await estate.http[Role.CLINICIAN].post("/v1/patients", json=body, headers=key)
        assert (made.status_code, "idempotency-replayed" in made.headers) == (201, False)
    for taken in (pair.foreign.things["assessment"], pair.foreign.things["last_assessment"]):
        body = form["json"] | {"id": taken}
        answers = [await fresh.http[Role.CLINICIAN].post("/v1/assessments", json=body) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert "idempotency-replayed" not in answers[0].headers
        assert seen(answers[0], pair.marks - {taken}) == []
    assert await pair.foreign.rows() == before


async def test_every_operation_answers_who_may(fresh: Estate) -> None:
    """The requests of this file are sound: what was refused above was refused for what it named."""
    await walk(fresh)
