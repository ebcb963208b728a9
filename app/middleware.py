"""The outermost layer: a request id on every answer, safe headers, and no surprise that escapes as a traceback."""

import logging
import traceback
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.ids import new_id

log = logging.getLogger("tidemark")

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Envelope:
    """Pure ASGI, because every check-in passes through."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = str(new_id())
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
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
