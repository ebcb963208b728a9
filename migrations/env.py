"""How Alembic reaches the database: as its owner, asynchronously, one transaction for each revision."""

import asyncio

from alembic import context
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

import app.tables  # noqa: F401  # fills the metadata that autogenerate compares with
from app.settings import Settings


def owner_url() -> str:
    """The address handed over by the caller, or the environment's when Alembic is run by hand."""
    if "url" in context.config.attributes:
        return str(context.config.attributes["url"])
    settings = Settings()
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise SystemExit("Set TIDEMARK_OWNER_DATABASE_URL, or run `tidemark migrate` for the private Postgres.")
    return url.get_secret_value()


def run(connection: Connection) -> None:
    context.config.attributes.setdefault("master_keys", Settings().master_keys)
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_online() -> None:
    engine = create_async_engine(
        make_url(owner_url()).set(drivername="postgresql+asyncpg"), poolclass=NullPool, hide_parameters=True
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


def run_offline() -> None:
    """Prints the SQL, for a person to read before it runs."""
    context.configure(dialect_name="postgresql", target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    asyncio.run(run_online())
