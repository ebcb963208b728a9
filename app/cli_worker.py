"""`tidemark worker`: reminders, missed check-ins and webhooks, in a process that answers nobody."""

import asyncio
import signal
from typing import Annotated

import typer

from app.cli_database import run_with_database
from app.db import Database
from app.delivery import Worker
from app.services.derivation import rederive
from app.settings import Settings
from app.webhook_address import parse_internal_hosts
from app.webhook_client import WebhookClient


def work(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do what can be done now, then end.")] = False,
    interval_seconds: Annotated[
        float, typer.Option(min=0.1, max=3_600, help="Pause after a round in which nothing was to do.")
    ] = 5.0,
) -> None:
    """Write reminders, notice missed check-ins, deliver webhooks. Several may run at once."""
    settings = Settings()

    async def run(database: Database) -> None:
        stop = _stop_on_signals()
        hosts = parse_internal_hosts(settings.webhook_internal_hosts)
        async with WebhookClient(hosts, settings.webhook_ca_file) as client:
            worker = Worker(database, client, rederive, stop)
            await (worker.run_once() if once else worker.run(interval_seconds))

    run_with_database(run)


def _stop_on_signals() -> asyncio.Event:
    """What is under way is brought to its end, which takes ten seconds at most."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
