"""The page about cohorts names what there is: parameters, bands, time points, measures, periods."""

from typing import get_args

import pytest

from app.privacy.budget import QUESTIONS
from app.privacy.cells import SMALLEST_CELL
from app.schemas.cohort_pictures import Picture
from app.scoring.cohort_course import DOSE_BANDS, DOSE_COUNTS, PAIRS, TIME_POINTS, CohortFilter, Outcome
from app.scoring.quality_measures import CMS159_DAYS, DRRE_FROM, DRRE_TO, INDEX_ABOVE
from app.services.cohorts import PERIOD, STAFF_PERIOD
from tests.docs.documents import ROOT


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "cohorts.md").read_text(encoding="utf-8")


def test_every_name_stands_on_it(page: str) -> None:
    """In backquotes, as it is spelt."""
    names = [*CohortFilter.__dataclass_fields__, *DOSE_BANDS, *DOSE_COUNTS, *Outcome, "instrument"]
    names += [point.code for point in TIME_POINTS] + [f"{pair.code}_recovery" for pair in PAIRS]
    assert [name for name in names if f"`{name}`" not in page] == []
    assert [picture for picture in get_args(Picture) if picture not in page.partition("## Pictures")[2]] == []


def test_every_number_stands_on_it(page: str) -> None:
    """Of the rule, the budget, the periods and the measures."""
    for words in (
        f"fewer than {SMALLEST_CELL} persons",
        f"{QUESTIONS} different questions in {PERIOD.days} days",
        f"baseline above {INDEX_ABOVE}",
        f"within {CMS159_DAYS} days of 12 months",
        f"after {DRRE_FROM} to {DRRE_TO} days",
    ):
        assert words in page
    assert STAFF_PERIOD.total_seconds() == 3600
    assert "an hour" in page
