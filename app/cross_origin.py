"""Which web pages may call the API from a browser: none, but those of the origins a setting names (CORS)."""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = "Authorization, Content-Type, Device-Time, Idempotency-Key, If-Match, If-None-Match, Purpose"
ANSWER_HEADERS: Final = (  # those browsers hide
    "Cohort-Questions-Left, ETag, Idempotency-Replayed, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id"
)
REMEMBERED_SECONDS: Final = 600


class CrossOrigin:
    """Says who may; the browser sees to it. Others are answered as ever, without the header that lets them read it.

    No cookie lets anybody in here, so credentials are never allowed: tokens stand in a header that pages have to set.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self.app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        origin = asked.get("origin")
        allowed = origin if origin in self._origins else None
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in asked

        async def send_allowance(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if allowed is not None:
                    headers["Access-Control-Allow-Origin"] = allowed
                    headers.update(_PREFLIGHT if is_preflight else _EXPOSED)
            await send(message)

        if is_preflight and allowed is not None:
            await send_allowance({"type": "http.response.start", "status": 204, "headers": []})
            await send_allowance({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send_allowance)


_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": METHODS,
    "Access-Control-Allow-Headers": REQUEST_HEADERS,
    "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
}
_EXPOSED: Final = {"Access-Control-Expose-Headers": ANSWER_HEADERS}
