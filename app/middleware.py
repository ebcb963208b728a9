"""The outermost layer: a request id on every answer, safe headers, and no surprise that escapes as a traceback."""

import logging
import traceback
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.ids import new_id

log = logging.getLogger("tidemark")

REQUEST_ID: Final = "tidemark.request_id"  # in the scope of a request; a UUID

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
        scope[REQUEST_ID] = new_id()
        request_id = str(scope[REQUEST_ID])
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message["headers"])
                present = {name.lower() for name, _ in headers}
                headers.append((b"x-request-id", request_id.encode()))
                headers += [header for header in self._headers if header[0] not in present]
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # gone in the middle of its request: nobody is left to answer, and nothing was done
        except Exception as error:
            _log_defect(request_id, error)
            if started:
                raise
            await problems.response(problems.INTERNAL, problems.INTERNAL.advice)(scope, receive, send_with_headers)


def _log_defect(request_id: str, error: Exception) -> None:
    """Class and places, never the message: it may quote a patient's row."""
    places = " < ".join(
        f"{frame.filename}:{frame.lineno}" for frame in reversed(traceback.extract_tb(error.__traceback__))
    )
    log.error("defect request_id=%s error=%s at=%s", request_id, type(error).__qualname__, places)
