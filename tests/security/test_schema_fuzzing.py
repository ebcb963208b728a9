"""Requests made from the OpenAPI document itself, by every role about its own: each answer is one that it declares.

Schemathesis makes the values, from the schemas of parameters and bodies, sound and unsound ones. The sound ones are put
into a request that succeeds, a few at a time: made up as a whole they would only ever meet 404 and 422.
"""

import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok

from app.auth import Role
from app.db import Database
from tests.api.schema_reader import answer_faults, faults
from tests.security.estate import Estate, open_estate
from tests.security.operations import BY_ID, DOCUMENT, IN_ORDER, NAMED, Operation, tag_of

pytestmark = pytest.mark.anyio

# For each operation: the same ones in each run, unless more are asked for.
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "0"))
FUZZ: Final = settings(
    max_examples=EXAMPLES or 5,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MADE_BY: Final = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if isinstance(found, Ok)
}
SECURED: Final = [operation for operation in IN_ORDER if operation.roles]
each_operation: Final = pytest.mark.parametrize("operation", SECURED, ids=lambda operation: operation.id)


def made(operation: Operation, mode: GenerationMode) -> list[Case[Any]]:
    """Collected before they are sent: the library cannot wait for answers."""
    found: list[Case[Any]] = []

    @FUZZ
    @given(MADE_BY[operation.id].as_strategy(generation_mode=mode))
    def collect(case: Case[Any]) -> None:
        found.append(case)

    collect()
    return found


class Fuzzed:
    """An estate, whose callers take turns, and what became of sound requests."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.turns: Counter[str] = Counter()
        self.told: Counter[tuple[str, bool]] = Counter()
        self.done: set[str] = set()

    def things(self, operation: Operation) -> dict[str, str]:
        """What is taken away is the second patient's: the first one's is read in the end."""
        is_end = operation.method == "DELETE" or operation.id == "revoke_check_in_link"
        return self.estate.others if is_end else self.estate.things

    def caller(self, operation: Operation) -> str:
        self.turns[operation.id] += 1
        roles = sorted(operation.roles)
        return roles[self.turns[operation.id] % len(roles)]

    async def send(self, operation: Operation, caller: str, asked: dict[str, Any]) -> bool:
        """Whether it was done. Holds the answer to the document, and what was done too."""
        if caller == Role.LINK:
            await self.estate.refill()
        answer = await self.estate.http[caller].request(**asked)
        where = (operation.id, caller, ascii(asked)[:1_000], answer.status_code, answer.text[:500])
        assert answer.status_code < 500, where
        assert answer_faults(answer, operation.entry, DOCUMENT) == [], where
        if answer.is_success and operation.has_body:
            schema = operation.entry["requestBody"]["content"]["application/json"]["schema"]
            assert faults(json.loads(asked["content"]), schema, DOCUMENT) == [], where
        return answer.is_success


@pytest.fixture(scope="module")
async def fuzzed(app: FastAPI, database: Database) -> AsyncIterator[Fuzzed]:
    async with open_estate(app, database, "fuzzed") as estate:
        yield Fuzzed(estate)


# What some request above has ended, for good.
ENDED = {"download_release_file": 410, "get_emergency_access": 404}
# Most cohorts that are made up are too small to be told of, or too near to one that was.
REFUSED_FOR_THEIR_COHORT = {"get_cohort_outcomes", "get_cohort_picture"}


def test_every_operation_is_made_requests_for() -> None:
    """None is left out by the library."""
    assert MADE_BY.keys() == BY_ID.keys()


@each_operation
async def test_sound_values_are_answered_as_declared(fuzzed: Fuzzed, operation: Operation) -> None:
    """A few values of a request that succeeds, replaced by others of which the document says that they may be sent."""
    for number, case in enumerate(made(operation, GenerationMode.POSITIVE)):
        caller, sound = fuzzed.caller(operation), operation.request(fuzzed.things(operation))
        if "headers" in sound:
            sound["headers"]["If-Match"] = await tag_of(fuzzed.estate.http[Role.ADMIN], sound["url"])
        chance = random.Random(number)  # noqa: S311  # the same in each run
        is_done = await fuzzed.send(operation, caller, mixed(sound, case, chance))
        if operation.id not in REFUSED_FOR_THEIR_COHORT:
            fuzzed.told[caller, is_done] += 1
        fuzzed.done |= {operation.id} if is_done else set()


def mixed(sound: dict[str, Any], case: Case[Any], chance: random.Random) -> dict[str, Any]:
    """A sound request with some of the values of a made-up one."""
    return asked_of(
        sound["method"],
        sound["url"],
        replaced(sound["params"], case.query, chance),
        replaced(sound.get("headers", {}), dict(case.headers or {}), chance),
        replaced(sound["json"], case.body, chance) if "json" in sound else None,
    )


def replaced(sound: Any, made_up: Any, chance: random.Random) -> Any:
    if not isinstance(sound, dict) or not isinstance(made_up, dict):
        return sound
    names = chance.sample(sorted(made_up), min(chance.choice([0, 1, 1, 2]), len(made_up)))
    return sound | {name: made_up[name] for name in names}


@each_operation
async def test_unsound_values_are_refused_as_declared(fuzzed: Fuzzed, operation: Operation) -> None:
    """Requests with something that the document does not allow, about things that exist and things that do not."""
    for number, case in enumerate(made(operation, GenerationMode.NEGATIVE)):
        for name in (case.path_parameters or {}).keys() & NAMED.keys() if number % 2 else ():
            case.path_parameters[name] = fuzzed.things(operation)[NAMED[name]]
        body = None if case.body is NOT_SET else case.body
        asked = asked_of(case.method, case.formatted_path, case.query or {}, dict(case.headers or {}), body)
        await fuzzed.send(operation, fuzzed.caller(operation), asked)


def asked_of(method: str, url: str, query: dict[str, Any], headers: dict[str, Any], body: Any) -> dict[str, Any]:
    """As it goes over the wire. Texts are written as no library would write them, if need be."""
    written = urlencode(query, doseq=True, errors="surrogatepass")
    sent = {name.encode(errors="replace"): str(value).encode("latin-1", "replace") for name, value in headers.items()}
    asked: dict[str, Any] = {"method": method, "url": f"{url}?{written}" if written else url}
    asked["headers"] = {name: value for name, value in sent.items() if name.lower() not in {b"authorization", b"host"}}
    if body is not None:
        asked["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        asked["headers"][b"Content-Type"] = b"application/json"
    return asked


async def test_more_than_half_was_done_and_everything_is_still_read(fuzzed: Fuzzed) -> None:
    """By each role, and each operation once: else it was refusals that were tested. Then every read answers."""
    if fuzzed.turns.keys() < {operation.id for operation in SECURED}:
        pytest.skip("only some of the above was run")
    for role in Role:
        assert fuzzed.told[role, True] > fuzzed.told[role, False], (role, fuzzed.told)
    assert {operation.id for operation in SECURED} - fuzzed.done == set()
    await fuzzed.estate.refill()
    for operation in SECURED:
        for caller in () if operation.is_write else operation.roles:
            answer = await fuzzed.estate.http[caller].request(**operation.request(fuzzed.estate.things))
            expected = {200, ENDED.get(operation.id)}
            assert answer.status_code in expected, (operation.id, caller, answer.text)
