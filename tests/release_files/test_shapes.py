"""Nothing is in a table that its tier does not allow, and what is derived from a table shows no more than it."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import count

import pytest

from app.privacy import columns as privacy
from app.privacy.columns import COLUMNS, Role, Tier, columns_of
from app.release_files.exchange import cdisc_qs, cdisc_rows, omop_observation, omop_rows, qs_test_code
from app.release_files.model import ReleaseFileError, Row, TableShape, Value
from app.release_files.shapes import persons, scores, sessions
from app.release_files.wide import answers_of, scores_wide, wide_rows
from app.release_files.writers import write_table
from app.scoring.registry import all_instruments
from tests.release_files.madeup import FULL, INSTRUMENTS, KEYS, PHQ_9, PLAIN, SCORES, full_rows, scores_rows


def shapes_of(tables: Mapping[str, Sequence[privacy.Column]]) -> list[TableShape]:
    return [persons(tables["persons"]), scores(tables["scores"], KEYS), sessions(tables["sessions"])]


def scores_of(tier: Tier) -> TableShape:
    return scores(columns_of(tier)["scores"], KEYS)


def named(shape: TableShape, row: Row) -> dict[str, Value]:
    return dict(zip(shape.names, row, strict=True))


# --- The allow-list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("everything", [False, True])
def test_tables_have_what_the_tier_allows_and_nothing_else(tier: Tier, *, everything: bool) -> None:
    """In its order, with its words."""
    tables = columns_of(tier, [one.full_name for one in COLUMNS if tier in one.tiers] if everything else None)
    for shape in shapes_of(tables):
        allowed = tables[shape.name]
        assert shape.names == tuple(each.name for each in allowed)
        assert [column.description for column in shape.columns] == [each.says for each in allowed]


def test_a_new_column_is_absent_until_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by declaring one; it then is in the derived table too, and only in the tier it was declared for."""
    new = privacy.Column("scores", "language", "string", Role.COURSE, "how", "as stored", frozenset({Tier.EXPERT}))
    assert "language" not in scores_of(Tier.EXPERT).names
    monkeypatch.setattr(privacy, "COLUMNS", (*COLUMNS, new))
    assert scores_of(Tier.EXPERT).names[-1] == "language"
    assert "phq_9_v1_language" in scores_wide(scores_of(Tier.EXPERT), INSTRUMENTS).names
    assert "language" not in scores_of(Tier.SAFE_HARBOR).names


@pytest.mark.parametrize("derive", [omop_observation, cdisc_qs, lambda shape: scores_wide(shape, INSTRUMENTS)])
@pytest.mark.parametrize("tier", Tier)
def test_derived_tables_have_no_date_that_the_tier_lacks(derive: object, tier: Tier) -> None:
    """And no day."""
    assert callable(derive)
    kinds = Counter(column.kind for column in derive(scores_of(tier)).columns)
    assert (kinds["date"] > 0) == (tier is Tier.LIMITED_DATA_SET)
    assert not {"day", "QSDY"} & set(derive(scores_of(tier)).names)


def test_what_a_standard_wants_and_the_release_lacks_is_told() -> None:
    """In the description of the table, which is in both dictionaries."""
    assert omop_observation(SCORES).description.endswith(
        " Not in this release: observation_date, day, answers to single items."
    )
    assert cdisc_qs(SCORES).description.endswith(" Not in this release: QSDTC, QSDY, answers to single items.")
    assert "Not in this release" not in omop_observation(FULL).description + cdisc_qs(FULL).description


@pytest.mark.parametrize("derive", [omop_observation, cdisc_qs])
def test_what_a_standard_has_no_place_for_is_told(derive: Callable[[TableShape], TableShape]) -> None:
    """A column that was asked for is lost in no shape without a word."""
    asked = columns_of(Tier.SAFE_HARBOR, [*PLAIN, "scores.mode", "scores.severity"])
    told = derive(scores(asked["scores"], KEYS))
    assert told.description.endswith(" In `scores` and `scores_wide` alone: severity, mode.")
    assert {"mode", "severity"}.isdisjoint(told.names)
    assert "alone" not in derive(SCORES).description


def test_derived_rows_are_made_of_their_tables_alone() -> None:
    """Without answers in `scores` there are none in any shape."""
    for shape, rows in (
        (omop_observation(SCORES), list(omop_rows(SCORES, INSTRUMENTS, scores_rows()))),
        (cdisc_qs(SCORES), list(cdisc_rows(SCORES, INSTRUMENTS, scores_rows(), "r1"))),
    ):
        assert len(rows) == len(scores_rows())
        write_table("csv", shape, [rows], io.BytesIO())
    assert not any("item" in name for name in scores_wide(SCORES, INSTRUMENTS).names)


# --- Beside each other ------------------------------------------------------------------------------------------------


def test_forms_of_one_time_stand_in_one_row() -> None:
    """Times in order, an unknown one last; a missing form is empty and counted as none."""
    shape = scores_wide(SCORES, INSTRUMENTS)
    rows = list(wide_rows(SCORES, INSTRUMENTS, reversed_weeks(scores_rows())))
    assert shape.names == (
        "patient",
        "week",
        *("phq_9_v1_forms", "phq_9_v1_total", "phq_9_v1_validity"),
        *("pcl_5_week_v1_forms", "pcl_5_week_v1_total", "pcl_5_week_v1_validity"),
    )
    assert rows == [
        ("0a", -1, 1, 19, "valid", 1, 41, "valid"),
        ("0a", 4, 1, 10.125, "prorated", 0, None, None),
        ("0b", 0, 1, None, "incomplete", 0, None, None),
        ("f0", None, 1, 7, "valid", 0, None, None),
    ]
    assert write_table("parquet", shape, [rows], io.BytesIO()).rows == 4


def reversed_weeks(rows: list[Row]) -> list[Row]:
    return [row for name in ("0a", "0b", "f0") for row in reversed(rows) if row[0] == name]


def test_of_two_forms_in_a_week_one_is_drawn_and_both_are_counted() -> None:
    """Nothing is averaged, and neither the lower nor the higher is preferred: half of the people show each."""
    rows: list[Row] = [(f"{person:04x}", 2, "phq-9@1", total, "valid") for person in range(400) for total in (9, 12)]
    told = list(wide_rows(SCORES, INSTRUMENTS[:1], rows))
    assert {row[2] for row in told} == {2}
    totals = Counter(row[3] for row in told)
    assert sum(totals.values()) == 400
    assert min(totals[9], totals[12]) > 150
    assert told == list(wide_rows(SCORES, INSTRUMENTS[:1], rows))


def test_a_form_with_a_total_is_drawn_before_one_without() -> None:
    """Somebody sent half a form, and then the whole."""
    rows: list[Row] = [
        row
        for person in range(20)
        for row in (
            (f"{person:02x}", 2, "phq-9@1", 9, "valid"),
            (f"{person:02x}", 2, "phq-9@1", None, "incomplete"),
        )
    ]
    assert {row[2:] for row in wide_rows(SCORES, INSTRUMENTS[:1], rows)} == {(2, 9, "valid")}


def test_answers_are_columns_where_the_release_has_them() -> None:
    """With the item's own words as description."""
    shape = scores_wide(FULL, INSTRUMENTS[:1])
    items = [column for column in shape.columns if "_item_" in column.name]
    assert [column.description for column in items] == [item.text for item in PHQ_9.items]
    row = named(shape, next(wide_rows(FULL, INSTRUMENTS[:1], full_rows()[1:2])))
    assert [row[column.name] for column in items] == [2, None, 3, 2, 0, 1, 1, 0, 0, None]
    assert (row["day"], row["taken_on"]) == (2, date(2026, 3, 4))


def test_more_answers_than_items_are_a_mistake() -> None:
    """Of another version of the instrument, perhaps."""
    with pytest.raises(ReleaseFileError, match="fewer items"):
        answers_of(PHQ_9, "[0,0,0,0,0,0,0,0,0,0,0]")


# --- OMOP -------------------------------------------------------------------------------------------------------------


def test_omop_rows_carry_source_codes_and_belong_to_their_total() -> None:
    """LOINC where the instrument has it, else our own and said so; concept ids are left to the site."""
    shape = omop_observation(FULL)
    rows = [named(shape, row) for row in omop_rows(FULL, INSTRUMENTS, full_rows())]
    assert [row["observation_id"] for row in rows] == list(range(1, len(rows) + 1))
    total, first, *_ = rows
    assert (total["observation_source_value"], total["value_as_number"]) == ("44261-6", 10)
    assert (total["qualifier_source_value"], total["observation_event_id"]) == ("valid", 1)
    assert (first["observation_source_value"], first["value_as_number"]) == ("44250-9", 2)
    assert (first["value_source_value"], first["observation_event_id"]) == ("LA6570-1", 1)
    assert {row["observation_concept_id"] for row in rows} == {0}
    on = omop_rows(FULL, INSTRUMENTS, full_rows()[1:], numbers=count(12))
    assert list(on) == [tuple(row.values()) for row in rows[11:]], "a batch goes on where the last one ended"
    second = [row for row in rows if row["observation_event_id"] == 12]
    assert len(second) == 1 + 8, "an item that was left out is no observation"
    last = rows[-1]
    assert (last["observation_source_value"], last["source_vocabulary"]) == ("pcl-5-week@1/20", "Tidemark")
    assert last["value_source_value"] == "A little bit"
    assert write_table("parquet", shape, [[tuple(row.values()) for row in rows]], io.BytesIO()).rows == len(rows)


# --- CDISC ------------------------------------------------------------------------------------------------------------


def test_cdisc_rows_of_a_phq_9_have_the_published_codes() -> None:
    """PHQ0101 to PHQ0110 and the total PHQ0111; what was left out is NOT DONE."""
    shape = cdisc_qs(FULL)
    rows = [named(shape, row) for row in cdisc_rows(FULL, INSTRUMENTS, full_rows(), "r1")]
    form, holed, pcl = rows[:11], rows[11:22], rows[22:]
    assert [row["QSTESTCD"] for row in form] == [f"PHQ01{number:02}" for number in range(1, 12)]
    assert {row["TMCODES"] for row in form} == {"CDISC"}
    assert (form[0]["QSTEST"], form[0]["QSORRES"]) == ("PHQ01-Little Interest", "More than half the days")
    assert (form[0]["QSSTRESC"], form[0]["QSSTRESN"], form[0]["QSEVLINT"]) == ("2", 2, "-P2W")
    assert (form[-1]["QSDRVFL"], form[-1]["QSORRES"], form[-1]["QSDY"]) == ("Y", "10", 1)
    assert [row["QSSEQ"] for row in rows[:22]] == list(range(1, 23))
    assert pcl[0]["QSSEQ"] == 1, "counted within the person"
    assert (holed[1]["QSSTAT"], holed[1]["QSORRES"], holed[1]["QSSTRESN"]) == ("NOT DONE", None, None)
    assert (holed[-1]["QSSTRESN"], holed[-1]["TMVALID"]) == (10.125, "prorated")
    write_table("csv", shape, [[tuple(row.values()) for row in rows]], io.BytesIO())


def test_cdisc_codes_of_the_pcl_5_are_a_sponsors() -> None:
    """None were found in the published terminology, and every row says so."""
    shape = cdisc_qs(FULL)
    rows = [named(shape, row) for row in cdisc_rows(FULL, INSTRUMENTS, full_rows()[2:], "r1")]
    assert [row["QSTESTCD"] for row in rows] == [f"PCL5{number:02}" for number in range(1, 22)]
    assert {row["TMCODES"] for row in rows} == {"sponsor"}
    assert {row["QSTEST"] for row in rows} == {None}
    assert (rows[0]["QSDY"], rows[0]["QSDTC"], rows[0]["VISITNUM"]) == (-3, date(2026, 2, 27), -1)
    assert rows[0]["QSEVLINT"] == "-P1W"


def test_every_instrument_has_codes_of_its_own_that_sdtm_takes() -> None:
    """Eight characters at most, a letter first, none shared but by the two windows of the PCL-5."""
    used: Counter[str] = Counter()
    for instrument in all_instruments():
        codes = [qs_test_code(instrument, number) for number in range(1, len(instrument.items) + 2)]
        assert all(re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", code) for code in codes)
        used.update(codes)
    assert {code[:4] for code, times in used.items() if times > 1} == {"PCL5"}


def test_an_answer_that_the_item_does_not_have_is_not_passed_on() -> None:
    """It would have no words and no code."""
    row = (*full_rows()[0][:-1], "[9]")
    with pytest.raises(ReleaseFileError, match="no answer"):
        list(omop_rows(FULL, INSTRUMENTS, [row]))


def test_a_form_of_an_instrument_that_was_not_named_is_refused() -> None:
    """Rather than left out without a word."""
    for rows in (omop_rows(SCORES, INSTRUMENTS[1:], scores_rows()), wide_rows(SCORES, INSTRUMENTS[1:], scores_rows())):
        with pytest.raises(ReleaseFileError, match="not of this table"):
            list(rows)
