"""What stands before every route, where no request of the other tests comes by."""

from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app import deps
from app.auth import Actor, Role, new_token
from app.db import Database, _binding
from app.deps import StrictRoute, TokenCache, permission_of
from app.errors import UnavailableError
from app.settings import Settings

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """A route that asks for no permission and has no body."""


def test_a_route_without_a_permission_is_found_out() -> None:
    """The check that every route declares one does see what it looks for."""
    with pytest.raises(LookupError):
        permission_of(APIRoute("/open", nothing))
    assert deps._declares_permission(StrictRoute("/open", nothing)) is False


async def test_a_body_may_come_without_a_token_where_no_permission_is_asked_for() -> None:
    """Read as strictly, and by nobody's leave."""

    async def count(body: list[int]) -> int:
        return len(body)

    app = FastAPI(routes=[StrictRoute("/open", count, methods=["POST"])])
    app.state.settings = Settings()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        assert (await http.post("/open", json=[1, 2])).json() == 2


def test_a_transaction_is_for_uuids_alone() -> None:
    """Whatever else is put where a clinic stands never reaches a statement."""
    with pytest.raises(TypeError):
        _binding("x'; SELECT 1; --")  # type: ignore[arg-type]  # what a slip elsewhere would hand over


async def test_known_tokens_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once: each is looked up again."""
    actor = Actor(uuid4(), uuid4(), Role.CLINICIAN)

    async def found(*_: object) -> Actor:
        return actor

    monkeypatch.setattr(deps, "TOKEN_CACHE_SIZE", 3)
    monkeypatch.setattr("app.services.tokens.get_actor", found)
    cache = TokenCache()
    sent = [new_token(actor.clinic_id, actor.token_id)[0] for _ in range(4)]
    for token in sent:
        assert await cache.actor(Database("postgresql://nobody@127.0.0.1:1/none", Settings()), token) == actor
    assert [cache.was_proven(token) for token in sent] == [False, False, False, True]


async def test_a_database_that_was_never_opened() -> None:
    """Is not there to be used, and is closed without a word."""
    database = Database("postgresql://nobody@127.0.0.1:1/none", Settings())
    with pytest.raises(UnavailableError):
        await database.schema_revision()
    await database.close()
