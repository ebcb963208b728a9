"""The outermost layer: a request id on every answer, safe headers, and no surprise that escapes as a traceback."""

import logging
import time
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.deps import ACTOR
from app.ids import new_id
from app.logs import REQUEST_ID, trouble
from app.metrics import REQUESTS

log = logging.getLogger("tidemark")

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})  # every few seconds: told of at `debug` alone
GONE: Final = 499  # of a client that left before its answer began; customary, sent to nobody

# Answers of the API are no pages: nothing in them may run, load, or be framed. Pages name their own, wider policy.
SAFE_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Envelope:
    """Pure ASGI, because every check-in passes through."""

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self.app = app
        hsts = (b"strict-transport-security", b"max-age=%d" % hsts_seconds)
        self._headers = (*SAFE_HEADERS, hsts) if hsts_seconds else SAFE_HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, request_id, status = time.perf_counter(), new_id(), GONE
        bound = REQUEST_ID.set(request_id)
        REQUESTS.begin()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                present = {name.lower() for name, _ in headers}
                headers.append((b"x-request-id", str(request_id).encode()))
                headers += [header for header in self._headers if header[0] not in present]
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # gone in the middle of its request: nobody is left to answer, and nothing was done
        except Exception as error:
            log.error("defect", trouble(error))  # noqa: TRY400  # never the message: it may quote a patient's row
            if status != GONE:
                raise
            await problems.response(problems.INTERNAL, problems.INTERNAL.advice)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - begun
            REQUESTS.end(method(scope), template(scope), status, seconds)
            _tell(scope, status, seconds)
            REQUEST_ID.reset(bound)


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """Of the request itself neither path nor query: both hold what somebody typed."""
    route = template(scope)
    level = logging.DEBUG if route in PROBES else logging.INFO
    if log.isEnabledFor(level):
        told = {"method": method(scope), "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        if (actor := scope.get(ACTOR)) is not None:
            told["clinic_id"] = actor.clinic_id  # whose program is in a loop? Neither whose patient nor who asked
        log.log(level, "request", told)


def template(scope: Scope) -> str | None:
    """`/v1/patients/{patient_id}`; None for an address that is none of ours."""
    route: Any = scope.get("route")
    return getattr(route, "path", None)


def method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"
