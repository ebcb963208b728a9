"""Shapes and rows that the tests of this folder share. Nobody in them is real."""

from datetime import date
from typing import Any

from app.privacy.columns import Tier, columns_of
from app.release_files.model import Column, Row, TableShape
from app.release_files.shapes import persons, scores
from app.scoring.registry import get_instrument

PHQ_9 = get_instrument("phq-9@1")
PCL_5 = get_instrument("pcl-5-week@1")
INSTRUMENTS = (PHQ_9, PCL_5)
KEYS = tuple(instrument.key for instrument in INSTRUMENTS)
TABLES = columns_of(Tier.SAFE_HARBOR)
PERSONS, SCORES = persons(TABLES["persons"]), scores(TABLES["scores"], KEYS)
PLAIN = tuple(column.full_name for column in TABLES["scores"])
MORE = ("scores.taken_on", "scores.day", "scores.responses")
FULL = scores(columns_of(Tier.LIMITED_DATA_SET, [*PLAIN, *MORE])["scores"], KEYS)

EVERY_KIND = TableShape(
    "kinds",
    (
        Column("patient", "text", "who"),
        Column("words", "text", "any text"),
        Column("whole", "integer", "any whole number"),
        Column("real", "number", "any number"),
        Column("truth", "boolean", "yes or no"),
        Column("day", "date", "any day"),
        Column("colour", "category", "one of two", None, ("red", "=blue")),
    ),
    (),
    "One column of each kind.",
)
EVERY_ROW: list[Row] = [
    ("0a", "plain", 1, 10.0, True, date(2026, 3, 2), "red"),
    ("0a", "=1+1", -7, -0.5, False, date(1931, 12, 31), "=blue"),
    ("0b", 'a "quoted", cut\r\nline', None, None, None, None, None),
    ("0b", None, 2**53 + 1, 10.125, True, date(9999, 1, 1), None),
]

RELEASE: dict[str, Any] = {
    "id": "7f3c",
    "request": {"purpose": "does it last", "tier": "safe_harbor"},
    "instruments": list(KEYS),
    "known_at": "2026-03-02T09:00:00+00:00",
    "persons_out": 3,
    "k": 3,
    "l": 2,
    "t": 0.25,
    "unique_by_weeks": {"alone_rate": 1.0, "small_rate": 1.0},
    "unique_by_sessions": {"alone_rate": 0.5, "small_rate": 1.0},
    "unique_by_two_totals": {"alone_rate": 2 / 3, "small_rate": 1.0},
    "beside_earlier_releases": None,
    "columns": [{"table": one.table, "name": one.name} for table in ("persons", "scores") for one in TABLES[table]],
}


def persons_rows() -> list[Row]:
    return [
        (name, "30-39", "2026", "ketamine_assisted", "ketamine", "oral", "100-149", category)
        for name, category in (("0a", "improved"), ("0b", "unchanged"), ("f0", None))
    ]


def scores_rows() -> list[Row]:
    return [
        ("0a", -1, "phq-9@1", 19, "valid"),
        ("0a", -1, "pcl-5-week@1", 41, "valid"),
        ("0a", 4, "phq-9@1", 10.125, "prorated"),
        ("0b", 0, "phq-9@1", None, "incomplete"),
        ("f0", None, "phq-9@1", 7, "valid"),
    ]


def full_rows() -> list[Row]:
    """In the order of FULL: patient, week, instrument, total, validity, taken_on, day, responses."""
    whole, holed = "[2,1,3,2,0,1,1,0,0,1]", "[2,null,3,2,0,1,1,0,0]"
    return [
        ("0a", 0, "phq-9@1", 10, "valid", date(2026, 3, 2), 0, whole),
        ("0a", 0, "phq-9@1", 10.125, "prorated", date(2026, 3, 4), 2, holed),
        ("0b", -1, "pcl-5-week@1", 20, "valid", date(2026, 2, 27), -3, f"[{','.join('1' * 20)}]"),
    ]
