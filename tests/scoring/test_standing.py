"""What a caseload shows of a course is what the course itself says."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.change import ChangeCategory, change
from app.scoring.model import Instrument, Point, Validity
from app.scoring.on_track import OnTrackReason
from app.scoring.registry import get_instrument
from app.scoring.standing import Standing, standing
from app.scoring.timeline import in_time_order
from app.scoring.trajectory import trajectory
from app.scoring.treatment import Baseline, BaselineReason, BaselineRule, Dose, NoBaseline, choose_baseline
from app.scoring.worse_after_dose import FormPoint

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")
NOTHING: Final = NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.NO_DOSE)


def form(at: float, total: float | None, id_: str | None = None) -> Point:
    validity = Validity.INCOMPLETE if total is None else Validity.VALID
    return Point(id_ or f"{at:g}", DAY_ZERO + timedelta(days=at), total, validity)


def stands(*points: Point, doses: Sequence[float] = (), baseline: Point | None = None) -> Standing:
    chosen = Baseline(baseline, BaselineRule.NAMED) if baseline else NOTHING
    given_doses = [Dose(f"dose {at:g}", DAY_ZERO + timedelta(days=at)) for at in doses]
    found = standing(PHQ_9, points, given_doses, chosen)
    assert found is not None
    return found


def test_without_a_form_nobody_stands_anywhere() -> None:
    """None, whatever was given."""
    assert standing(PHQ_9, [], [Dose("a", DAY_ZERO)], NOTHING) is None


def test_a_course_in_one_line() -> None:
    """Two doses, four forms: the newest, its band, what changed since the last and since the baseline."""
    before = form(-1, 19)
    found = stands(before, form(6, 14), form(13, 12), form(20, 8), doses=(0, 14), baseline=before)
    assert (found.latest.id, found.severity, found.change_since_last) == ("20", "mild", -4)
    assert (found.change, round(found.percent_change or 0, 1), found.category) == (-11, -57.9, ChangeCategory.RECOVERED)
    assert (found.on_track, found.on_track_reason) == (True, "improved_in_time")
    assert (found.forms, found.doses, found.last_dose_at) == (4, 2, DAY_ZERO + timedelta(days=14))


def test_a_form_without_a_total_hides_no_deterioration() -> None:
    """The newest form says nothing; what was last known of change and category stays."""
    before = form(0, 10)
    found = stands(before, form(7, 18), form(14, None), baseline=before)
    assert (found.latest.id, found.severity, found.change_since_last) == ("14", None, None)
    assert (found.change, found.category) == (8, ChangeCategory.DETERIORATED)
    assert (found.on_track, found.on_track_reason) == (False, "reliable_worsening")


def test_since_the_last_passes_over_forms_without_a_total() -> None:
    """The one before it is the one that can be compared; the first has none."""
    assert stands(form(0, 20), form(7, None), form(14, 15.75)).change_since_last == -4.25
    assert stands(form(0, 20)).change_since_last is None
    assert stands(form(0, None), form(7, 20)).change_since_last is None


def test_without_a_baseline_only_the_forms_speak() -> None:
    """No change, no category, not tellable whether on track, and the reason why."""
    found = stands(form(0, 20), form(7, 12))
    assert (found.severity, found.change_since_last) == ("moderate", -8)
    assert (found.change, found.percent_change, found.category, found.on_track) == (None, None, None, None)
    assert (found.on_track_reason, found.baseline) == ("no_baseline", NOTHING)


def test_the_baseline_alone_is_no_change() -> None:
    """Nothing came after it: no change of 0, no category, too early."""
    before = form(0, 20)
    found = stands(form(-7, 24), before, baseline=before)
    assert (found.change, found.category, found.on_track_reason) == (None, None, "too_early")
    assert found.change_since_last == -4


def test_check_ins_count_from_the_first_dose_on() -> None:
    """Four forms while waiting do not make a course fail, in whatever order the doses are given."""
    waiting = [form(at, 15) for at in (0, 7, 14, 21, 27)]
    found = stands(*waiting, doses=(35, 28), baseline=waiting[0])
    assert (found.on_track, found.on_track_reason) == (None, "too_early")
    assert found.last_dose_at == DAY_ZERO + timedelta(days=35)


def test_a_total_that_is_no_number_is_refused() -> None:
    """It is never compared in silence."""
    with pytest.raises(ValueError, match="NaN"):
        stands(form(0, 10), form(7, float("nan")))


INSTRUMENTS: Final = [
    get_instrument(id_) for id_ in ("phq-9", "phq-8", "phq-2", "gad-7", "pcl-5-month", "pc-ptsd-5", "who-5")
]
days: Final = st.integers(-30, 60)


@st.composite
def courses(draw: st.DrawFn) -> tuple[Instrument, list[Point], list[Dose], Baseline | NoBaseline]:
    """Any instrument, forms at any time, some at one instant, some prorated or without a total, any baseline."""
    instrument = draw(st.sampled_from(INSTRUMENTS))
    whole = st.integers(instrument.minimum, instrument.maximum)
    totals = st.none() | whole | whole.map(lambda total: total * 8 / 9)
    drawn = draw(st.lists(st.tuples(days, totals), max_size=14))
    points = [form(at, total, f"f{place:02}") for place, (at, total) in enumerate(drawn)]
    doses = [Dose(str(at), DAY_ZERO + timedelta(days=at)) for at in draw(st.lists(days, max_size=4))]
    return instrument, points, doses, draw(baselines(points, doses))


def baselines(points: Sequence[Point], doses: Sequence[Dose]) -> st.SearchStrategy[Baseline | NoBaseline]:
    first = min((dose.started_at for dose in doses), default=None)
    named = [point.id for point in points] or ["absent"]
    return st.sampled_from(list(BaselineRule)).flatmap(
        lambda rule: st.sampled_from(named).map(
            lambda id_: choose_baseline(points, rule, first_dose_at=first, assessment_id=id_)
        )
    )


@given(course=courses(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_standing_says_what_the_trajectory_says(
    course: tuple[Instrument, list[Point], list[Dose], Baseline | NoBaseline], data: st.DataObject
) -> None:
    """Latest, severity, change, percent, category and on track, from forms in any order."""
    instrument, points, doses, baseline = course
    ordered = in_time_order(points)
    whole = trajectory(
        instrument, [FormPoint(point) for point in ordered], doses, baseline, DAY_ZERO + timedelta(days=60)
    )
    found = standing(instrument, data.draw(st.permutations(points)), data.draw(st.permutations(doses)), baseline)
    if found is None:
        assert whole.points == ()
        return
    newest = whole.points[-1]
    assert (found.latest, found.severity) == (newest.point, newest.severity.code if newest.severity else None)
    latest = whole.latest
    assert found.change == (latest.change if latest else None)
    assert found.percent_change == (latest.percent_change if latest else None)
    assert found.category == (latest.category.category if latest else None)
    assert (found.on_track, OnTrackReason(found.on_track_reason)) == (whole.on_track.met, whole.on_track.reason)
    assert (found.baseline, found.forms, found.doses) == (baseline, len(whole.points), len(doses))
    assert found.last_dose_at == max((dose.started_at for dose in doses), default=None)


@given(course=courses())
@settings(max_examples=100, deadline=None)
def test_the_change_since_the_last_is_the_change_between_the_two_newest_totals(
    course: tuple[Instrument, list[Point], list[Dose], Baseline | NoBaseline],
) -> None:
    """Told of the newest form alone, and only when it has a total."""
    instrument, points, doses, baseline = course
    found = standing(instrument, points, doses, baseline)
    if found is None:
        return
    totals = [point.total for point in in_time_order(points) if point.total is not None]
    expected = None if found.latest.total is None or len(totals) < 2 else change(instrument, *totals[-2:]).points
    assert found.change_since_last == expected
