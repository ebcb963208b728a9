"""`tidemark worker`: the trail, the erasure ledger, reminders, missed check-ins, webhooks, and no answer to anybody."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli_database import database_addresses, database_told_plainly, settings_of_command, with_open_database
from app.db import Database
from app.delivery import Worker
from app.erasure_file import LedgerKeeper
from app.garbage import collect_seldom
from app.issuer_client import IssuerClient
from app.logs import guard_process
from app.metrics import PLACE_VARIABLE
from app.services.audit_chain import Sealer
from app.services.derivation import rederive
from app.services.issuers import issuer_of
from app.webhook_address import parse_internal_hosts
from app.webhook_client import WebhookClient

log = logging.getLogger("tidemark.worker")

PAUSE_SECONDS: Final = 5.0  # before a worker that ended by itself is started again
STOP_SECONDS: Final = 20.0  # above what an attempt under way can take
NICENESS: Final = 10  # of a worker beside the server: who waits for an answer goes before who waits for a release


def work(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what can be done now, then end.")] = False,
    interval_seconds: Annotated[
        float, typer.Option(min=0.1, max=3_600, help="Pause after a round in which nothing was to do.")
    ] = 5.0,
    beside: Annotated[bool, typer.Option("--beside", hidden=True, help="End when standard input does.")] = False,
) -> None:
    """Seal the trail, remind, notice misses, deliver webhooks, fetch an issuer's keys. Several may run at once."""
    settings = settings_of_command()
    issuer = issuer_of(settings)
    guard_process()
    collect_seldom()

    async def run(database: Database, erasure_ledger: Path | None) -> None:
        stop = _stop_on_signals()
        if beside:
            _give_way()
            _stop_with_input(stop)
        hosts = parse_internal_hosts(settings.webhook_internal_hosts)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(WebhookClient(hosts, settings.webhook_ca_file))
            keys = None if issuer is None else IssuerClient(issuer, settings.oidc_ca_file)
            if keys is not None:
                await stack.enter_async_context(keys)
            keeper = None if erasure_ledger is None else LedgerKeeper(database, erasure_ledger)
            worker = Worker(
                database,
                client,
                rederive,
                Sealer(database),
                stop,
                ledger=keeper,
                issuer=keys,
                keep_days=settings.keep_notifications_days,
            )
            await (worker.run_once() if once else worker.run(interval_seconds))

    with database_addresses(settings) as found, database_told_plainly():
        asyncio.run(with_open_database(found, lambda database: run(database, found.settings.erasure_ledger)))


def _give_way() -> None:
    if sys.platform != "win32":  # which has no such thing
        os.nice(NICENESS)


def _stop_on_signals() -> asyncio.Event:
    """What is under way is brought to its end, which takes ten seconds at most."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: there an interrupt ends the process at once, which loses nothing
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _stop_with_input(stop: asyncio.Event) -> None:
    """The other end is the server's: it closes when the server ends, also when that was killed."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while os.read(0, 64):
            pass
        with suppress(RuntimeError):  # the loop may have ended before
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, daemon=True, name="tidemark-server-watch").start()


@contextmanager
def worker_beside() -> Iterator[None]:
    """A worker in a process of its own for as long as the server runs, started again if it ends."""
    leaving = threading.Event()

    def keep() -> None:
        while not leaving.is_set():
            process = _start()
            while process.poll() is None and not leaving.wait(0.2):
                pass
            _end(process)
            if not leaving.is_set():
                log.warning("worker_started_again")
                leaving.wait(PAUSE_SECONDS)

    keeper = threading.Thread(target=keep, name="tidemark-worker-keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        leaving.set()
        keeper.join()


def _start() -> "subprocess.Popen[bytes]":
    """Its counts are its own: those of `/metrics` are of the processes that answer."""
    environment = {name: value for name, value in os.environ.items() if name != PLACE_VARIABLE}
    return subprocess.Popen([sys.executable, "-m", "app", "worker", "--beside"], stdin=subprocess.PIPE, env=environment)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
