"""What the declarations say, held against the printed forms and codes."""

from typing import Final

import pytest

from app.scoring import all_instruments, get_instrument
from app.scoring.model import Direction, Instrument

SHAPES: Final = {  # id: scored items, lowest and highest answer, minimum, maximum, recall days
    "gad-7": (7, 0, 3, 0, 21, 14),
    "pc-ptsd-5": (5, 0, 1, 0, 5, 30),
    "pcl-5-month": (20, 0, 4, 0, 80, 30),
    "pcl-5-week": (20, 0, 4, 0, 80, 7),
    "phq-2": (2, 0, 3, 0, 6, 14),
    "phq-8": (8, 0, 3, 0, 24, 14),
    "phq-9": (9, 0, 3, 0, 27, 14),
    "who-5": (5, 0, 5, 0, 100, 14),
}


@pytest.mark.parametrize("instrument", all_instruments(), ids=lambda each: each.id)
def test_shape(instrument: Instrument) -> None:
    """Number of items, answers, range and window are those of the printed form."""
    values = [answer.value for item in instrument.scored_items for answer in item.answers]
    shape = (len(instrument.scored_items), min(values), max(values), instrument.minimum, instrument.maximum)
    assert (*shape, instrument.recall_days) == SHAPES[instrument.id]


def test_only_well_being_is_better_when_higher() -> None:
    """Symptoms fall as people recover, well-being rises."""
    higher = {each.id for each in all_instruments() if each.direction is Direction.HIGHER_IS_BETTER}
    assert higher == {"who-5"}


def test_difficulty_codes_are_out_of_order() -> None:
    """LOINC numbered 'very' above 'extremely': LA6575-0 is 2, LA6574-3 is 3."""
    answers = [(each.value, each.loinc) for each in get_instrument("phq-9").items[9].answers]
    assert answers == [(0, "LA6572-7"), (1, "LA6573-5"), (2, "LA6575-0"), (3, "LA6574-3")]


def test_item_codes_of_the_phq_9() -> None:
    """LOINC item codes in the order of the form; they do not run with the item numbers."""
    assert [each.loinc for each in get_instrument("phq-9").items] == [
        "44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8", "69722-7",
    ]  # fmt: skip


LETTERS: Final = {"": 0, "LA": 5}  # what the prefix of an answer code adds to the sum


def has_loinc_check_digit(code: str) -> bool:
    """Modulus 10, every second digit from the right doubled."""
    prefix = "LA" if code.startswith("LA") else ""
    body, _, digit = code.removeprefix(prefix).partition("-")
    doubled = [int(each) * (2 if place % 2 == 0 else 1) for place, each in enumerate(reversed(body))]
    return (LETTERS[prefix] + sum(each // 10 + each % 10 for each in doubled) + int(digit)) % 10 == 0


@pytest.mark.parametrize("instrument", all_instruments(), ids=lambda each: each.id)
def test_loinc_codes_carry_their_check_digit(instrument: Instrument) -> None:
    """A mistyped code fails its own check digit."""
    codes = [instrument.loinc_panel, instrument.loinc_total]
    for item in instrument.items:
        codes += [item.loinc, *(answer.loinc for answer in item.answers)]
    assert [code for code in codes if code and not has_loinc_check_digit(code)] == []


def test_short_forms_are_the_phq_9() -> None:
    """PHQ-2 and PHQ-8 ask the very same items."""
    items = get_instrument("phq-9").items
    assert get_instrument("phq-2").items == items[:2]
    assert get_instrument("phq-8").items == items[:8]


def test_phq_8_asks_nothing_about_self_harm() -> None:
    """Without item 9 there is no critical item and no code of it."""
    assert get_instrument("phq-8").critical_items == ()
    assert [each.item for each in get_instrument("phq-9").critical_items] == [9]


def test_the_two_pcl_5_differ_in_their_window_alone() -> None:
    """Same items, answers and rules; the instruction speaks of month or week."""
    month, week = get_instrument("pcl-5-month"), get_instrument("pcl-5-week")
    assert month.items == week.items
    assert month.thresholds == week.thresholds
    assert month.instruction.replace("the past month", "the past week") == week.instruction
    assert month.instruction != week.instruction


def test_clusters_share_out_all_items_of_the_pcl_5() -> None:
    """B, C, D and E hold 5, 2, 7 and 6 items, each item once."""
    clusters = get_instrument("pcl-5-month").subscales
    assert [(each.code, len(each.items)) for each in clusters] == [("B", 5), ("C", 2), ("D", 7), ("E", 6)]
    assert sorted(number for each in clusters for number in each.items) == list(range(1, 21))


def test_no_bands_where_none_are_empirical() -> None:
    """PCL-5, the two screens and the WHO-5 have no severity bands."""
    assert {each.id for each in all_instruments() if each.bands} == {"gad-7", "phq-8", "phq-9"}


DEFAULTS: Final = {
    ("phq-9", "reliable_change"): 6,
    ("phq-9", "minimal_important_difference"): 5,
    ("phq-9", "response"): 0.5,
    ("phq-9", "partial_response"): 0.25,
    ("phq-9", "remission"): 5,
    ("pcl-5-month", "reliable_change"): 15,
    ("pcl-5-week", "reliable_change"): 15,
    ("pcl-5-month", "clinically_significant"): 28,
    ("pcl-5-month", "remission"): 33,
    ("gad-7", "reliable_change"): 4,
    ("who-5", "minimal_important_difference"): 10,
}


@pytest.mark.parametrize(("where", "value"), DEFAULTS.items(), ids=str)
def test_default_thresholds(where: tuple[str, str], value: float) -> None:
    """The number that categories use is the one the sources give."""
    id_, rule = where
    (default,) = [each for each in get_instrument(id_).thresholds if each.rule == rule and each.is_default]
    assert default.value == value


def test_pcl_5_shows_all_published_reliable_changes() -> None:
    """10, 12, 15 and 18 stand side by side, each with its source."""
    values = [each.value for each in get_instrument("pcl-5-month").thresholds if each.rule == "reliable_change"]
    assert values == [10, 12, 15, 18]
