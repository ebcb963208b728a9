"""The only place that opens or commits a transaction, and the only one that says whom it is for.

Two pools on one database: raw asyncpg for the hot paths, SQLAlchemy for the rest. Both log in as the runtime role,
which owns nothing and bypasses nothing, and both bind whom it is for to the transaction, never to the connection.

A transaction of a request is its caller's: it is given the actor. One that is given a clinic's id is the system's own,
and sees all of that clinic: a test counts who may.
"""

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import event
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine import Connection, ExceptionContext, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlmodel.ext.asyncio.session import AsyncSession

from app import metrics
from app.auth import Actor
from app.crypto import KeyRing, MasterKeys
from app.errors import InvalidError, NotFoundError, UnavailableError
from app.settings import Settings

RUNTIME_ROLE: Final = "tidemark_runtime"
CONNECT_SECONDS: Final = 5.0

# Of which patient a transaction sees rows, where no single one is meant. They are UUIDs, which no patient has, so that
# a policy that knows of neither shows nothing.
NO_PATIENT: Final = UUID(int=0)
NOT_HIDDEN: Final = UUID(int=2**128 - 1)  # all but those named in `app.hidden_patients`

Whom = Actor | UUID  # who asks; or the clinic for which the system itself works

_OF_SNAPSHOTS: Final = (
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL plan_cache_mode = 'force_custom_plan'",
)
# What a wait may cure: lost connections, shutdowns, time limits, locks, full disks, too many connections, and tables
# that the migration has yet to make.
_PASSING_SQLSTATES: Final = ("08", "53", "57", "40001", "40P01", "55P03", "42P01")


class Database:
    """The pools of one process."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = make_url(url).set(drivername="postgresql")
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._engine = _engine(url, settings)
        self._keys: KeyRing | None = None

    @property
    def keys(self) -> KeyRing:
        """What opens the texts that are sealed in it. Raises InvalidError without a master key."""
        if self._keys is None:
            if self._settings.master_keys is None:
                raise InvalidError(
                    "Set TIDEMARK_MASTER_KEYS: what names people is sealed with it. `tidemark keys new` makes one."
                )
            self._keys = KeyRing(MasterKeys.parse(self._settings.master_keys.get_secret_value()))
        return self._keys

    @property
    def patience_seconds(self) -> float:
        """How long a transaction that waits for several locks one after the other may take in all."""
        return self._settings.lock_timeout_ms / 1000 + self._settings.pool_wait_seconds / 2

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(
            self._url.render_as_string(hide_password=False),
            min_size=0,
            max_size=self._settings.pool_size,
            reset=_nothing_to_reset,
            **_hot_options(self._settings),
        )
        metrics.HOT_POOL.open(self._settings.pool_size)
        metrics.ORM_POOL.open(self._settings.orm_pool_size)

    async def close(self) -> None:
        await self._engine.dispose()
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def session(self, whom: Whom) -> AsyncIterator[AsyncSession]:
        """One transaction through SQLModel. Committed on leaving, rolled back on an error."""
        info = {"binding": _binding(whom), "keys": self.keys}
        session = AsyncSession(self._engine, expire_on_commit=False, info=info)
        with _passing_troubles():
            async with session, session.begin():
                yield session

    @asynccontextmanager
    async def connection(self, whom: Whom) -> AsyncIterator[asyncpg.Connection]:
        """One transaction on a raw connection."""
        async with self._bare_connection() as connection, connection.transaction():
            await connection.execute("; ".join(_binding(whom)))
            yield connection

    @asynccontextmanager
    async def locked(self, whom: Whom, lock_keys: Iterable[int]) -> AsyncIterator[asyncpg.Connection]:
        """One transaction that holds these advisory locks, begun in a single round trip.

        What is read afterwards was written by whoever held them before.
        """
        locks = (f"SELECT pg_advisory_xact_lock({key})" for key in sorted(set(lock_keys)))
        async with self._bare_connection() as connection:
            try:
                await connection.execute("; ".join(["BEGIN", *_binding(whom), *locks]))
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def snapshot(self, whom: Whom, most_seconds: int) -> AsyncIterator[asyncpg.Connection]:
        """One transaction that only reads, and sees the database as it stood at its beginning however long it takes.

        Days and numbers become text in it alike on every server. Each statement is planned for what is there now: a
        kept plan may be of the time before an import.
        """
        async with (
            self._bare_connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            limits = ("statement_timeout", "idle_in_transaction_session_timeout")
            longer = (f"SET LOCAL {name} = '{most_seconds}s'" for name in limits)
            await connection.execute("; ".join([*_binding(whom), *longer, *_OF_SNAPSHOTS]))
            yield connection

    async def clinic_ids(self) -> list[UUID]:
        """All of them, oldest first: for the worker, who works for one after the other."""
        async with self._bare_connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL app.worker = 'on'")
            return [row["clinic_id"] for row in await connection.fetch("SELECT clinic_id FROM clinic ORDER BY 1")]

    async def fetch_alone(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """A single statement that is its own transaction and binds its clinic itself: one round trip."""
        async with self._bare_connection() as connection:
            return await connection.fetch(statement, *values)  # type: ignore[no-any-return]  # asyncpg is untyped

    async def schema_revision(self) -> str | None:
        """The migration the database stands at, None before the first. Raises UnavailableError."""
        async with self._bare_connection() as connection:
            if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
                return None
            return await connection.fetchval("SELECT version_num FROM alembic_version")  # type: ignore[no-any-return]  # same

    async def runtime_role_faults(self) -> list[str]:
        """Why the role we run as would see past row-level security; empty when it would not."""
        async with self._bare_connection() as connection:
            role = await connection.fetchrow(_ROLE_CHECK)
        checks = {
            "is a superuser": role["superuser"],
            "bypasses row-level security": role["bypasses"],
            "owns tables of this database": role["owns"],
        }
        return [fault for fault, found in checks.items() if found]

    @asynccontextmanager
    async def _bare_connection(self) -> AsyncIterator[asyncpg.Connection]:
        if self._pool is None:
            raise UnavailableError("The database is not open yet.")
        with _passing_troubles():
            begun = time.perf_counter()
            async with self._pool.acquire(timeout=self._settings.pool_wait_seconds) as connection:
                metrics.HOT_POOL.take(time.perf_counter() - begun)
                try:
                    yield connection
                finally:
                    metrics.HOT_POOL.give_back()


async def driver_connection(session: AsyncSession) -> asyncpg.Connection:
    """The raw connection of a session's own transaction, for SQL that the hot paths use too."""
    proxied = await (await session.connection()).get_raw_connection()
    return proxied.driver_connection


def ring_of(session: AsyncSession) -> KeyRing:
    ring: KeyRing = session.info["keys"]
    return ring


def _binding(whom: Whom) -> list[str]:
    """Whom a transaction is for, as statements."""
    if isinstance(whom, Actor):
        return [_set_local("clinic_id", whom.clinic_id), *_patients_in_view(whom)]
    return [_set_local("clinic_id", whom)]


def _patients_in_view(actor: Actor) -> Iterator[str]:
    """Nothing is said of whoever may see all."""
    if not actor.sees_patients:
        yield _set_local("patient_id", actor.patient_id or NO_PATIENT)
    elif actor.hidden:
        yield _set_local("patient_id", NOT_HIDDEN)
        yield _set_local("hidden_patients", *actor.hidden)


def _set_local(name: str, *ids: UUID) -> str:
    """UUIDs and nothing else are put into a statement."""
    if not all(isinstance(id_, UUID) for id_ in ids):
        raise TypeError("a transaction is for a clinic and for patients, all named by UUIDs")
    return f"SET LOCAL app.{name} = '{','.join(map(str, ids))}'"


_ROLE_CHECK = """
SELECT rolsuper AS superuser, rolbypassrls AS bypasses,
       EXISTS (SELECT 1 FROM pg_class WHERE relowner = r.oid AND relkind IN ('r', 'p')
               AND relnamespace = 'public'::regnamespace) AS owns
FROM pg_roles r WHERE rolname = current_user
"""


class _MeteredPool(AsyncAdaptedQueuePool):
    def _do_get(self) -> ConnectionPoolEntry:
        begun = time.perf_counter()
        entry = super()._do_get()
        metrics.ORM_POOL.take(time.perf_counter() - begun)
        return entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        metrics.ORM_POOL.give_back()
        super()._do_return_conn(record)


def _engine(url: str, settings: Settings) -> AsyncEngine:
    options: dict[str, Any] = {"pool_size": settings.orm_pool_size, "max_overflow": 0}
    options |= {"pool_timeout": settings.pool_wait_seconds, "poolclass": _MeteredPool}
    connect = _connect_options(settings)
    if settings.database_pooler == "transaction":
        connect |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": _no_name}
    asyncpg_url = make_url(url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(asyncpg_url, connect_args=connect, hide_parameters=True, **options)
    event.listen(engine.sync_engine, "handle_error", _renew_if_never_begun)
    return engine


def _renew_if_never_begun(error: ExceptionContext) -> None:
    """The driver takes a connection whose BEGIN was refused for one inside a transaction, as long as it lives."""
    if error.connection is None or error.is_disconnect:
        return
    pooled = error.connection.connection
    driver: Any = pooled.driver_connection
    if not driver.is_in_transaction():
        pooled.invalidate(soft=True)


def _no_name() -> str:
    """Each statement takes the place of the one before, and none has to be closed.

    A name would stay on the pooler's server for good: when the driver wants to be rid of it, it talks to another.
    """
    return ""


def _connect_options(settings: Settings) -> dict[str, Any]:
    """Behind a transaction pooler nothing may stick to a connection: no session settings, no cached statements."""
    if settings.database_pooler == "transaction":
        return {"timeout": CONNECT_SECONDS, "statement_cache_size": 0}
    return {
        "timeout": CONNECT_SECONDS,
        "server_settings": {
            "application_name": "tidemark",
            "role": RUNTIME_ROLE,
            "jit": "off",
            "statement_timeout": str(settings.statement_timeout_ms),
            "lock_timeout": str(settings.lock_timeout_ms),
            "idle_in_transaction_session_timeout": "10000",
        },
    }


def _hot_options(settings: Settings) -> dict[str, Any]:
    """Few statements, each run over and over: planned once for each connection.

    Left to itself Postgres plans those that take arrays anew at every call, which costs it more than running them.
    """
    options = _connect_options(settings)
    if "server_settings" in options:
        options["server_settings"]["plan_cache_mode"] = "force_generic_plan"
    return options


async def _nothing_to_reset(_: asyncpg.Connection) -> None:
    """Everything we set is transaction-local, so the driver's RESET ALL would only cost a round trip."""


@event.listens_for(Session, "after_begin")
def _bind(session: Session, _: SessionTransaction, connection: Connection) -> None:
    for setting in session.info["binding"]:
        connection.exec_driver_sql(setting)  # one at a time, because the driver prepares what SQLAlchemy sends


# The driver's InternalClientError has no class in common with its others. It is what a statement meets on a connection
# whose server was killed a moment ago, before the driver has noticed.
_TROUBLES: Final = (
    OSError,
    sa_exc.TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sa_exc.DBAPIError,
)


@contextmanager
def _passing_troubles() -> Iterator[None]:
    """Tells apart what a retry may cure from what is a defect."""
    try:
        yield
    except _TROUBLES as error:
        if _is_passing(error):
            metrics.count_trouble(_reason(error))
            raise UnavailableError("The database is busy or away. Try again in a moment.") from error
        if _misses_patient(error):
            raise NotFoundError("There is no such patient.") from error
        raise


def _reason(error: BaseException | None) -> str:
    match error:
        case sa_exc.TimeoutError() | TimeoutError():
            return "no_connection_in_time"
        case sa_exc.DBAPIError():
            return _reason(error.orig and (error.orig.__cause__ or error.orig))
        case asyncpg.PostgresError():
            return str(error.sqlstate or "unknown")
        case _:
            return "away"


def _misses_patient(error: BaseException) -> bool:
    """Whether something was written about a patient who was erased after the writer had looked."""
    cause = error.orig and error.orig.__cause__ if isinstance(error, sa_exc.DBAPIError) else error
    return isinstance(cause, asyncpg.ForeignKeyViolationError) and str(cause.constraint_name).endswith("_patient")


def _is_passing(error: BaseException) -> bool:
    match error:
        case sa_exc.DBAPIError():
            cause = error.orig and (error.orig.__cause__ or error.orig)
            return error.connection_invalidated or (cause is not None and _is_passing(cause))
        case asyncpg.PostgresError():
            return str(error.sqlstate or "").startswith(_PASSING_SQLSTATES)
        case asyncpg.InterfaceError():
            return not isinstance(error, ValueError)  # a wrong argument is our defect, a closed connection is not
        case _:
            return True  # refused connections, time-outs, connections the driver holds for broken
