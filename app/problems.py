"""The catalogue of errors as clients see them (RFC 9457), and the only maker of error bodies."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app import errors
from app.errors import AppError, Fault
from app.schemas.faults import invalid

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One entry of the catalogue. `meaning` is what the documentation says to do about it."""

    slug: str
    status: int
    title: str
    meaning: str


MALFORMED = Kind("malformed", 400, "The body cannot be read", "Send UTF-8 JSON without duplicate keys, NaN or NUL.")
UNAUTHENTICATED = Kind("unauthenticated", 401, "No valid token", "Send `Authorization: Bearer <token>`.")
FORBIDDEN = Kind("forbidden", 403, "Not for this role", "Use a token of a role that may do this.")
NOT_FOUND = Kind("not-found", 404, "Not found", "There is no such thing, or it is not of your clinic.")
METHOD = Kind("method-not-allowed", 405, "Method not allowed", "See the `Allow` header.")
CONFLICT = Kind("conflict", 409, "It contradicts what is stored", "Read what is stored, then decide.")
STALE = Kind("stale", 412, "It was changed since you read it", "Read it again, then decide; send its new `ETag`.")
TOO_LARGE = Kind("too-large", 413, "The body is too large", "Send less at a time.")
UNSUPPORTED = Kind("unsupported-format", 415, "Not a format we read", "Send `Content-Type: application/json`.")
INVALID = Kind("invalid", 422, "The content breaks a rule", "`errors` names each place and rule.")
KEY_REUSED = Kind(
    "key-reused", 422, "The key belongs to other content", "Make a new id or Idempotency-Key for new content."
)
PRECONDITION_REQUIRED = Kind(
    "precondition-required", 428, "Say what the change is based on", "Send `If-Match` with the `ETag` you read."
)
INTERNAL = Kind("internal", 500, "Our fault", "Nothing was stored. Report the `X-Request-Id`.")
UNAVAILABLE = Kind("unavailable", 503, "Not available right now", "Repeat after `Retry-After` seconds; it is safe to.")

CATALOGUE: Final[Mapping[type[AppError], Kind]] = {
    errors.MalformedError: MALFORMED,
    errors.UnauthenticatedError: UNAUTHENTICATED,
    errors.ForbiddenError: FORBIDDEN,
    errors.NotFoundError: NOT_FOUND,
    errors.ConflictError: CONFLICT,
    errors.PreconditionRequiredError: PRECONDITION_REQUIRED,
    errors.StaleError: STALE,
    errors.TooLargeError: TOO_LARGE,
    errors.UnsupportedFormatError: UNSUPPORTED,
    errors.InvalidError: INVALID,
    errors.KeyReusedError: KEY_REUSED,
    errors.UnavailableError: UNAVAILABLE,
}
_BY_STATUS: Final = {kind.status: kind for kind in (MALFORMED, UNAUTHENTICATED, NOT_FOUND, METHOD, TOO_LARGE)}


def install(app: FastAPI) -> None:
    """Makes every error of the application one of ours."""
    app.add_exception_handler(AppError, _from_app_error)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(HTTPException, _from_http)


def response(
    kind: Kind, detail: str, faults: Iterable[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response:
    body = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "errors": [{"pointer": f.pointer, "code": f.code, "message": f.message} for f in faults],
    }
    return Response(json.dumps(body), kind.status, headers, MEDIA_TYPE)


async def _from_app_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101  # registered for this class alone; narrows the type
    kind = CATALOGUE[type(error)]
    headers = {}
    if isinstance(error, errors.UnavailableError):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return response(kind, error.detail, error.faults, headers)


async def _from_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # same
    return await _from_app_error(request, invalid(error.errors()))


async def _from_http(request: Request, error: Exception) -> Response:
    """Raised by the framework itself: unknown paths, wrong methods, oversized bodies."""
    assert isinstance(error, HTTPException)  # noqa: S101  # same
    kind = _BY_STATUS.get(error.status_code, MALFORMED if error.status_code < 500 else INTERNAL)
    headers = {"Allow": ", ".join(_methods(request))} if kind is METHOD else None
    return response(kind, kind.meaning, headers=headers)


def _methods(request: Request) -> list[str]:
    """All methods of a path; the framework names those of its first route alone."""
    matching = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})
