"""uvicorn's HTTP protocol with an end to what a request may send before anybody has asked who it is.

Without these bounds one connection can fill the memory with a header that never ends, or hold its place for ever.
"""

from asyncio import TimerHandle, Transport
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app import problems
from app.ids import new_id
from app.metrics import count_unreadable
from app.middleware import SAFE_HEADERS

MAX_HEAD_BYTES: Final = 65_536  # request line and headers; browsers and proxies stay below 16 KiB
MAX_HEADERS: Final = 100  # the customary limit of web servers
MAX_HEAD_SECONDS: Final = 20.0  # from the first byte, or the connection, to the end of the headers
MAX_BODY_SECONDS: Final = 60.0  # from there to the end of the body: a full one at 9 kbit/s, a full batch at 140
_SAFE_LINES: Final = b"".join(b"%s: %s\r\n" % header for header in SAFE_HEADERS)


class BoundedProtocol(HttpToolsProtocol):
    _head_bytes: int | None = 0  # bytes of the head so far; None while no head is awaited
    _head_timer: TimerHandle | None = None
    _body_is_awaited: bool = False
    _body_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        self._body_arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_arrived()
        if len(self.headers) > MAX_HEADERS:
            raise ValueError  # the parser turns it into an unreadable request
        super().on_headers_complete()
        self._body_is_awaited = True

    def on_message_complete(self) -> None:
        self._body_arrived()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Counted after parsing, because a head and its body may arrive together."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head is too large.")
        if self._body_is_awaited and self._body_timer is None:  # it did not come together with its head
            self._body_timer = self.loop.call_later(MAX_BODY_SECONDS, self.transport.close)

    def send_400_response(self, _: str) -> None:
        """The one error that is answered before the application is asked looks like all others."""
        count_unreadable()
        body = bytes(problems.response(problems.MALFORMED, "Send HTTP/1.1 with no more than 100 headers.").body)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: %s\r\ncontent-length: %d\r\n"
            b"x-request-id: %s\r\n%s\r\n%s"
            % (problems.MEDIA_TYPE.encode(), len(body), str(new_id()).encode(), _SAFE_LINES, body)
        )
        self.transport.close()

    def _await_head(self) -> None:
        self._head_arrived()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(MAX_HEAD_SECONDS, self.transport.close)

    def _head_arrived(self) -> None:
        self._head_bytes = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _body_arrived(self) -> None:
        self._body_is_awaited = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
