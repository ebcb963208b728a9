"""Every rule side by side, and the category of a course."""

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scoring.change import ChangeCategory
from app.scoring.judgement import CategoryResult, Verdict, category_of, judge
from app.scoring.model import (
    Answer,
    Criterion,
    Direction,
    Inequality,
    Instrument,
    Item,
    MissingRule,
    Screen,
    Threshold,
    ThresholdKind,
)

TOP: Final = 27  # points
POINTS, RATE, SCORE = ThresholdKind.CHANGE_POINTS, ThresholdKind.CHANGE_RATE, ThresholdKind.SCORE
FLIPPED = {">=": "<=", ">": "<", "<=": ">=", "<": ">"}


def threshold(
    kind: ThresholdKind, inequality: str, value: float, code: str = "rule", *, rule: str = "response"
) -> Threshold:
    return Threshold(rule, code, kind, Inequality(inequality), value, "adults", "a paper", version=3)


RELIABLE_6: Final = threshold(POINTS, ">=", 6, "reliable_6", rule="reliable_change")
RELIABLE_OVER_6: Final = threshold(POINTS, ">", 6.76, "reliable_676", rule="reliable_change")
CUT_10: Final = Screen("cut_10", "", "Kroenke 2001", total_at_least=10, is_default=True)


def scale(
    *thresholds: Threshold,
    screens: tuple[Screen, ...] = (CUT_10,),
    direction: Direction = Direction.LOWER_IS_BETTER,
    top: int = TOP,
) -> Instrument:
    return Instrument(
        id="scale",
        version=1,
        title="",
        measures="depression",
        instruction="",
        items=(Item(1, "", tuple(Answer(value, "") for value in range(top + 1))),),
        recall_days=14,
        recall_label="",
        direction=direction,
        missing=MissingRule(0, ""),
        copyright="",
        licence="",
        source="",
        screens=screens,
        thresholds=thresholds,
    )


def only(instrument: Instrument, baseline: float | None, latest: float | None) -> Verdict:
    (verdict,) = judge(instrument, baseline, latest)
    return verdict


totals = st.integers(0, TOP)
quarter_totals = st.integers(0, 4 * TOP).map(lambda quarters: quarters / 4)
change_thresholds = st.builds(
    threshold,
    st.sampled_from([POINTS, RATE]),
    st.sampled_from([">=", ">"]),
    st.sampled_from([0.2, 0.25, 0.5, 1.0, 5.0, 6.76, 10.0]),
)
any_thresholds = st.one_of(
    change_thresholds, st.builds(threshold, st.just(SCORE), st.sampled_from(list(FLIPPED)), totals.map(float))
)


@pytest.mark.parametrize(
    ("inequality", "latest", "met", "direction"),
    [
        (">=", 13, False, "none"),
        (">=", 12, True, "improved"),
        (">", 12, False, "none"),
        (">", 11, True, "improved"),
        (">=", 23, False, "none"),
        (">=", 24, False, "worsened"),
        (">", 24, False, "none"),
        (">", 25, False, "worsened"),
    ],
)
def test_points_rule_at_its_boundary(inequality: str, latest: int, met: bool, direction: str) -> None:
    """Six points from 18: improvement and its mirror image turn exactly where the inequality says."""
    verdict = only(scale(threshold(POINTS, inequality, 6)), 18, latest)
    assert (verdict.met, verdict.direction) == (met, direction)


@pytest.mark.parametrize(
    ("inequality", "latest", "met"), [(">=", 10, False), (">=", 9, True), (">", 9, False), (">", 8, True)]
)
def test_half_of_eighteen_is_nine(inequality: str, latest: int, met: bool) -> None:
    """A 50 % fall from 18 is reached at 9, not at 8 and not at 10."""
    assert only(scale(threshold(RATE, inequality, 0.5)), 18, latest).met is met


def test_rate_boundary_survives_decimals_that_floats_cannot_hold() -> None:
    """Ten percent of 3 points is 0.3 points, and of a prorated 190/9 points exactly a tenth."""
    rule = scale(threshold(RATE, ">=", 0.1))
    assert only(rule, 3, 2.7).met is True
    assert only(rule, 20 * 19 / 18, 18 * 19 / 18).met is True


@given(st.integers(0, 80), st.integers(0, 80), st.integers(16, 20), st.integers(16, 20))
def test_prorated_totals_are_judged_by_integer_arithmetic(one: int, other: int, first: int, last: int) -> None:
    """The verdict on prorated totals is that of cross-multiplied item sums, with no float in between."""
    instrument = scale(threshold(POINTS, ">=", 10, "points"), threshold(RATE, ">=", 0.3, "rate"), top=100)
    points, rate = judge(instrument, 20 * one / first, 20 * other / last)
    assert points.met is (20 * (one * last - other * first) >= 10 * first * last)
    assert rate.met is (None if one == 0 else 10 * (one * last - other * first) >= 3 * one * last)


@pytest.mark.parametrize(
    ("inequality", "latest", "met"),
    [("<", 4, True), ("<", 5, False), ("<=", 5, True), ("<=", 6, False), ("<", 4.5, True)],
)
def test_score_rule_reads_the_latest_total_alone(inequality: str, latest: float, met: bool) -> None:
    """Remission is where the person is now; it has no direction and needs no baseline."""
    for baseline in (None, 0, 20):
        verdict = only(scale(threshold(SCORE, inequality, 5)), baseline, latest)
        assert (verdict.met, verdict.direction, verdict.reason) == (met, None, None)


@pytest.mark.parametrize("latest", [0, 3])
def test_rate_from_a_baseline_of_zero_is_unknown(latest: int) -> None:
    """Percent change from 0 is undefined: never improved, never worse, always with its reason."""
    verdict = only(scale(threshold(RATE, ">=", 0.5)), 0, latest)
    assert (verdict.met, verdict.direction, verdict.reason) == (None, None, "zero_baseline")


def test_points_from_a_baseline_of_zero_are_still_judged() -> None:
    """A rise of six points from 0 is a reliable worsening, percent or not."""
    assert only(scale(RELIABLE_6), 0, 6).direction == "worsened"


@pytest.mark.parametrize("kind", [POINTS, RATE])
@pytest.mark.parametrize(("baseline", "latest"), [(None, 9), (18, None), (None, None)])
def test_change_rule_without_both_totals_is_unknown(
    kind: ThresholdKind, baseline: int | None, latest: int | None
) -> None:
    """A missing total leaves a change rule open, with the reason."""
    verdict = only(scale(threshold(kind, ">=", 0.5)), baseline, latest)
    assert (verdict.met, verdict.direction, verdict.reason) == (None, None, "incomplete")


def test_score_rule_without_a_latest_total_is_unknown() -> None:
    """An incomplete latest form is not in remission and not out of it."""
    assert only(scale(threshold(SCORE, "<", 5)), 18, None).met is None


def test_a_ceiling_on_improvement_has_no_mirror_image() -> None:
    """A rule of less than ten points better is met or not; it never says worsened."""
    less_than_ten = scale(threshold(POINTS, "<", 10))
    assert [(v.met, v.direction) for v in (only(less_than_ten, 30, 21), only(less_than_ten, 30, 20))] == [
        (True, None),
        (False, None),
    ]


def test_no_change_at_a_threshold_of_zero_points_neither_way() -> None:
    """A rule of at least zero points better is met by no change, which is still neither improved nor worsened."""
    verdict = only(scale(threshold(POINTS, ">=", 0)), 10, 10)
    assert (verdict.met, verdict.direction) == (True, "none")


def test_higher_is_better_reads_a_rise_as_improvement() -> None:
    """On a well-being scale to 100, 40 to 70 is half of the missing sixty points."""
    rules = (threshold(POINTS, ">=", 10, "points"), threshold(RATE, ">=", 0.5, "rate"))
    wellbeing = scale(*rules, direction=Direction.HIGHER_IS_BETTER, top=100)
    assert [verdict.direction for verdict in judge(wellbeing, 40, 70)] == ["improved", "improved"]
    assert [verdict.direction for verdict in judge(wellbeing, 40, 69)] == ["improved", "none"]
    assert [verdict.direction for verdict in judge(wellbeing, 40, 30)] == ["worsened", "none"]


def test_every_rule_is_told_with_the_clinics_own_last() -> None:
    """Verdicts stand in the order of declaration, then the clinic's, each with what it takes to print the rule."""
    own = threshold(POINTS, ">=", 12, "clinic_12", rule="clinic")
    verdicts = judge(scale(RELIABLE_6, RELIABLE_OVER_6), 18, 11.5, [own])
    assert [verdict.code for verdict in verdicts] == ["reliable_6", "reliable_676", "clinic_12"]
    assert [verdict.met for verdict in verdicts] == [True, False, False]
    assert verdicts[1] == Verdict(
        rule="reliable_change",
        code="reliable_676",
        kind=POINTS,
        inequality=Inequality.MORE_THAN,
        threshold=6.76,
        met=False,
        direction="none",
        population="adults",
        source="a paper",
        version=3,
        reason=None,
    )


def mirrored(rule: Threshold) -> Threshold:
    if rule.kind is not SCORE:
        return rule
    return replace(rule, value=TOP - rule.value, inequality=Inequality(FLIPPED[rule.inequality]))


@given(any_thresholds, quarter_totals, quarter_totals)
def test_the_mirrored_scale_gives_the_mirrored_verdict(rule: Threshold, baseline: float, latest: float) -> None:
    """Counting health in place of illness changes no verdict."""
    plain = only(scale(rule), baseline, latest)
    mirror = only(scale(mirrored(rule), direction=Direction.HIGHER_IS_BETTER), TOP - baseline, TOP - latest)
    assert (plain.met, plain.direction, plain.reason) == (mirror.met, mirror.direction, mirror.reason)


@given(change_thresholds, quarter_totals, quarter_totals, quarter_totals)
def test_a_better_latest_total_never_loses_an_improvement(
    rule: Threshold, baseline: float, latest: float, other: float
) -> None:
    """Lower is better: what is met at a total is met at every lower one."""
    low, high = sorted((latest, other))
    if only(scale(rule), baseline, high).met:
        assert only(scale(rule), baseline, low).met


@given(st.sampled_from([">=", ">"]), st.sampled_from([0.0, 0.5, 5.0, 6.76]), quarter_totals, quarter_totals)
def test_swapping_the_two_forms_swaps_improved_and_worsened(
    inequality: str, value: float, one: float, other: float
) -> None:
    """In points there is no preferred direction of time."""
    rule = scale(threshold(POINTS, inequality, value))
    swap = {"improved": "worsened", "worsened": "improved", "none": "none"}
    there, back = only(rule, one, other).direction, only(rule, other, one).direction
    assert there is not None
    assert back == swap[there]


@pytest.mark.parametrize(
    ("baseline", "latest", "category"),
    [
        (15, 9, "recovered"),
        (16, 10, "improved"),
        (15, 10, "unchanged"),
        (10, 9, "unchanged"),
        (9, 3, "improved"),
        (9, 14, "unchanged"),
        (9, 15, "harmed"),
        (10, 16, "deteriorated"),
        (3, 9, "deteriorated"),
        (15.5, 9.5, "recovered"),
    ],
)
def test_category_by_the_default_rules(baseline: float, latest: float, category: str) -> None:
    """Six points and a cut-point of ten, at every corner of the two."""
    assert category_of(scale(RELIABLE_6), baseline, latest) == CategoryResult(
        ChangeCategory(category), "reliable_6", "cut_10", None, 6, 10
    )


def test_category_where_higher_is_better() -> None:
    """A well-being screen at or below 50: recovered is to rise out of it by ten points."""
    low = Screen("low_50", "", "", total_at_most=50, is_default=True)
    rule = threshold(POINTS, ">=", 10, "reliable_10", rule="reliable_change")
    wellbeing = scale(rule, screens=(low,), direction=Direction.HIGHER_IS_BETTER, top=100)
    seen = [category_of(wellbeing, *pair).category for pair in [(44, 54), (40, 50), (45, 54), (51, 41), (60, 51)]]
    assert seen == ["recovered", "improved", "unchanged", "harmed", "unchanged"]


@pytest.mark.parametrize(("baseline", "latest"), [(None, 9), (15, None), (None, None)])
def test_category_of_incomplete_forms_is_unknown(baseline: int | None, latest: int | None) -> None:
    """Without both totals there is no category; the rules that would have been used are still named."""
    result = category_of(scale(RELIABLE_6), baseline, latest)
    assert result == CategoryResult(None, "reliable_6", "cut_10", "incomplete", 6, 10)


def test_of_several_reliable_rules_the_default_is_used() -> None:
    """Two reliable-change rules need a mark; the marked one decides and is named."""
    marked = replace(RELIABLE_OVER_6, is_default=True)
    result = category_of(scale(RELIABLE_6, marked), 15, 9)
    assert (result.category, result.reliable_code) == (ChangeCategory.UNCHANGED, "reliable_676")


def test_without_a_marked_rule_there_is_no_category() -> None:
    """Of several unmarked rules none is chosen in silence."""
    result = category_of(scale(RELIABLE_6, RELIABLE_OVER_6), 15, 9)
    assert result == CategoryResult(None, None, "cut_10", "no_reliable_change_rule", None, 10)


def test_an_instrument_without_any_rule_has_no_category() -> None:
    """A bare instrument lacks both, and the cut-off is named first."""
    assert category_of(scale(screens=()), 15, 9) == CategoryResult(None, None, None, "no_cutoff", None, None)


def test_without_a_cutoff_on_the_total_there_is_no_category() -> None:
    """A diagnostic algorithm has no total to cross, and an unmarked screen is not the default."""
    algorithm = Screen("algorithm", "", "", criteria=(Criterion({1: 2}, at_least=1),), is_default=True)
    unmarked = replace(CUT_10, is_default=False)
    for screens in [(), (algorithm,), (unmarked,)]:
        result = category_of(scale(RELIABLE_6, screens=screens), 15, 9)
        assert (result.category, result.cutoff_code, result.reason) == (None, None, "no_cutoff")


def test_a_clinic_may_bring_its_own_rule_and_cutoff() -> None:
    """The override decides, and its codes and values are the ones published."""
    own_cut = Screen("cut_8", "", "clinic", total_at_least=8)
    own_rule = threshold(POINTS, ">=", 8, "clinic_8", rule="reliable_change")
    result = category_of(scale(RELIABLE_6), 16, 8, reliable=own_rule, cutoff=own_cut)
    assert result == CategoryResult(ChangeCategory.IMPROVED, "clinic_8", "cut_8", None, 8, 8)


def test_a_rule_that_knows_no_worsening_cannot_make_a_category() -> None:
    """A ceiling or an end state brought as reliable-change rule is refused, not read as unchanged."""
    for rule in (threshold(POINTS, "<", 6), threshold(SCORE, "<", 5)):
        result = category_of(scale(RELIABLE_6), 15, 9, reliable=rule)
        assert (result.category, result.reason) == (None, "no_reliable_change_rule")


def test_a_cutoff_that_reads_no_total_cannot_make_a_category() -> None:
    """A diagnostic algorithm brought as cut-off gives no category."""
    algorithm = Screen("algorithm", "", "", criteria=(Criterion({1: 2}, at_least=1),))
    result = category_of(scale(RELIABLE_6), 15, 9, cutoff=algorithm)
    assert (result.category, result.reason) == (None, "no_cutoff")


def test_a_relative_reliable_rule_from_zero_has_no_category() -> None:
    """A reliable-change rule in percent is undefined from a baseline of 0."""
    rule = threshold(RATE, ">=", 0.3, "reliable_30", rule="reliable_change")
    assert category_of(scale(rule), 0, 12).reason == "zero_baseline"


@given(totals, totals)
def test_category_agrees_with_the_verdict_it_rests_on(baseline: int, latest: int) -> None:
    """Recovered and improved are exactly the improved; deteriorated and harmed exactly the worsened."""
    instrument = scale(RELIABLE_6)
    groups = {
        "improved": {ChangeCategory.RECOVERED, ChangeCategory.IMPROVED},
        "none": {ChangeCategory.UNCHANGED},
        "worsened": {ChangeCategory.DETERIORATED, ChangeCategory.HARMED},
    }
    direction = only(instrument, baseline, latest).direction
    assert direction is not None
    assert category_of(instrument, baseline, latest).category in groups[direction]
