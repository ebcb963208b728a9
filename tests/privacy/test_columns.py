"""What is not declared is not in a release."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.columns import COLUMNS, NotAllowedError, Role, Tier, columns_of, only_declared
from app.privacy.ladders import LADDERS

TABLES = sorted({column.table for column in COLUMNS})
ASKABLE = sorted({column.name for column in COLUMNS if column.when_asked})
TELLING = {"day", "hours_since_dose", "responses", "subscales"}  # times to the day or hour, and answers


@pytest.mark.parametrize("table", TABLES)
@given(st.dictionaries(st.text(), st.integers()))
@settings(max_examples=50, deadline=None)
def test_a_new_column_is_out_by_default(table: str, extra: dict[str, int]) -> None:
    """Whatever else a row holds, only what is declared leaves, in the declared order."""
    columns = columns_of(table, Tier.LIMITED_DATA_SET)
    names = [column.name for column in columns]
    assert list(only_declared({**extra, **dict.fromkeys(names, 0)}, columns)) == names


@pytest.mark.parametrize("table", TABLES)
def test_safe_harbor_has_no_date_no_day_and_no_answers(table: str) -> None:
    """Asked for or not; days are not weeks, and item answers are fingerprints."""
    columns = columns_of(table, Tier.SAFE_HARBOR)
    assert not {"date"} & {column.type for column in columns}
    for name in (*TELLING, "taken_on", "started_on"):
        assert name not in {column.name for column in columns}
        with pytest.raises(NotAllowedError, match=name):
            columns_of(table, Tier.SAFE_HARBOR, asked=[name])


def test_only_the_limited_data_set_has_dates() -> None:
    """Under its agreement; an expert's release has distances."""
    dated = {tier for column in COLUMNS if column.type == "date" for tier in column.tiers}
    assert dated == {Tier.LIMITED_DATA_SET}


def test_what_a_purpose_names_comes_where_the_tier_has_it() -> None:
    """And not without being named."""
    plain = {column.name for column in columns_of("scores", Tier.EXPERT)}
    asked = {column.name for column in columns_of("scores", Tier.EXPERT, asked=ASKABLE)}
    assert asked - plain == set(ASKABLE) == TELLING | {"severity", "mode", "dose_number", "since_dose"}


def test_every_table_names_people_by_pseudonym_and_each_column_once() -> None:
    """And every declaration says what the column is and how it came about."""
    for table in TABLES:
        columns = [column for column in COLUMNS if column.table == table]
        assert [column.name for column in columns if column.role is Role.PSEUDONYM] == ["patient"]
        assert len({column.name for column in columns}) == len(columns)
    assert all(column.says and column.made_by and column.tiers for column in COLUMNS)
    assert columns_of("users", Tier.EXPERT) == ()


def test_every_quasi_identifier_has_its_ladder() -> None:
    """In the same order, so that nothing an outsider may know is told as it is."""
    declared = [column.name for column in COLUMNS if column.role is Role.QUASI_IDENTIFIER]
    assert [ladder.name for ladder in LADDERS] == declared


def test_a_declared_column_that_is_missing_is_a_mistake() -> None:
    """Not an empty cell."""
    with pytest.raises(KeyError):
        only_declared({"patient": "0a"}, columns_of("scores", Tier.SAFE_HARBOR))
