"""What a router may ask for."""

import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Header, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from app import paging, strict_json
from app.auth import Actor, Origin, Permission, Purpose, Role, TokenKind, parse_token, require
from app.client_address import sender
from app.db import Database
from app.errors import (
    Fault,
    InvalidError,
    MalformedError,
    PreconditionRequiredError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedFormatError,
)
from app.logs import REQUEST_ID
from app.schemas.faults import invalid
from app.schemas.fields import LATEST_CLOCK, DeviceTimestamp
from app.services import tokens
from app.services.issuers import is_signed
from app.services.persons import Persons
from app.services.rate_limits import FailedLogins, RateLimits
from app.services.request_rates import NOBODY
from app.services.token_uses import TokenUses

TOKEN_CACHE_SECONDS: Final = 1.0  # a revoked token lives at most this much longer
TOKEN_CACHE_SIZE: Final = 10_000  # tokens; about 3 MB, of an issuer's perhaps 20
PROVEN_SECONDS: Final = 900.0  # a token proven so lately is asked about again even where others failed
_SPENT_WHEN_SHOWN: Final = frozenset({Role.CODE, Role.REFRESH})
ACTOR: Final = "tidemark.actor"  # in the scope of a request; read for its log line, too
_KEY: Final = re.compile(r"[!-~]{1,255}")  # visible ASCII
_ETAG: Final = re.compile(r'"([1-9][0-9]{0,4})"')  # ours are versions
_TIME: Final[TypeAdapter[datetime]] = TypeAdapter(DeviceTimestamp)
_JSON: Final = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;|$)", re.IGNORECASE)


def database_of(request: Request) -> Database:
    return cast("Database", request.app.state.database)


async def _database(request: Request) -> Database:
    """A coroutine, because FastAPI would run a plain function in a thread for each request."""
    return database_of(request)


class TokenCache:
    """Verified tokens of this process, each taken on trust for at most a second; none that is there to be spent."""

    def __init__(self, persons: Persons | None = None) -> None:
        self._known: dict[str, tuple[float, Actor]] = {}
        self._persons = persons  # whom an issuer vouches for, if there is one
        self._uses = TokenUses()

    async def actor(self, database: Database, token: str) -> Actor:
        now = time.monotonic()
        checked_at, actor = self._known.get(token, (-TOKEN_CACHE_SECONDS, None))
        if actor is not None and now - checked_at < TOKEN_CACHE_SECONDS:
            return actor
        try:
            actor = await self._proven(database, token)
        except UnauthenticatedError:
            self._known.pop(token, None)
            raise
        if actor.role not in _SPENT_WHEN_SHOWN:
            if len(self._known) >= TOKEN_CACHE_SIZE:
                self._known.clear()
            self._known[token] = (now, actor)
        return actor

    async def _proven(self, database: Database, token: str) -> Actor:
        if self._persons is not None and is_signed(token):
            return await self._persons.actor(database, token)
        parts = parse_token(token)
        actor = await tokens.get_actor(database, parts)
        if parts.kind is TokenKind.API:
            self._uses.note(database, parts.clinic_id, parts.token_id)
        return actor

    async def close(self) -> None:
        await self._uses.close()

    def was_proven(self, token: str) -> bool:
        proven_at, _ = self._known.get(token, (-math.inf, None))
        return time.monotonic() - proven_at < PROVEN_SECONDS


async def authenticate(request: Request) -> Actor:
    """The caller behind the bearer token, asked for and counted once for each request."""
    scope = request.scope
    if (known := scope.get(ACTOR)) is not None:
        return cast("Actor", known)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("Send `Authorization: Bearer <token>`.")  # as cheap as to refuse it for its rate
    limits, database = cast("RateLimits", request.app.state.limits), database_of(request)
    address = sender(scope["client"][0] if scope.get("client") else None)
    await limits.of_addresses.take(database, NOBODY, address)
    actor = await _proven(cast("TokenCache", request.app.state.tokens), limits.failed_logins, database, token, address)
    await limits.of_tokens.take(database, actor.clinic_id, actor.token_id)
    origin = Origin(address, REQUEST_ID.get(), _purpose(request.headers.get("purpose")))
    scope[ACTOR] = actor = replace(actor, origin=origin)
    return actor


def actor_of(request: Request) -> Actor | None:
    """The caller, if the request has come so far that one is known."""
    return cast("Actor | None", request.scope.get(ACTOR))


def _purpose(sent: str | None) -> Purpose | None:
    try:
        return None if sent is None else Purpose(sent)
    except ValueError:
        fault = Fault("header/purpose", "unknown_purpose", f"Write one of: {', '.join(Purpose)}.")
        raise InvalidError("The Purpose is not one we know.", faults=(fault,)) from None


async def _proven(known: TokenCache, failures: FailedLogins, database: Database, token: str, address: str) -> Actor:
    """Where an address has failed too often, whoever shares it and was proven before goes on; nobody else is tried."""
    if not known.was_proven(token):
        failures.refuse_blocked(address)
    try:
        return await known.actor(database, token)
    except UnauthenticatedError:
        await failures.record(database, address)
        raise


def allowed(permission: Permission) -> Callable[..., Awaitable[Actor]]:
    """A dependency that lets only roles with this permission through."""

    async def actor_with_permission(
        request: Request, _: Annotated[Any, Security(HTTPBearer(auto_error=False, description="A Tidemark token"))]
    ) -> Actor:
        actor = await authenticate(request)
        require(actor, permission)
        request.state.actor = actor
        return actor

    actor_with_permission.permission = permission  # type: ignore[attr-defined]  # read by the test that demands one on every route
    return actor_with_permission


def permission_of(route: APIRoute) -> Permission:
    """What a route demands. Raises LookupError for a route that demands nothing."""
    for dependency in route.dependant.dependencies:
        if isinstance(permission := getattr(dependency.call, "permission", None), Permission):
            return permission
    raise LookupError(f"{route.path} declares no permission")


def _declares_permission(route: APIRoute) -> bool:
    try:
        return bool(permission_of(route))
    except LookupError:
        return False


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    """The request's one transaction. With scope="function" it is committed before the answer leaves."""
    actor: Actor = request.state.actor
    async with database_of(request).session(actor) as session:
        yield session


def _idempotency_key(
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="Repeat a write safely: same key, same content, same answer."),
    ] = None,
) -> str | None:
    if key is not None and not _KEY.fullmatch(key):
        fault = Fault("header/idempotency-key", "not_a_key", "Write 1 to 255 visible ASCII characters.")
        raise InvalidError("The Idempotency-Key is not usable.", faults=(fault,))
    return key


def _device_time(
    device_time: Annotated[
        str | None,
        Header(
            alias="Device-Time",
            description="What the sender's clock shows while it sends, RFC 3339. If it is more than 5 minutes wrong, "
            "`taken_at` is corrected by its error.",
        ),
    ] = None,
) -> datetime | None:
    if device_time is None:
        return None
    try:
        time = _TIME.validate_python(device_time)
    except ValidationError:
        time = LATEST_CLOCK
    if time >= LATEST_CLOCK:
        fault = Fault("header/device-time", "not_a_time", "Write a time as RFC 3339 with its offset.")
        raise InvalidError("The Device-Time is not usable.", faults=(fault,))
    return time


def _based_on(
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="The `ETag` of the version you read. `*` is not taken: it would protect nothing.",
        ),
    ] = None,
) -> int:
    """The version a change is based on; 0, which no version has, for a tag that is none of ours."""
    if if_match is None or if_match.strip() == "*":
        raise PreconditionRequiredError("Send `If-Match` with the `ETag` of the version you read.")
    known = _ETAG.fullmatch(if_match.strip())
    return 0 if known is None else int(known[1])


def _based_on_if_any(
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match", description="The `ETag` of the version you read; none for the first. `*` is not taken."
        ),
    ] = None,
) -> int | None:
    return None if if_match is None or if_match.strip() == "*" else _based_on(if_match)


Limit = Annotated[int, Query(ge=1, le=paging.MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")]


def _page(limit: Limit = paging.DEFAULT_LIMIT, cursor: Cursor = None) -> paging.PageRequest:
    return paging.PageRequest(limit, None if cursor is None else paging.decode(cursor))


DatabaseDep = Annotated[Database, Depends(_database)]
SessionDep = Annotated[AsyncSession, Depends(_session, scope="function")]
DeviceTimeDep = Annotated[datetime | None, Depends(_device_time)]
IdempotencyKeyDep = Annotated[str | None, Depends(_idempotency_key)]
BasedOnDep = Annotated[int, Depends(_based_on)]
BasedOnIfAnyDep = Annotated[int | None, Depends(_based_on_if_any)]  # of what a PUT may make
PageDep = Annotated[paging.PageRequest, Depends(_page)]


def mark_replayed(response: Response, *, replayed: bool) -> None:
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"


def tag_version(response: Response, version: int) -> None:
    """A strong `ETag`, to be sent back as `If-Match` with the next change."""
    response.headers["ETag"] = f'"{version}"'


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """RFC 8288, beside `next_cursor` in the body. Without a host: whatever a request said in `Host` leads nowhere."""
    if cursor is not None:
        following = request.url.include_query_params(cursor=cursor)
        response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'


async def read_json(request: Request, largest: str = "max_body_bytes") -> Any:
    """The strictly read body. One beyond the setting named is refused before it has been read whole."""
    if not _JSON.match(request.headers.get("content-type", "")):
        raise UnsupportedFormatError("Send `Content-Type: application/json`.")
    body = await _read_body(request, getattr(request.app.state.settings, largest))
    if not body:
        raise MalformedError("The body is empty.", faults=(Fault("", "empty", "The body is empty."),))
    return strict_json.parse(body)


async def _read_body(request: Request, most: int) -> bytes:
    announced = request.headers.get("content-length", "")
    body = bytearray()
    if not (announced.isdecimal() and int(announced) > most):
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
        else:
            return bytes(body)
    raise TooLargeError(f"The body is larger than {most} bytes.")


class _ReadRequest(Request):
    """A request whose body has been read and checked already."""

    value: Any = None

    async def body(self) -> bytes:
        return b"read"

    async def json(self) -> Any:
        return self.value


class StrictRoute(APIRoute):
    """A route whose body is read strictly before FastAPI sees it."""

    largest = "max_body_bytes"  # the setting that limits the body

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        secured = _declares_permission(self)

        async def strict(request: Request) -> Response:
            if secured:
                await authenticate(request)  # strangers do not get their bodies read
            checked = _ReadRequest(request.scope, request.receive)
            checked.value = await read_json(request, self.largest)
            return await handler(checked)

        return strict


class BatchRoute(StrictRoute):
    """For many things at once."""

    largest = "max_batch_body_bytes"


class DirectRoute(APIRoute):
    """For the check-in alone: documented like every route, run without FastAPI's dependency machinery.

    That machinery would be a third of what a check-in costs. The endpoint takes what is resolved here, in this order.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint, model, permission = self.endpoint, self.endpoint.__annotations__["form"], permission_of(self)

        async def direct(request: Request) -> Response:
            actor = await authenticate(request)
            require(actor, permission)
            asked = {
                "key": _idempotency_key(request.headers.get("idempotency-key")),
                "device_time": _device_time(request.headers.get("device-time")),
                "form": _validated(model, await read_json(request)),
            }
            return cast("Response", await endpoint(database=database_of(request), actor=actor, **asked))

        return direct


def _validated(model: type[BaseModel], value: Any) -> BaseModel:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error.errors()) from None
