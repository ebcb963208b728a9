"""A cohort from the database to its figures, before noise: pandas, statsmodels and lifelines from the raw forms alone.

The oracle shares no code with the core: rules are written down here once more, as the page about cohorts tells them.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from app.db import Database
from app.scoring.cohort_course import CohortFilter, Outcome
from app.scoring.cohort_outcomes import CohortOutcomes, cohort_outcomes, of_observed, of_treated
from app.scoring.registry import get_instrument
from app.services.cohort_courses import read_cohort
from app.tables import Clinic
from tests.cohort_clinic import Invented, invented, settle

pytestmark = pytest.mark.anyio

AS_OF = datetime(2027, 6, 1, tzinfo=UTC)  # every window has closed
HALF_OF_RECALL = 7  # days of the two weeks a PHQ-9 asks about
PLACES = {"week_1": (1, 7, 3), "week_4": (3, 28, 3), "month_3": (5, 91, 14)}  # place, middle, either side, in days
PEOPLE = [invented(number, seed=5) for number in range(160)]


@pytest.fixture
async def found(database: Database, clinic: Clinic) -> CohortOutcomes:
    await settle(database, clinic.clinic_id, PEOPLE)
    async with database.connection(clinic.clinic_id) as connection:
        cohort = await read_cohort(connection, clinic.clinic_id, get_instrument("phq-9"), CohortFilter(), AS_OF)
    return cohort_outcomes(cohort.record.courses)


def forms(one: Invented) -> list[tuple[float, float]]:
    """Those with a total, of this course."""
    ends = one.next_opened_on if one.next_opened_on is not None else np.inf
    return sorted((day, total) for day, total in one.forms["phq-9"] if total is not None and day < ends)


def before(one: Invented) -> float | None:
    return next((total for day, total in reversed(forms(one)) if day < 0), None)


def at(one: Invented, middle: float, reach: float) -> float | None:
    """The form nearest to the middle of a window, first of those that speak of the time after the first dose."""
    inside = [(day, total) for day, total in forms(one) if abs(day - middle) <= reach]
    speaking = [form for form in inside if form[0] >= HALF_OF_RECALL] or inside
    return min(speaking, key=lambda form: abs(form[0] - middle))[1] if speaking else None


def pairs(middle: float, reach: float) -> Iterator[tuple[float | None, float | None]]:
    """Before and after of everybody; nothing after where the form asks mostly about the time before the dose."""
    for one in PEOPLE:
        speaks = any(abs(day - middle) <= reach and day >= HALF_OF_RECALL for day, _ in forms(one))
        yield before(one), at(one, middle, reach) if speaks else None


@pytest.mark.parametrize("code", PLACES)
async def test_means_and_rates_are_those_of_statsmodels(found: CohortOutcomes, code: str) -> None:
    """Mean change with its t interval, response of those observed and of all treated with Wilson's."""
    place, middle, reach = PLACES[code]
    figures = found.time_points[place]
    totals = [total for one in PEOPLE if (total := at(one, middle, reach)) is not None]
    both = [(first, last) for first, last in pairs(middle, reach) if first is not None and last is not None]
    for mean, oracle in (
        (figures.total, DescrStatsW(totals)),
        (figures.change, DescrStatsW([last - first for first, last in both])),
    ):
        assert mean.n == oracle.nobs > 50
        assert (mean.mean, mean.sd) == pytest.approx((oracle.mean, np.std(oracle.data, ddof=1)))
        assert (mean.low, mean.high) == pytest.approx(oracle.tconfint_mean())
    responded = sum(last <= first / 2 for first, last in both)
    tally = figures.tallies[Outcome.RESPONSE]
    for share, n in ((of_observed(tally), len(both)), (of_treated(Outcome.RESPONSE, tally), len(PEOPLE))):
        assert (share.successes, share.n) == (responded, n)
        assert (share.low, share.high) == pytest.approx(proportion_confint(responded, n, method="wilson"))


def response_days(one: Invented) -> tuple[float, bool] | None:
    """From the first form in response to the first that is not, or to the last one seen; None: no response."""
    first = before(one)
    judged = [
        (day, first is not None and total <= first / 2)
        for day, total in forms(one)
        if day > 0 and day - max(dose for dose in one.doses if dose <= day) >= HALF_OF_RECALL
    ]
    begins = next((day for day, responds in judged if responds), None)
    if first is None or begins is None:
        return None
    lost = next((day for day, responds in judged if day > begins and not responds), None)
    last = max(day for day, responds in judged if responds and (lost is None or day < lost))
    return (last - begins, False) if lost is None else (lost - begins, True)


async def test_time_to_loss_of_response_is_that_of_lifelines(found: CohortOutcomes) -> None:
    """The whole curve with numbers at risk, and its median."""
    days = [spell for one in PEOPLE if (spell := response_days(one)) is not None]
    fitted = KaplanMeierFitter().fit([time for time, _ in days], [event for _, event in days])
    assert (found.response.n, found.response.events) == (len(days), sum(event for _, event in days))
    assert found.response.events > 20
    by_day = fitted.survival_function_["KM_estimate"]
    for step in found.response.steps:
        nearest = by_day.index[np.argmin(np.abs(by_day.index - step.time))]
        assert nearest == pytest.approx(step.time, abs=1e-6)
        assert step.survival == pytest.approx(by_day.loc[nearest])
        assert step.at_risk == fitted.event_table.loc[nearest, "at_risk"]
    median = fitted.median_survival_time_
    assert found.response_median.median == (None if np.isinf(median) else pytest.approx(median, abs=1e-6))
