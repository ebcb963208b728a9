"""`python -m benchmarks`: on a private, durable Postgres of its own, removed afterwards."""

import asyncio
import os
from collections.abc import Callable
from typing import Annotated, Final

import typer
from rich.console import Console

from app import migrate
from app.crypto import new_master_key
from app.embedded_postgres import temporary_postgres
from app.postgres_binaries import wheel_bin_dir
from app.settings import Settings
from benchmarks import batch, caseload, checkins, release, trajectories
from benchmarks.stage import prepare

BENCHMARKS: Final[dict[str, Callable[..., object]]] = {
    "checkins": checkins.run,
    "batch": batch.run,
    "trajectories": trajectories.run,
    "caseload": caseload.run,
    "release": release.run,
}
WARM_UP_SECONDS: Final = 1.0
WIDTH: Final = 120  # columns; narrower, the tables lose their figures

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def run(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHMARKS)}.")] = "checkins",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; in each, every case runs once.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds measured for each case and round.")] = 5.0,
    connections: Annotated[str, typer.Option(help="Numbers of open connections.")] = "1,16,64",
) -> None:
    """Measure, and print ratios. Other work on the machine spoils them."""
    if name not in BENCHMARKS:
        raise typer.BadParameter(f"there is no benchmark {name!r}")
    try:
        numbers = tuple(int(each) for each in connections.split(","))
    except ValueError:
        raise typer.BadParameter("write whole numbers, separated by commas") from None
    os.environ.setdefault("TIDEMARK_MASTER_KEYS", new_master_key())
    bin_dir = Settings().pg_bin
    with temporary_postgres(bin_dir=bin_dir, durable=True) as server:
        address = server.start()
        migrate.upgrade(address.owner_url)
        stage = asyncio.run(prepare(address))
        plan = checkins.Plan(rounds, seconds, WARM_UP_SECONDS, numbers)
        BENCHMARKS[name](stage, bin_dir or wheel_bin_dir(), plan, Console(width=WIDTH))


if __name__ == "__main__":
    cli()
