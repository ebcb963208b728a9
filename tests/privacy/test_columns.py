"""What is not declared is not in a release."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.columns import COLUMNS, NotAllowedError, Role, Tier, columns_of, only_declared
from app.privacy.ladders import LADDERS

TABLES = sorted({column.table for column in COLUMNS})
NAMES = sorted(column.full_name for column in COLUMNS)
TELLING = {f"scores.{name}" for name in ("day", "hours_since_dose", "responses", "subscales")}  # to the day; answers


@pytest.mark.parametrize("table", TABLES)
@given(st.dictionaries(st.text(), st.integers()))
@settings(max_examples=50, deadline=None)
def test_a_new_column_is_out_by_default(table: str, extra: dict[str, int]) -> None:
    """Whatever else a row holds, only what is declared leaves, in the declared order."""
    columns = columns_of(Tier.LIMITED_DATA_SET)[table]
    names = [column.name for column in columns]
    assert list(only_declared({**extra, **dict.fromkeys(names, 0)}, columns)) == names


def test_safe_harbor_has_no_date_no_day_and_no_answers() -> None:
    """Asked for or not; days are not weeks, and item answers are fingerprints."""
    columns = [column for table in columns_of(Tier.SAFE_HARBOR).values() for column in table]
    assert "date" not in {column.type for column in columns}
    for name in (*TELLING, "scores.taken_on", "sessions.started_on"):
        assert name not in {column.full_name for column in columns}
        with pytest.raises(NotAllowedError, match=name):
            columns_of(Tier.SAFE_HARBOR, asked=["scores.week", name])


def test_only_the_limited_data_set_has_dates() -> None:
    """Under its agreement; an expert's release has distances."""
    dated = {tier for column in COLUMNS if column.type == "date" for tier in column.tiers}
    assert dated == {Tier.LIMITED_DATA_SET}


@pytest.mark.parametrize("tier", Tier)
@given(st.sets(st.sampled_from([*NAMES, "scores.zone", "total"]), max_size=6))
@settings(max_examples=50, deadline=None)
def test_what_a_purpose_names_comes_and_nothing_else(tier: Tier, asked: set[str]) -> None:
    """With the pseudonym, in the declared order; or all that the tier does not have is named."""
    allowed = [column.full_name for column in COLUMNS if tier in column.tiers]
    if not asked <= set(allowed):
        with pytest.raises(NotAllowedError) as refused:
            columns_of(tier, asked)
        assert set(refused.value.names) == asked - set(allowed)
        return
    told = columns_of(tier, asked)
    wanted = {name for name in asked if not name.endswith(".patient")}
    tables = {name.split(".")[0] for name in wanted}
    names = {column.full_name for columns in told.values() for column in columns}
    assert (set(told), names) == (tables, wanted | {f"{table}.patient" for table in tables})
    assert all(list(columns) == [one for one in COLUMNS if one in columns] for columns in told.values())


def test_some_columns_come_only_when_they_are_named() -> None:
    """Those that tell more than most questions need."""
    asked = {column.full_name for column in COLUMNS if column.when_asked}
    assert asked == TELLING | {f"scores.{name}" for name in ("severity", "mode", "dose_number", "since_dose")}
    unasked = {column.full_name for columns in columns_of(Tier.EXPERT).values() for column in columns}
    assert not asked & unasked


def test_every_table_names_people_by_pseudonym_and_each_column_once() -> None:
    """And every declaration says what the column is and how it came about."""
    for table in TABLES:
        columns = [column for column in COLUMNS if column.table == table]
        assert [column.name for column in columns if column.role is Role.PSEUDONYM] == ["patient"]
        assert len({column.name for column in columns}) == len(columns)
    assert all(column.says and column.made_by and column.tiers for column in COLUMNS)


def test_every_quasi_identifier_has_its_ladder() -> None:
    """In the same order, so that nothing an outsider may know is told as it is."""
    declared = [column.name for column in COLUMNS if column.role is Role.QUASI_IDENTIFIER]
    assert [ladder.name for ladder in LADDERS] == declared


def test_a_declared_column_that_is_missing_is_a_mistake() -> None:
    """Not an empty cell."""
    with pytest.raises(KeyError):
        only_declared({"patient": "0a"}, columns_of(Tier.SAFE_HARBOR)["scores"])
