"""A program of a clinic that receives webhooks: a real HTTPS server, with an authority of its own."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.docs.documents import ROOT, blocks


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    path: str
    headers: Message
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Answer:
    """What the receiver says to a request."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that are killed in the middle, or that trust nobody, are what the tests are about."""


@dataclass
class Receiver:
    """What came in, and what is to be answered. `answer` runs in a thread of its own for each request."""

    port: int
    ca_file: Path
    answer: Callable[[Received], Answer] = field(default=lambda _: Answer())
    received: list[Received] = field(default_factory=list)

    def url(self, path: str = "/hook", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.received]


@contextmanager
def running_receiver(directory: Path, name: str = "localhost") -> Iterator[Receiver]:
    """Listens on 127.0.0.1 with a certificate for `name`."""
    authority = trustme.CA()
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    receiver = Receiver(0, ca_file)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(length := int(self.headers.get("content-length", 0)))
            if len(body) < length:
                return  # the sender was killed in the middle of it: no message came
            one = Received(self.path, self.headers, body)
            receiver.received.append(one)
            answer = receiver.answer(one)
            self.send_response(answer.status)
            for header, value in answer.headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST  # noqa: N815  # the server's name for it

        def log_message(self, *_: Any) -> None:
            """Nothing: the list is the log."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        # The handshake belongs to the thread of the request: one silent client must not hold up the others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def documented_verify() -> Callable[..., None]:
    """The function that docs/webhooks.md gives to those who receive."""
    namespace: dict[str, Any] = {}
    (source,) = blocks(ROOT / "docs" / "webhooks.md", "python")
    exec(source, namespace)  # noqa: S102  # our own page
    verify: Callable[..., None] = namespace["verify"]
    return verify
