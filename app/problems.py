"""The catalogue of errors as clients see them (RFC 9457), and the only maker of error bodies."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app import errors
from app.errors import AppError, Fault

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the catalogue: `cause` says when it is answered, `advice` what to do about it."""

    slug: str
    status: int
    title: str
    advice: str
    cause: str

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


MALFORMED = Kind(
    "malformed",
    400,
    "The body cannot be read",
    "Send UTF-8 JSON without duplicate keys, NaN or NUL.",
    "The body is not JSON, or is JSON that two programs could read differently.",
)
UNAUTHENTICATED = Kind(
    "unauthenticated",
    401,
    "No valid token",
    "Send `Authorization: Bearer <token>`.",
    "The request has no bearer token, or one that is unknown, expired or revoked.",
)
FORBIDDEN = Kind(
    "forbidden",
    403,
    "Not for this role",
    "Use a token of a role that may do this, with the scope for it.",
    "The token is valid, but its role may never do this, or its scopes leave it out.",
)
NOT_FOUND = Kind(
    "not-found",
    404,
    "Not found",
    "Check the address and the id, and that the token is of the right clinic.",
    "Nothing of your clinic is known by this id or address. What belongs to another clinic answers exactly the same.",
)
METHOD = Kind(
    "method-not-allowed",
    405,
    "Method not allowed",
    "Use one of the methods in the `Allow` header.",
    "The address exists, but this method is not one of its own.",
)
CONFLICT = Kind(
    "conflict",
    409,
    "It contradicts what is stored",
    "Read what is stored, then decide.",
    "The content is sound by itself, but something already stored excludes it.",
)
GONE = Kind(
    "gone",
    410,
    "It has ended",
    "Ask for a new one; what has ended does not come back.",
    "What the address names was here and is no more: a release has expired, was revoked, or somebody in it has "
    "withdrawn.",
)
STALE = Kind(
    "stale",
    412,
    "It was changed since you read it",
    "Read it again, then decide; send its new `ETag`.",
    "`If-Match` names a version that is not the newest.",
)
TOO_LARGE = Kind(
    "too-large",
    413,
    "The body is too large",
    "Send less at a time.",
    "The body is larger than this address accepts; it was not read to its end.",
)
UNSUPPORTED = Kind(
    "unsupported-format",
    415,
    "Not a format we read",
    "Send `Content-Type: application/json`.",
    "The `Content-Type` of the request is missing, or names a format that is not read here.",
)
INVALID = Kind(
    "invalid",
    422,
    "The content breaks a rule",
    "Correct what `errors` names: each entry has the place and the rule.",
    "The request could be read, but a value in its body, path, query or headers is not one we accept. Nothing of it "
    "was stored.",
)
KEY_REUSED = Kind(
    "key-reused",
    422,
    "The key belongs to other content",
    "Make a new id or Idempotency-Key for new content.",
    "This id or Idempotency-Key was sent before, with other content. What was stored then is unchanged.",
)
PRECONDITION_REQUIRED = Kind(
    "precondition-required",
    428,
    "Say what the change is based on",
    "Send `If-Match` with the `ETag` you read.",
    "A change was sent without the version it is based on, so that it could undo somebody else's unseen.",
)
TOO_MANY = Kind(
    "too-many",
    429,
    "Too many requests",
    "Repeat after `Retry-After` seconds, and spread what you send; a write with the same id or Idempotency-Key.",
    "This token or this address sent more requests in the last minute than this installation allows, or this address "
    "sent too many tokens that are not valid; or a researcher has asked as many cohort questions as the budget allows. "
    "Nothing was done.",
)
INTERNAL = Kind(
    "internal",
    500,
    "Our fault",
    "Report the `X-Request-Id`. A write is safe to repeat with the same id or Idempotency-Key.",
    "A defect of the service. Repeating the request will most likely meet it again.",
)
UNAVAILABLE = Kind(
    "unavailable",
    503,
    "Not available right now",
    "Repeat after `Retry-After` seconds; a write with the same id or Idempotency-Key.",
    "The database is busy or away.",
)

CATALOGUE: Final[Mapping[type[AppError], Kind]] = {
    errors.MalformedError: MALFORMED,
    errors.UnauthenticatedError: UNAUTHENTICATED,
    errors.ForbiddenError: FORBIDDEN,
    errors.NotFoundError: NOT_FOUND,
    errors.ConflictError: CONFLICT,
    errors.GoneError: GONE,
    errors.TooLargeError: TOO_LARGE,
    errors.UnsupportedFormatError: UNSUPPORTED,
    errors.InvalidError: INVALID,
    errors.KeyReusedError: KEY_REUSED,
    errors.PreconditionRequiredError: PRECONDITION_REQUIRED,
    errors.StaleError: STALE,
    errors.TooManyError: TOO_MANY,
    errors.UnavailableError: UNAVAILABLE,
    errors.DefectError: INTERNAL,
}
KINDS: Final = tuple(sorted({*CATALOGUE.values(), METHOD}, key=lambda kind: (kind.status, kind.slug)))
_BY_STATUS: Final = {kind.status: kind for kind in (MALFORMED, UNAUTHENTICATED, NOT_FOUND, METHOD, TOO_LARGE)}


def install(app: FastAPI) -> None:
    """Makes every error of the application one of ours."""
    app.add_exception_handler(AppError, from_app_error)
    app.add_exception_handler(HTTPException, _from_http)


def body(kind: Kind, detail: str, faults: Iterable[Fault] = ()) -> dict[str, Any]:
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "errors": [{"pointer": f.pointer, "code": f.code, "message": f.message} for f in faults],
    }


def body_of(error: AppError) -> dict[str, Any]:
    """For an error that is one of several things in an answer."""
    return body(CATALOGUE[type(error)], error.detail, error.faults)


def example(kind: Kind) -> dict[str, Any]:
    """An error of this kind, as a client may get it."""
    if kind is not INVALID:
        return body(kind, kind.advice)
    fault = Fault("/responses/3", "not_a_choice", "item 4 has no such answer")
    return body(kind, "The responses do not fit the instrument.", [fault])


def response(
    kind: Kind, detail: str, faults: Iterable[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response:
    return Response(json.dumps(body(kind, detail, faults)), kind.status, headers, MEDIA_TYPE)


async def from_app_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101  # registered for this class alone; narrows the type
    kind = CATALOGUE[type(error)]
    headers = {}
    if isinstance(error, errors.UnavailableError | errors.TooManyError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return response(kind, error.detail, error.faults, headers)


async def _from_http(request: Request, error: Exception) -> Response:
    """Raised by the framework itself: unknown paths, wrong methods, oversized bodies."""
    assert isinstance(error, HTTPException)  # noqa: S101  # same
    kind = _BY_STATUS.get(error.status_code, MALFORMED if error.status_code < 500 else INTERNAL)
    headers = {"Allow": ", ".join(_methods(request))} if kind is METHOD else None
    return response(kind, kind.advice, headers=headers)


def _methods(request: Request) -> list[str]:
    """All methods of a path; the framework names those of its first route alone."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    named = [route for route in matching if getattr(route, "path", None) == request.url.path]  # before any with an id
    return sorted({method for route in named or matching for method in getattr(route, "methods", None) or ()})
