"""A release of thousands of people, built by the column, against the pure core applied to one row after the other."""

import asyncio
import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.db import Database
from app.embedded_postgres import PostgresAddress
from app.privacy.dates import since_dose_band, week_index
from app.release_files import rows
from app.schemas.releases import ReleaseCreate
from app.scoring import get_instrument, score
from app.scoring.episode import episode_at, place, stretch
from app.scoring.model import Point, Validity
from app.scoring.standing import standing
from app.scoring.treatment import usual_baseline
from app.services import release_rows
from app.services.histories import History, find_histories
from app.services.patient_records import whole
from app.services.release_builds import build_next
from app.services.release_contents import Built, Step, build
from app.services.release_downloads import open_file
from app.services.release_records import Source
from app.settings import Settings
from benchmarks.cohort import INSTRUMENTS, Cohort, add_release, fill

pytestmark = pytest.mark.anyio

PEOPLE, FORMS = 2_000, 6_000
ASKED: dict[str, Any] = {
    "purpose": "Whether columns say what rows said",
    "recipient": "University of Example",
    "tier": "limited_data_set",
    "agreement": "DUA 7",
    "instruments": list(INSTRUMENTS),
    "formats": ["csv"],
}
SCORES = (  # all there are but the pseudonym
    "week", "instrument", "total", "validity", "taken_on", "day", "responses", "severity", "mode", "dose_number",
    "since_dose", "hours_since_dose", "subscales",
)  # fmt: skip
ALL = [f"scores.{name}" for name in SCORES] + ["persons.category", "sessions.week"]

# Every seventh form corrected, every eleventh of these voided, every fifth correction after the release's time.
CORRECT = """
INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at, taken_at_offset_minutes, received_at, mode, language, status, reason, recorded_by, fingerprint)
SELECT clinic_id, id, 2, patient_id, instrument, instrument_version, responses, validity, total,
    taken_at + interval '90 minutes', 120, $2::timestamptz + (n % 5 = 0)::int * interval '1 hour', 'interview',
    language, CASE WHEN n % 11 = 0 THEN 'entered_in_error' ELSE 'amended' END, '\\x00', recorded_by, '\\x5b'
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM assessment WHERE clinic_id = $1) numbered
WHERE n % 7 = 0
"""
NEWEST = """
SELECT * FROM (
  SELECT DISTINCT ON (id) * FROM assessment WHERE clinic_id = $1 AND received_at <= $2 ORDER BY id, version DESC
) newest
WHERE status <> 'entered_in_error' ORDER BY patient_id, taken_at, id
"""


@pytest.fixture(scope="module")
async def cohort(address: PostgresAddress) -> Cohort:
    return await fill(address, FORMS, PEOPLE)


@pytest.fixture(scope="module")
async def known_at(database: Database, cohort: Cohort) -> datetime:
    """A time at which some corrections were known."""
    at = datetime.now(UTC)
    async with database.connection(cohort.clinic_id) as connection:
        await connection.execute(CORRECT, cohort.clinic_id, at)
    return at


async def built(
    database: Database,
    cohort: Cohort,
    known_at: datetime,
    stack: AsyncExitStack,
    names: dict[UUID, str],
    columns: Sequence[str] = tuple(ALL),
) -> Built:
    async def nothing(_persons: int, _rows: int) -> None:
        pass

    asked = ReleaseCreate.model_validate(ASKED | {"columns": [*columns]})
    connection = await stack.enter_async_context(database.snapshot(cohort.clinic_id, 120))
    source = Source(connection, database.keys, cohort.clinic_id, cohort.clinic_id, asked, known_at)
    return await build(source, lambda ids: {id_: names[id_] for id_ in ids}, Step(nothing), stack)


def read(made: Built, name: str) -> list[dict[str, str]]:
    made.files[name].seek(0)
    return list(csv.DictReader(io.StringIO(made.files[name].read().decode())))


# --- The oracle -------------------------------------------------------------------------------------------------------


def told(form: asyncpg.Record, history: History) -> dict[str, Any]:
    """One row, each cell by the function of the core that is meant."""
    instrument = get_instrument(f"{form['instrument']}@{form['instrument_version']}")
    scored = score(instrument, form["responses"])
    start = min(dose.started_at for episode in history for dose in episode.doses)
    context = place(form["taken_at"], history, instrument.recall_days).context
    local = form["taken_at"].astimezone(timezone(timedelta(minutes=form["taken_at_offset_minutes"])))
    return {
        "week": week_index(start, form["taken_at"]),
        "instrument": instrument.key,
        "total": whole(form["total"]),
        "validity": form["validity"],
        "taken_on": date.isoformat(local),
        "day": (form["taken_at"] - start) // timedelta(days=1),
        "responses": json.dumps(form["responses"], separators=(",", ":")),
        "severity": scored.severity.code if scored.severity else None,
        "mode": form["mode"],
        "dose_number": context.dose_number,
        "since_dose": since_dose_band(context.hours_since_dose),
        "hours_since_dose": whole(context.hours_since_dose),
        "subscales": json.dumps(scored.subscales, separators=(",", ":")) if scored.subscales else None,
    }


def category(forms: Iterable[asyncpg.Record], history: History, known_at: datetime) -> str:
    """Of the whole course, by what a caseload is made of."""
    episode = episode_at(known_at, history)
    assert episode is not None
    start, end = stretch(episode, history)
    points = [
        Point(str(form["id"]), form["taken_at"], whole(form["total"]), Validity(form["validity"]))
        for form in forms
        if form["instrument"] == "phq-9" and form["taken_at"] >= start and (end is None or form["taken_at"] < end)
    ]
    found = standing(get_instrument("phq-9"), points, episode.doses, usual_baseline(points, episode.doses))
    return "" if found is None or found.category is None else found.category.value


def text(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple("" if value is None else str(value) for value in row.values())


# --- Tests ------------------------------------------------------------------------------------------------------------


async def test_every_cell_is_what_the_core_says_of_the_form(
    database: Database, cohort: Cohort, known_at: datetime
) -> None:
    """Newest version known then, not entered in error; all columns there are; nobody's category another's."""
    names = {id_: uuid4().hex for id_ in cohort.patients}
    async with AsyncExitStack() as stack:
        made = await built(database, cohort, known_at, stack, names)
        scores, people = read(made, "scores.csv"), read(made, "persons.csv")
    async with database.connection(cohort.clinic_id) as connection:
        histories = await find_histories(connection, cohort.clinic_id, cohort.patients, known_at)
        rows = await connection.fetch(NEWEST, cohort.clinic_id, known_at)
    forms = defaultdict(list)
    for row in rows:
        forms[row["patient_id"]].append(row)
    assert {row["patient"]: row["category"] for row in people} == {
        names[id_]: category(forms[id_], histories[id_], known_at) for id_ in cohort.patients
    }
    assert len({row["category"] for row in people}) > 3
    expected = Counter((names[row["patient_id"]], *text(told(row, histories[row["patient_id"]]))) for row in rows)
    assert Counter(tuple(row.values()) for row in scores) == expected
    assert len({row["mode"] for row in scores}) == 2
    assert made.manifest["persons_out"] == PEOPLE
    assert [row["patient"] for row in scores] == sorted(row["patient"] for row in scores)


@pytest.mark.parametrize("column", ["total", "severity", "subscales", "dose_number", "hours_since_dose"])
async def test_a_column_alone_says_what_it_says_beside_others(
    database: Database, cohort: Cohort, known_at: datetime, column: str
) -> None:
    """Though what it is made of is not told then."""
    names = {id_: uuid4().hex for id_ in cohort.patients}
    async with AsyncExitStack() as stack:
        whole = read(await built(database, cohort, known_at, stack, names), "scores.csv")
        alone = read(await built(database, cohort, known_at, stack, names, [f"scores.{column}"]), "scores.csv")
    assert set(alone[0]) == {"patient", column}
    assert Counter((row["patient"], row[column]) for row in whole) == Counter(tuple(row.values()) for row in alone)


async def test_files_do_not_hang_on_how_much_is_in_memory(
    database: Database, cohort: Cohort, known_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on how many people are read at once, nor on how much is remembered of the rows before."""
    names = {id_: uuid4().hex for id_ in cohort.patients}
    facts = []
    for at_once, known in ((release_rows.AT_ONCE, rows.MOST_KNOWN), (7, 5)):
        monkeypatch.setattr(release_rows, "AT_ONCE", at_once)
        monkeypatch.setattr(rows, "MOST_KNOWN", known)
        async with AsyncExitStack() as stack:
            made = await built(database, cohort, known_at, stack, names)
        facts.append(made.manifest)
    assert facts[0] == facts[1]
    assert {one["name"] for one in facts[0]["files"]} >= {"persons.csv", "scores.csv", "sessions.csv"}


async def test_two_workers_build_two_releases_at_once(address: PostgresAddress, cohort: Cohort) -> None:
    """Each a release of its own; the same forms under other names, and nobody under both."""
    databases = [Database(address.runtime_url, Settings()) for _ in range(2)]
    async with AsyncExitStack() as stack:
        for database in databases:
            await database.open()
            stack.push_async_callback(database.close)
        asked = ReleaseCreate.model_validate(ASKED | {"tier": "safe_harbor", "disclosure": {"k": 20}})
        ids = [await add_release(databases[0], cohort, asked) for _ in range(2)]
        assert await asyncio.gather(*(build_next(database, cohort.clinic_id) for database in databases)) == [1, 1]
        first, second = [await downloaded(databases[0], cohort.clinic_id, id_) for id_ in ids]
    assert {row["patient"] for row in first} & {row["patient"] for row in second} == set()
    shown = [Counter(tuple(row.values())[1:] for row in each) for each in (first, second)]
    assert shown[0] == shown[1]
    assert shown[0].total() > FORMS * 0.8


async def downloaded(database: Database, clinic_id: UUID, release_id: UUID) -> list[dict[str, str]]:
    async with database.connection(clinic_id) as connection:
        query = "SELECT status, manifest FROM release WHERE id = $1"
        row = await connection.fetchrow(query, release_id)
    assert row["status"] == "ready"
    (file,) = [one for one in json.loads(row["manifest"])["files"] if one["name"] == "scores.csv"]
    pieces: AsyncIterator[bytes] = await open_file(database, clinic_id, release_id, file)
    whole_file = b"".join([piece async for piece in pieces])
    assert len(whole_file) == file["bytes"]
    return list(csv.DictReader(io.StringIO(whole_file.decode())))
