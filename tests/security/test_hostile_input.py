"""Hostile input in every place the service reads: it is refused or kept as it is, and nothing later breaks on it."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest

from app.auth import Role
from tests.security.conftest import Pair
from tests.security.estate import THRESHOLD, WORRYING, Estate, ago
from tests.security.hostile import EVERYWHERE, HEADERS, NUMBERS, QUERIES, SPLICED, TEXTS, TIMES, spliced, whole_bodies
from tests.security.operations import OPERATIONS, PAGES, WRITES, Operation, at, leaves_of, put_at, tag_of, texts_of

pytestmark = pytest.mark.anyio

EXPECTED = {200, 201, 204, 304, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428}
# Bodies of numbers, codes and times alone.
WITHOUT_TEXT = {
    "score_without_storing",
    "answer_check_in",
    "submit_assessment",
    "submit_batch",
    "create_treatment_session",
    "create_observation",
    "create_check_in_link",
    "open_emergency_access",  # has a text, and is stored once: the next attempt is told that it is open
    "withdraw_consent",
    "create_enrolment",
    "decide_release",  # as well: it is decided once
}
DEVICES = {Role.CODE, Role.REFRESH}
JSON = {"Content-Type": "application/json"}


class Sender:
    """Sends one operation as who may, always based on the newest version."""

    def __init__(self, estate: Estate, operation: Operation) -> None:
        self.estate, self.operation = estate, operation
        self.asked = operation.request(estate.things)
        self.caller = min(operation.roles, default="anonymous")
        self.http, self.reader = estate.http[self.caller], estate.http[Role.ADMIN]
        self.body = self.asked.pop("json", None)
        self.headers = self.asked.pop("headers", {})
        self.sent = 0

    async def rebase(self) -> None:
        if "If-Match" in self.headers:
            self.headers = {"If-Match": await tag_of(self.reader, self.asked["url"])}

    def declared(self) -> list[str]:
        return self.operation.parameters("header")

    async def send(self, **changes: Any) -> httpx2.Response:
        self.sent += 1
        if (self.caller == Role.LINK and self.sent % 10 == 1) or self.caller in DEVICES:
            await self.estate.refill()
        headers = {**self.headers, **changes.pop("headers", {})}
        answer = await self.http.request(**self.asked | changes, headers=headers)
        told = (self.operation.id, answer.status_code, ascii(changes)[:300], answer.text[:300])
        assert answer.status_code in EXPECTED, told
        if answer.is_success and self.operation.is_write:
            await self.renew()
            await self.rebase()
        return answer

    async def renew(self) -> None:
        """Another thing to be done to, where each can be done to once."""
        match self.operation.id:
            case "void_assessment" | "acknowledge_alert" | "resolve_alert":
                patient = (await self.made("/v1/patients", {}))["id"]
                form = {"patient_id": patient, "instrument": "phq-9", "responses": WORRYING, "taken_at": ago(hours=2)}
                made = await self.made("/v1/assessments", form)
                if self.operation.id != "void_assessment":
                    (made, *_) = (await self.reader.get("/v1/alerts", params={"patient_id": patient})).json()["data"]
            case "retire_threshold":
                made = await self.made("/v1/thresholds", THRESHOLD | {"code": f"ours_{uuid4().hex}"})
            case "create_threshold":
                self.body |= {"code": f"ours_{uuid4().hex}"}
                return
            case _:
                return
        stem, _, step = self.asked["url"].rpartition("/")
        self.asked["url"] = f"{stem.rpartition('/')[0]}/{made['id']}/{step}"

    async def made(self, address: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.reader.post(address, json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def send_body(self, body: Any) -> httpx2.Response:
        """As the standard library writes it: lone surrogates as escapes, NaN and Infinity as such."""
        return await self.send(content=json.dumps(body).encode(), headers=JSON)


def attacks(body: Any) -> Iterator[tuple[tuple[Any, ...], list[Any], list[bytes]]]:
    """Every place of a body that has no places of its own, with what to put there and what to splice in.

    A place for texts gets every text; any other gets every number, and enough texts to show that it takes none. What no
    parser reads is refused before places are known, so it is spliced into the first place and those of numbers.
    """
    places = [place for place in leaves_of(body) if place and not _has_places(at(body, place)) and not _is_late(place)]
    for place in places:
        value = at(body, place)
        is_text = isinstance(value, str)
        yield (
            place,
            (EVERYWHERE + (TEXTS + TIMES if is_text else NUMBERS)),
            ([] if is_text and place != places[0] else SPLICED),
        )


def _is_late(place: tuple[Any, ...]) -> bool:
    """Behind the second element of a list, all of whose elements are read alike."""
    return any(isinstance(key, int) and key > 1 for key in place)


def _has_places(value: Any) -> bool:
    return isinstance(value, (dict, list)) and bool(value)


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
async def test_every_place_of_every_body(pair: Pair, operation: Operation) -> None:
    """Refused in our words, or stored and answered as it was sent; what was stored reads back the same."""
    sender = Sender(pair.own, operation)
    await sender.rebase()
    kept = 0
    for place, values, splices in attacks(sender.body):
        for value in values:
            answer = await sender.send_body(put_at(sender.body, place, value))
            if is_stored(answer) and value in TEXTS and value.strip():
                await assert_kept(sender, answer, value.strip())
                kept += 1
        for raw in splices:
            await sender.send(content=spliced(sender.body, place, raw), headers=JSON)
    assert (kept >= 5) is (operation.id not in WITHOUT_TEXT), kept


def is_stored(answer: httpx2.Response) -> bool:
    """Of many sent at once: the only one."""
    return answer.is_success and '"problem"' not in answer.text


async def assert_kept(sender: Sender, answer: httpx2.Response, text: str) -> None:
    """Whitespace around a text is taken off; nothing else is changed. Some are told in the history alone."""
    where = answer.headers.get("location", answer.request.url.path)
    stem = where.rpartition("/")[0]
    for address in (where, f"{where}/history", stem, f"{stem}/history"):
        read = await sender.reader.get(address)
        if read.status_code == 200 and text in texts_of(read.json()):
            return
    raise AssertionError((sender.operation.id, text))


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.id)
async def test_every_body_as_a_whole(pair: Pair, operation: Operation) -> None:
    """Cut off, doubled, in another encoding, too deep, too wide, two megabytes."""
    sender = Sender(pair.own, operation)
    for body in whole_bodies(json.dumps(sender.body).encode()):
        answer = await sender.send(content=body, headers=JSON)
        assert answer.status_code in {400, 413, 422}, (operation.id, body[:80], answer.text)


class Turn:
    """All texts for the first parameter of a name, and for later ones of that name a few in turn."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def texts(self, name: str) -> list[str]:
        self.seen[name] += 1
        return QUERIES if self.seen[name] == 1 else QUERIES[self.seen[name] % 5 :: 5]


async def test_every_place_of_every_path(pair: Pair) -> None:
    """What is no id or reference names nothing."""
    turn = Turn()
    for operation in OPERATIONS:
        sender = Sender(pair.own, operation)
        for name in operation.parameters("path"):
            for text in turn.texts(name):
                written = quote(text.encode("utf-8", "surrogatepass"), safe="")
                path = operation.path.replace("{" + name + "}", written)
                if "{" in path:
                    path = Operation(operation.method, path, operation.entry).request(pair.own.things)["url"]
                body = {} if sender.body is None else {"json": sender.body}
                answer = await sender.send(url=path, **body)
                assert not (answer.is_success and operation.is_write), (operation.id, text)


async def test_every_page(pair: Pair) -> None:
    """The routes outside the document serve their own files and words, whatever is asked for."""
    assert len(PAGES) >= 7
    named = [page for page in PAGES if "{" in page]
    assert {page.partition("{")[0] for page in named} == {"/check-in/", "/docs/", "/problems/"}
    for page in named:
        for text in [*QUERIES, "../main.py", "..", ".", "check_in.html/..", "%2e%2e/main.py"]:
            for safe in ("", "/%."):
                path = page.partition("{")[0] + quote(text.encode("utf-8", "surrogatepass"), safe=safe)
                answer = await pair.own.http["anonymous"].get(path)
                asked = answer.request.url.path  # the client resolves `..` itself, where it stands plainly
                assert answer.status_code in {404, 405, 422} or asked in {"/", *PAGES}, path
                assert "create_app" not in answer.text


async def test_every_query(pair: Pair) -> None:
    """Unsound limits, times, ids, cursors and choices."""
    turn = Turn()
    for operation in OPERATIONS:
        sender = Sender(pair.own, operation)
        for name in operation.parameters("query"):
            for text in turn.texts(name):
                written = "&".join(f"{key}={value}" for key, value in sender.asked["params"].items() if key != name)
                query = f"{written}&{name}={quote(text.encode('utf-8', 'surrogatepass'))}"
                await sender.send(url=f"{sender.asked['url']}?{query}", params=None)


async def test_every_header_we_read(pair: Pair) -> None:
    """On every operation, whether it declares them or not: each in each way, if need be several at once."""
    for operation in OPERATIONS:
        sender = Sender(pair.own, operation)
        declared = {name: values for name, values in HEADERS.items() if name in sender.declared()}
        others = {name: values for name, values in HEADERS.items() if name not in declared}
        calls = [{name: value} for name, values in declared.items() for value in values]
        calls += [dict(zip(others, row, strict=True)) for row in zip_longest(*others.values(), fillvalue=b"")]
        for headers in calls:
            body = {"content": b"{}"} if operation.has_body else {}
            await sender.send(headers=({} if sender.body is None else JSON) | headers, **body)


async def test_everything_is_still_read(pair: Pair) -> None:
    """After all of the above every GET route answers, each list to its end."""
    await pair.own.refill()
    for operation in OPERATIONS:
        if operation.is_write:
            continue
        for caller in operation.roles or {"anonymous"}:
            asked = operation.request(pair.own.things)
            answer = await pair.own.http[caller].request(**asked)
            assert answer.status_code == 200, (operation.id, caller, answer.text)
            while "cursor" in operation.parameters("query") and (cursor := answer.json()["next_cursor"]):
                params = asked["params"] | {"cursor": cursor, "limit": 200}
                answer = await pair.own.http[caller].request(**asked | {"params": params})
                assert answer.status_code == 200, (operation.id, caller, answer.text)
