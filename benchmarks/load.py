"""Clients that submit check-ins as fast as they are answered: keep-alive HTTP/1.1 on raw sockets, in a process apart.

It shares the machine with what it measures, so it does little: requests are put together from bytes made before, and
of an answer only its status and its length are read. Run as a program it takes a job on its input as JSON.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, cast

import uvloop

from app.ids import new_id
from benchmarks.measurement import Requests

ANSWER_SECONDS: Final = 30.0  # longest wait for the answers still under way at the end
FORMS: Final = 64  # different forms, each of ten answers, sent in turn
CREATED: Final = b"201"
_LENGTH: Final = b"\r\ncontent-length: "


@dataclass(frozen=True, slots=True)
class Job:
    port: int
    token: str
    patients: Sequence[str]
    connections: int
    seconds: float  # the warm-up included
    host: str = "127.0.0.1"


def run(job: Job) -> Requests:
    """Runs the job in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(asdict(job)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Requests(**json.loads(answer.stdout))


class RequestMaker:
    """Check-ins of this clinic, each with an id of its own, of a patient drawn at random."""

    def __init__(self, job: Job) -> None:
        draw = random.Random(7)  # noqa: S311  # the same forms in every run; no secret
        self._pick, self._patients = draw.choice, [patient.encode() for patient in job.patients]
        # Item 9 is above 0 in a third of them, as in a clinic for depression: each of those raises an alert.
        choices = [(0, 1, 2, 3)] * 8 + [(0, 0, 0, 0, 0, 0, 1, 2, 3)] + [(0, 1, 2, 3)]
        self._forms = [b",".join(b"%d" % draw.choice(choice) for choice in choices) for _ in range(FORMS)]
        self._taken_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        length = len(self._body())
        self._head = (
            f"POST /v1/assessments HTTP/1.1\r\nHost: {job.host}:{job.port}\r\nAuthorization: Bearer {job.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def __call__(self) -> bytes:
        return self._head + self._body()

    def _body(self) -> bytes:
        """Every part has one length, and so have all bodies."""
        return (
            b'{"id":"%b","patient_id":"%b","instrument":"phq-9","responses":[%b],'
            b'"taken_at":"%b","mode":"self","language":"en"}'
            % (str(new_id()).encode(), self._pick(self._patients), self._pick(self._forms), self._taken_at)
        )


class Client(asyncio.Protocol):
    """One connection: a request, its whole answer, the next request, until the time is up."""

    def __init__(self, make_request: Callable[[], bytes], ends_at: float) -> None:
        self.ended_at: list[float] = []
        self.latencies: list[float] = []
        self.errors = 0
        self.finished = asyncio.get_running_loop().create_future()
        self._make_request, self._ends_at = make_request, ends_at
        self._sent_at, self._received = 0.0, b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not is_whole(self._received):
            return
        now = time.time()
        if self._received[9:12] == CREATED:
            self.ended_at.append(now)
            self.latencies.append(now - self._sent_at)
        else:
            self.errors += 1
        self._received = b""
        if now < self._ends_at:
            self._send()
        else:
            self.finished.set_result(None)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        if not self.finished.done():
            self.errors += 1
            self.finished.set_result(None)

    def _send(self) -> None:
        request = self._make_request()
        self._sent_at = time.time()
        self._transport.write(request)


def is_whole(received: bytes) -> bool:
    """Whether headers and body of an answer are there. Every answer of the servers measured names its length."""
    head_ends = received.find(b"\r\n\r\n")
    if head_ends < 0:
        return False
    head = received[: head_ends + 2].lower()
    begins = head.index(_LENGTH) + len(_LENGTH)
    return len(received) >= head_ends + 4 + int(head[begins : head.index(b"\r\n", begins)])


async def submit(job: Job) -> Requests:
    loop, make_request = asyncio.get_running_loop(), RequestMaker(job)
    ends_at = time.time() + job.seconds
    clients = [Client(make_request, ends_at) for _ in range(job.connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, job.host, job.port)  # type: ignore[misc]  # bound early
    await asyncio.wait([client.finished for client in clients], timeout=job.seconds + ANSWER_SECONDS)
    unanswered = sum(not client.finished.done() for client in clients)
    times = os.times()
    return Requests(
        ended_at=[end for client in clients for end in client.ended_at],
        latencies=[latency for client in clients for latency in client.latencies],
        errors=unanswered + sum(client.errors for client in clients),
        client_cpu_seconds=times.user + times.system,
    )


def main() -> None:
    json.dump(asdict(uvloop.run(submit(Job(**json.load(sys.stdin))))), sys.stdout)


if __name__ == "__main__":
    main()
