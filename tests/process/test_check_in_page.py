"""The page of a check-in link in a real browser, against the real service.

Where no browser is found all of it is skipped; tests/api/test_check_in_page.py reads page and script everywhere.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
import pytest

from app.db import Database
from app.services.clinic_rules import DEFAULTS
from tests.api.check_ins import expect
from tests.process.browser import PROGRAM, Page, opened_page
from tests.process.conftest import Site

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(PROGRAM is None, reason="no chromium or chrome here; name one in CHROMIUM"),
]

VISIBLE: Final = "document.getElementById('{}').checkVisibility()"
NARROW, WIDE = (360, 740), (1200, 900)


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with opened_page() as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The tab, come from elsewhere and with nothing of the test before."""
    browser.call("Page.navigate", url="about:blank")
    browser.until("location.href === 'about:blank'")
    browser.events.clear()
    browser.resize(*NARROW)
    yield browser
    assert browser.complaints() == []


async def make_link(site: Site, **body: Any) -> dict[str, Any]:
    async with site.client() as http:
        answer = await http.post(f"/v1/patients/{site.patient_id}/check-in-links", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def stored_forms(site: Site) -> list[dict[str, Any]]:
    async with site.client() as http:
        answer = await http.get("/v1/assessments", params={"patient_id": site.patient_id})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def tries_left(site: Site, link: dict[str, Any]) -> int:
    async with site.client() as http:
        return int((await http.get(f"/v1/check-in-links/{link['id']}")).json()["tries_left"])


async def opened(site: Site, stored: Database, page: Page, *instruments: str) -> dict[str, Any]:
    """A fresh link with these forms due, opened in the browser."""
    for hours, instrument in enumerate(instruments, start=1):
        await expect(stored, site.clinic_id, site.patient_id, instrument, closes_in=hours)
    link = await make_link(site)
    page.open(site.url + link["url"])
    page.until(VISIBLE.format("form" if instruments else "message"))
    return link


def choose(page: Page, *values: int) -> None:
    """Clicks one answer of each item, from the first on."""
    for number, value in enumerate(values, start=1):
        page.run(f"document.querySelector('#item-{number} input[value=\"{value}\"]').click()")


def click(page: Page, id_: str) -> None:
    page.run(f"document.getElementById('{id_}').click()")


def focused(page: Page) -> str:
    return str(page.run("document.activeElement.id || document.activeElement.name"))


async def test_forms_are_answered_one_after_the_other(site: Site, stored: Database, page: Page) -> None:
    """The one that closes first comes first; at the end there are thanks, and nothing is left in the browser."""
    await opened(site, stored, page, "phq-2", "gad-7")
    assert "Form 1 of 2" in page.text()
    choose(page, 1, 2)
    click(page, "send")
    page.until("document.body.innerText.includes('Form 2 of 2')")
    choose(page, *[0] * 7)
    click(page, "send")
    page.until("document.body.innerText.includes('You can close this page')")
    assert focused(page) == "message-title"
    assert "score" not in page.text().lower()
    forms = {form["instrument"]: form for form in await stored_forms(site)}
    assert {name: form["responses"] for name, form in forms.items()} == {"phq-2@1": [1, 2], "gad-7@1": [0] * 7}
    assert {(form["mode"], form["language"]) for form in forms.values()} == {("self", "en")}
    for form in forms.values():
        assert abs((datetime.fromisoformat(form["taken_at"]) - datetime.now(UTC)).total_seconds()) < 60
    assert page.run("[localStorage.length, sessionStorage.length, document.cookie, location.hash]") == [0, 0, "", ""]


async def test_the_keyboard_is_enough(site: Site, stored: Database, page: Page) -> None:
    """Tab, arrows, space and Enter answer and send a form, and the focus is seen."""
    await opened(site, stored, page, "phq-2")
    assert focused(page) == "form-title"
    page.press("Tab")
    assert focused(page) == "item-1"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("ArrowDown")
    assert page.run("document.activeElement.value") == "1"
    page.press("Tab", 2)  # past the button that clears
    assert focused(page) == "item-2"
    page.press(" ")
    page.press("Tab", 2)
    assert focused(page) == "send"
    page.press("Enter")
    page.until("document.body.innerText.includes('You can close this page')")
    assert [form["responses"] for form in await stored_forms(site)] == [[1, 0]]


async def test_questions_may_be_left_out_after_a_second_thought(site: Site, stored: Database, page: Page) -> None:
    """What is missing is said once, gently; the way back leads to it; an empty form is not sent."""
    await opened(site, stored, page, "phq-9")
    page.press("Tab")
    page.press("Enter")
    assert "No question is answered yet" in page.text()
    assert not page.run(VISIBLE.format("anyway"))
    choose(page, 1, 1, 1)
    page.run("document.querySelector('#item-3 .clear').click()")
    choose(page, 1, 1)
    for number in range(4, 9):
        page.run(f"document.querySelector('#item-{number} input').click()")
    page.run("document.querySelector('#item-8 input').focus()")
    page.press("Enter")
    assert "Questions 3 and 9 are not answered" in page.text()
    assert focused(page) == "missing-title"
    assert await stored_forms(site) == []
    click(page, "back")
    assert focused(page) == "item-3"
    click(page, "anyway")
    page.until("document.body.innerText.includes('You can close this page')")
    assert [form["responses"] for form in await stored_forms(site)] == [[1, 1, None, 0, 0, 0, 0, 0, None, None]]


async def test_the_safety_text_is_not_missed(site: Site, stored: Database, page: Page) -> None:
    """Shown at once, read aloud first, and still there at the end; the next form waits until it was read."""
    await opened(site, stored, page, "phq-9", "phq-2")
    assert page.text().count("This is not a crisis service") == 1
    choose(page, *[0] * 8, 2)
    click(page, "send")
    page.until(VISIBLE.format("safety"))
    assert focused(page) == "safety-title"
    assert not page.run(VISIBLE.format("form"))
    assert "".join(DEFAULTS["safety_text"].split()) in "".join(page.text().split())
    click(page, "go-on")
    choose(page, 0, 0)
    click(page, "send")
    page.until("document.body.innerText.includes('You can close this page')")
    assert page.run(VISIBLE.format("safety"))


async def test_a_lost_answer_is_asked_for_again(site: Site, stored: Database, page: Page) -> None:
    """The form arrived, its answer did not: the same form is sent again by itself, stored once, one try."""
    link = await opened(site, stored, page, "phq-2")
    lost: list[str] = []

    def lose(event: dict[str, Any]) -> None:
        if event["method"] == "Fetch.requestPaused":
            request = event["params"]["requestId"]
            if lost:
                page.post("Fetch.continueRequest", requestId=request)
            else:
                page.post("Fetch.failRequest", requestId=request, errorReason="ConnectionReset")
                lost.append(request)

    page.on_event = lose
    page.call("Fetch.enable", patterns=[{"urlPattern": "*/v1/check-in/forms", "requestStage": "Response"}])
    try:
        choose(page, 3, 3)
        click(page, "send")
        page.until("document.body.innerText.includes('You can close this page')")
    finally:
        page.on_event = lambda _: None
        page.call("Fetch.disable")
    assert len(lost) == 1
    assert len(await stored_forms(site)) == 1
    assert await tries_left(site, link) == 19


async def test_being_offline_loses_nothing(site: Site, stored: Database, page: Page) -> None:
    """It is said in plain words, the answers stay and cannot be changed, and they go as soon as the line is back."""
    await opened(site, stored, page, "phq-2")
    choose(page, 2, 1)
    page.offline(offline=True)
    try:
        click(page, "send")
        page.until(VISIBLE.format("trouble"))
        assert "Check that you are online" in page.text()
        assert page.run("document.querySelectorAll('#items fieldset:disabled').length") == 2
        assert await stored_forms(site) == []
    finally:
        page.offline(offline=False)
    page.until("document.body.innerText.includes('You can close this page')")
    assert [form["responses"] for form in await stored_forms(site)] == [[2, 1]]


async def test_a_wrong_clock_does_no_harm(site: Site, stored: Database, page: Page) -> None:
    """A telephone that believes in 2019 still sends the time of the service, in its own zone."""
    wrong = "const real = Date.now; Date.now = () => real() - 7 * 365 * 86400000;"
    script = page.call("Page.addScriptToEvaluateOnNewDocument", source=wrong)["identifier"]
    page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kathmandu")
    try:
        await opened(site, stored, page, "phq-2")
        choose(page, 0, 0)
        click(page, "send")
        page.until("document.body.innerText.includes('You can close this page')")
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        page.call("Emulation.setTimezoneOverride", timezoneId="")
    (form,) = await stored_forms(site)
    assert abs((datetime.fromisoformat(form["taken_at"]) - datetime.now(UTC)).total_seconds()) < 60
    assert form["taken_at_offset"] == "+05:45"


async def test_what_went_wrong_is_said_plainly(site: Site, stored: Database, page: Page) -> None:
    """No link, a dead one, nothing due, and a form that is no longer asked for."""
    page.open(f"{site.url}/check-in")
    assert "Open the link you were sent" in page.text()
    link = await opened(site, stored, page)
    page.until("document.body.innerText.includes('Nothing is due now')")
    page.run(f"location.hash = '{link['token'][:-2]}AA'")
    page.until("document.body.innerText.includes('This link no longer works')")
    link = await opened(site, stored, page, "phq-2")
    choose(page, 0, 0)
    async with stored.connection(site.clinic_id) as connection:
        await connection.execute("DELETE FROM expected_check_in")
    click(page, "send")
    page.until("document.body.innerText.includes('no longer asked for')")
    async with site.client() as http:
        await http.post(f"/v1/check-in-links/{link['id']}/revocation")
    click(page, "again")
    page.until("document.body.innerText.includes('This link no longer works')")
    assert "no longer works" in page.run("document.activeElement.textContent")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_it_fits_and_can_be_hit(site: Site, stored: Database, page: Page, size: tuple[int, int]) -> None:
    """Nothing runs out of the screen sideways, and every answer is at least 44 pixels high (WCAG 2.2, 2.5.5)."""
    page.resize(*size)
    for instrument in ("phq-9", "pcl-5-month", "who-5", "pc-ptsd-5"):
        async with stored.connection(site.clinic_id) as connection:
            await connection.execute("DELETE FROM expected_check_in")
        await opened(site, stored, page, instrument)
        assert page.run("document.documentElement.scrollWidth") <= size[0]
        assert page.run("Math.min(...[...document.querySelectorAll('.choice')].map((c) => c.offsetHeight))") >= 44
        assert page.run("document.documentElement.scrollHeight") > size[1] / 2
        picture = page.picture()
        assert picture.startswith(base64.b64decode("iVBORw0KGgo="))


async def test_it_can_be_heard(site: Site, stored: Database, page: Page) -> None:
    """To a screen reader each question is a named group of named choices, and the page has one main part."""
    await opened(site, stored, page, "phq-9")
    nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    radios = [name for role, name in named if role == "radio"]
    groups = [name for role, name in named if role == "group"]
    assert len(radios) == 40
    assert set(radios[:4]) == {"Not at all", "Several days", "More than half the days", "Nearly every day"}
    assert (len(groups), groups[0]) == (10, "1. Little interest or pleasure in doing things")
    assert [role for role, _ in named].count("main") == 1
    assert page.run("document.documentElement.lang") == "en"
    assert [role for role, _ in named if role == "heading"] == ["heading"]


async def test_the_token_reaches_no_log(site: Site, stored: Database, page: Page) -> None:
    """It stands in no address that is asked for, and in no header but the one that proves it."""
    link = await opened(site, stored, page, "phq-2")
    requests = [event["params"] for event in page.events if event["method"] == "Network.requestWillBeSent"]
    sent = [event["params"]["request"] for event in page.events if event["method"] == "Network.requestWillBeSent"]
    assert {request["type"] for request in requests} >= {"Document", "Script", "Stylesheet", "Fetch"}
    for request in sent:
        assert request["url"].startswith(site.url)
        assert link["token"] not in request["url"]
        headers = {name: value for name, value in request["headers"].items() if name != "Authorization"}
        assert link["token"] not in str(headers)
    assert httpx2.get(f"{site.url}/check-in").headers["referrer-policy"] == "no-referrer"
