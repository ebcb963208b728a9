"""What docs/signing-in.md shows can be sent as it stands, its code keeps a telephone in, and its numbers are so."""

import json
import re
from typing import Any, get_args

import httpx2
import pytest

from app.auth import Role, TokenKind
from app.schemas import enrolments, tokens
from app.schemas.enrolments import EnrolmentCreate, EnrolmentState
from app.schemas.tokens import TokenCreate
from app.services import issuer_keys, issuers
from app.services.issuers import clinic_and_role, issuer_of
from app.settings import Settings
from tests.api.test_enrolments import enrol
from tests.conftest import Api
from tests.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "signing-in.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def first_cells(page: str, heading: str) -> list[str]:
    table = page.partition(heading)[2].partition("\n\n")[0]
    return [cell for row in table.splitlines()[1:] for cell in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_bodies_are_the_examples_of_the_reference() -> None:
    """And are read by their models."""
    shown = list(map(json.loads, blocks(PAGE, "json")))
    assert shown == [model.model_json_schema()["example"] for model in (TokenCreate, EnrolmentCreate)]


def test_defaults_and_bounds_are_as_said(page: str) -> None:
    """Days, hours, minutes, tries."""
    assert f"{tokens.DEFAULT_DAYS} days, at most {tokens.MAX_DAYS}" in page
    hours, tries = enrolments.DEFAULT_HOURS, enrolments.DEFAULT_TRIES
    assert f"{hours} hours (1 to {enrolments.MAX_HOURS}) and {tries} tries (1 to {enrolments.MAX_TRIES})" in page
    assert f"lives for {enrolments.ACCESS_MINUTES} minutes" in page
    assert f"nothing for {enrolments.IDLE_DAYS} days" in page


def test_every_beginning_and_every_state_is_explained(page: str) -> None:
    """A row for each."""
    assert sorted(first_cells(page, "| it begins with | whose | lives |")) == sorted(TokenKind)
    assert first_cells(page, "| state | means |") == list(get_args(EnrolmentState))


def test_the_settings_shown_are_an_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be pasted as they stand, and mean what the page says."""
    (shown,) = blocks(PAGE, "sh")
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    issuer = issuer_of(Settings())
    assert issuer is not None
    claims = {"realm_access": {"roles": ["offline_access", "tidemark-clinician"]}}
    assert clinic_and_role(claims, issuer) == (issuer.clinic_id, Role.CLINICIAN)


def test_what_is_asked_of_a_persons_token_is_as_said(page: str) -> None:
    """Algorithms, lengths, times."""
    assert f"`TIDEMARK_OIDC_ALGORITHMS`: {', '.join(issuers.KEY_KINDS)};" in page
    assert f"give or take {issuers.LEEWAY_SECONDS} seconds" in page
    assert f"at most {issuers.MAX_LIFETIME_SECONDS} seconds" in page
    assert f"1 to {issuers.MAX_SUBJECT_CHARS} visible" in page
    assert f"at most {issuers.MAX_TOKEN_CHARS} characters" in page
    assert f"ours are {', '.join(f'`{role}`' for role in issuers.PERSON_ROLES)}" in page
    assert (issuer_keys.FETCH_SECONDS, issuer_keys.PAUSE_SECONDS) == (600, 30)


@pytest.mark.anyio
async def test_the_code_keeps_a_telephone_in(api: Api, anonymous: httpx2.AsyncClient) -> None:
    """Through an answer that gets lost after it was stored with us, until the clinic locks it out."""
    (source,) = blocks(PAGE, "python")
    namespace: dict[str, Any] = {}
    exec(source, namespace)  # noqa: S102  # our own page
    sent: list[tuple[str, str]] = []
    answers: list[tuple[int, Any]] = []

    def post(path: str, token: str) -> tuple[int, Any]:
        sent.append((path, token))
        if not answers:
            raise OSError("no answer")
        return answers.pop(0)

    async def answer_of(path: str, token: str) -> tuple[int, Any]:
        answer = await anonymous.post(path, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.json()

    patient = await api.add_patient()
    enrolment = await enrol(api, patient)
    store: dict[str, str] = {}
    device = namespace["Device"](post, store)

    answers.append(await answer_of("/v1/enrolment", enrolment["token"]))
    device.enrol(enrolment["token"])
    for is_lost in (True, False, True, False):
        answer = await answer_of("/v1/token/refresh", store["refresh_token"])
        if is_lost:
            with pytest.raises(OSError, match="no answer"):
                device.renew()
            continue
        answers.append(answer)
        device.renew()
        header = {"Authorization": f"Bearer {store['access_token']}"}
        assert (await anonymous.get(f"/v1/patients/{patient}/due", headers=header)).status_code == 200
    assert {path for path, _ in sent} == {"/v1/enrolment", "/v1/token/refresh"}

    await api.http.post(f"/v1/enrolments/{enrolment['id']}/revocation")
    answers.append(await answer_of("/v1/token/refresh", store["refresh_token"]))
    with pytest.raises(PermissionError):
        device.renew()
    assert store == {}
