"""Scoring one form: published examples, refusals, and laws against an independent count."""

from dataclasses import replace
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.scoring import ResponseError, all_instruments, get_instrument, score
from app.scoring.model import Criterion, Instrument, Screen, Validity

INSTRUMENTS: Final = all_instruments()
Form = tuple[Instrument, list[int | None]]


@st.composite
def forms(draw: st.DrawFn, missing: int = 0, ids: tuple[str, ...] = ()) -> Form:
    """An instrument and a form of it with at most that many unanswered scored items."""
    instrument = draw(st.sampled_from([each for each in INSTRUMENTS if not ids or each.id in ids]))
    answers: list[int | None] = [draw(st.sampled_from([a.value for a in i.answers])) for i in instrument.items]
    count = len(instrument.scored_items)
    for index in draw(st.sets(st.integers(0, count - 1), max_size=min(missing, count))):
        answers[index] = None
    return instrument, answers


# --- Worked examples --------------------------------------------------------------------------------------------------

EXAMPLES: Final = [
    pytest.param(instrument, example, id=f"{instrument.key}-{number}")
    for instrument in INSTRUMENTS
    for number, example in enumerate(instrument.examples, start=1)
]


@pytest.mark.parametrize(("instrument", "example"), EXAMPLES)
def test_worked_examples_score_as_declared(instrument: Instrument, example: Any) -> None:
    """Every worked example of every declaration comes out as it says."""
    form = score(instrument, example.responses)
    assert (form.total, form.validity) == (example.total, example.validity)
    assert (form.severity.code if form.severity else None) == example.severity
    assert {each.code: each.met for each in form.screens} == example.screens
    assert form.subscales == example.subscales


def test_contract_example_field_by_field() -> None:
    """The form of the API contract gives the answer of the API contract."""
    form = score(get_instrument("phq-9"), [2, 1, 3, 2, 0, 1, 1, 0, 0, 1])
    assert (form.instrument, form.total, form.minimum, form.maximum) == ("phq-9@1", 10, 0, 27)
    assert (form.validity, form.answered, form.missing) == (Validity.VALID, 9, ())
    assert form.severity is not None
    assert form.severity.label == "Moderate"
    assert [(each.code, each.met) for each in form.screens] == [
        ("cut_point_10", True),
        ("major_depressive_syndrome", False),
        ("other_depressive_syndrome", True),
    ]
    assert [(each.item, each.value, each.raised) for each in form.critical_items] == [(9, 0, False)]
    assert form.functional_difficulty == 1


@pytest.mark.parametrize(
    ("total", "band"),
    [(0, "minimal"), (4, "minimal"), (5, "mild"), (9, "mild"), (10, "moderate"), (14, "moderate"),
     (15, "moderately_severe"), (19, "moderately_severe"), (20, "severe"), (27, "severe")],
)  # fmt: skip
def test_bands_of_the_phq_9(total: int, band: str) -> None:
    """Each end of each published band belongs to it (Kroenke 2001)."""
    responses = [min(3, max(0, total - 3 * index)) for index in range(9)]
    form = score(get_instrument("phq-9"), responses)
    assert form.total == total
    assert form.severity is not None
    assert form.severity.code == band


def test_band_of_a_half_is_the_upper_one() -> None:
    """A prorated total exactly between two bands is rounded up: 4.5 is mild."""
    form = score(get_instrument("phq-9"), [1, 1, 1, 1, 0, 0, 0, 0, None])
    assert (form.total, form.severity and form.severity.code) == (4.5, "mild")


def test_whole_totals_are_integers() -> None:
    """A prorated total that happens to be whole is an int, any other a float."""
    phq_9 = get_instrument("phq-9")
    assert type(score(phq_9, [1] * 7 + [None] * 2).total) is int
    assert type(score(phq_9, [1] * 7 + [2, None]).total) is float


@pytest.mark.parametrize(("answer", "raised"), [(0, False), (1, True), (2, True), (3, True), (None, None)])
def test_self_harm_is_told_on_every_form(answer: int | None, raised: bool | None) -> None:
    """Item 9 raises from 1 on and is never guessed, on full, prorated and incomplete forms."""
    for others in ([0] * 8, [0] * 7 + [None], [None] * 8):
        (finding,) = score(get_instrument("phq-9"), [*others, answer]).critical_items
        assert (finding.value, finding.raised) == (answer, raised)


def test_difficulty_is_kept_and_never_summed() -> None:
    """Item 10 moves nothing but itself, and leaving it out is not a missing answer."""
    phq_9 = get_instrument("phq-9")
    nine = score(phq_9, [1] * 9)
    ten = score(phq_9, [*[1] * 9, 3])
    assert (nine.functional_difficulty, ten.functional_difficulty) == (None, 3)
    assert replace(ten, functional_difficulty=None) == nine
    assert score(phq_9, [*[1] * 9, None]) == nine


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [True, False, 1.0, "1", 10**30, -1, 4, 2.5, [], float("nan"), "secret"])
def test_no_answer_is_bent_into_a_choice(answer: object) -> None:
    """Truth values, floats, text and numbers off the form are refused, each at its index."""
    responses: list[Any] = [0] * 9
    responses[4] = answer
    with pytest.raises(ResponseError) as caught:
        score(get_instrument("phq-9"), responses)
    (fault,) = caught.value.faults
    assert fault.index == 4
    assert fault.code == ("not_a_choice" if type(answer) is int else "not_an_integer")


@pytest.mark.parametrize("length", [0, 1, 8, 11, 100])
def test_wrong_length_is_refused(length: int) -> None:
    """A PHQ-9 has nine responses or ten."""
    with pytest.raises(ResponseError) as caught:
        score(get_instrument("phq-9"), [0] * length)
    assert [(fault.index, fault.code) for fault in caught.value.faults] == [(None, "wrong_length")]


def test_all_faults_are_told_at_once() -> None:
    """The sender learns of every fault from one refusal."""
    responses: Any = [True, 0, 7, None, "x", 0, 0]
    with pytest.raises(ResponseError) as caught:
        score(get_instrument("phq-9"), responses)
    assert [(fault.index, fault.code) for fault in caught.value.faults] == [
        (None, "wrong_length"),
        (0, "not_an_integer"),
        (2, "not_a_choice"),
        (4, "not_an_integer"),
    ]
    assert isinstance(caught.value, ValueError)


@given(st.integers(10_000) | st.text(min_size=5, alphabet="#%&~") | st.floats(0.12345, 0.12346))
@settings(max_examples=40)
def test_messages_do_not_repeat_the_answer(answer: object) -> None:
    """What a person answered never reaches a message, and so no log."""
    responses: list[Any] = [answer, *[0] * 8]
    with pytest.raises(ResponseError) as caught:
        score(get_instrument("phq-9"), responses)
    assert str(answer) not in str(caught.value)
    assert repr(answer) not in repr(caught.value)


# --- Laws -------------------------------------------------------------------------------------------------------------


@given(forms(missing=30))
@settings(max_examples=150)
def test_totals_stay_in_range_and_missing_is_counted(form: Form) -> None:
    """Whatever is missing, a total lies in the range of the instrument, and the counts add up."""
    instrument, responses = form
    result = score(instrument, responses)
    assert result.answered + len(result.missing) == len(instrument.scored_items)
    assert (result.total is None) is (result.validity is Validity.INCOMPLETE)
    assert (result.validity is Validity.VALID) is (not result.missing)
    assert (result.validity is Validity.INCOMPLETE) is (len(result.missing) > instrument.missing.at_most)
    if result.total is not None:
        assert instrument.minimum <= result.total <= instrument.maximum


@given(forms(missing=2), st.data())
@settings(max_examples=100)
def test_a_higher_answer_never_lowers_the_total(form: Form, data: st.DataObject) -> None:
    """The total grows with each answer."""
    instrument, responses = form
    before = score(instrument, responses).total
    index = data.draw(st.integers(0, len(instrument.scored_items) - 1))
    answer = responses[index]
    assume(answer is not None and before is not None)
    higher = [each.value for each in instrument.items[index].answers if answer is not None and each.value > answer]
    assume(higher)
    responses[index] = data.draw(st.sampled_from(higher))
    after = score(instrument, responses).total
    assert before is not None
    assert after is not None
    assert after > before


@given(forms(missing=2), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_totals_do_not_depend_on_order(form: Form, random: Any) -> None:
    """The total is blind to which item got which answer; all scored items of an instrument share their choices."""
    instrument, responses = form
    count = len(instrument.scored_items)
    shuffled = responses[:count]
    random.shuffle(shuffled)
    assert score(instrument, [*shuffled, *responses[count:]]).total == score(instrument, responses).total


@given(forms(missing=4))
@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])  # most forms are not prorated
def test_prorating_fills_in_the_person_mean(form: Form) -> None:
    """Where the mean of the answered items is itself an answer, putting it in gives the same total."""
    instrument, responses = form
    result = score(instrument, responses)
    count = len(instrument.scored_items)
    answered = [each for each in responses[:count] if each is not None]
    assume(result.validity is Validity.PRORATED)
    filled: list[int | None] = [sum(answered) // len(answered) if each is None else each for each in responses[:count]]
    low = score(instrument, [*filled, *responses[count:]]).total
    assert low is not None
    assert result.total is not None
    if sum(answered) % len(answered) == 0:
        assert result.total == low
    else:
        assert low < result.total < low + len(result.missing) * instrument.multiplier


@given(forms(missing=20, ids=("pcl-5-month", "pcl-5-week")))
@settings(max_examples=80)
def test_clusters_of_the_pcl_5_add_up(form: Form) -> None:
    """Subscales of a complete form sum to the total; each keeps to its own limit of missing items."""
    instrument, responses = form
    result = score(instrument, responses)
    if not result.missing:
        assert sum(each for each in result.subscales.values() if each is not None) == result.total
    for subscale in instrument.subscales:
        answers = [responses[number - 1] for number in subscale.items]
        given_ = [each for each in answers if each is not None]
        if len(answers) - len(given_) > subscale.missing_allowed:
            assert result.subscales[subscale.code] is None
        else:
            assert result.subscales[subscale.code] == pytest.approx(sum(given_) / len(given_) * len(answers))


# --- Screens: an independent count over every way to fill in the form -------------------------------------------------


def holds(instrument: Instrument, screen: Screen, answers: tuple[int, ...]) -> bool:
    """The screen on a complete form, counted the plain way."""
    total = instrument.multiplier * sum(answers)
    if screen.total_at_least is not None:
        return total >= screen.total_at_least
    if screen.total_at_most is not None:
        return total <= screen.total_at_most
    for criterion in screen.criteria:
        count = sum(answers[item - 1] >= value for item, value in criterion.endorsed_at.items())
        if count < criterion.at_least or (criterion.at_most is not None and count > criterion.at_most):
            return False
    return True


def brute_force(instrument: Instrument, screen: Screen, responses: list[int | None]) -> bool | None:
    """True, False, or None where the ways to fill in the form disagree."""
    choices = [
        [each.value for each in item.answers] if (answer := responses[item.number - 1]) is None else [answer]
        for item in instrument.scored_items
    ]
    outcomes = {holds(instrument, screen, answers) for answers in product(*choices)}
    return outcomes.pop() if len(outcomes) == 1 else None


@given(forms(missing=4))
@settings(max_examples=150, deadline=None)
def test_screens_agree_with_every_way_to_fill_in_the_form(form: Form) -> None:
    """A screen is met, not met or open exactly as the full enumeration says."""
    instrument, responses = form
    found = {each.code: each.met for each in score(instrument, responses).screens}
    assert found == {each.code: brute_force(instrument, each, responses) for each in instrument.screens}


@st.composite
def entangled_screens(draw: st.DrawFn) -> Screen:
    """Several criteria over overlapping items of a five-item instrument, lower and upper limits included."""
    criteria = []
    for _ in range(draw(st.integers(1, 3))):
        items = draw(st.sets(st.integers(1, 5), min_size=1))
        at_least = draw(st.integers(0, len(items)))
        at_most = draw(st.none() | st.integers(at_least, len(items)))
        endorsed_at = {item: draw(st.integers(0, 5)) for item in sorted(items)}
        criteria.append(Criterion(endorsed_at, at_least, at_most))
    return Screen("made_up", "Made up", "made up", criteria=tuple(criteria))


@given(forms(missing=4, ids=("who-5",)), entangled_screens())
@settings(max_examples=150, deadline=None)
def test_criteria_that_share_items_are_judged_together(form: Form, screen: Screen) -> None:
    """Criteria each open, but impossible together, make the screen not met, whatever the criteria."""
    instrument, responses = form
    made_up = replace(instrument, screens=(screen,))
    (result,) = score(made_up, responses).screens
    assert result.met is brute_force(made_up, screen, responses)


def test_jointly_impossible_criteria_are_not_met() -> None:
    """Two of items 1 to 3 and none of items 1 and 2: with all missing each can hold, never both."""
    both = Screen(
        "both", "Both", "made up",
        criteria=(Criterion({1: 1, 2: 1, 3: 1}, at_least=2), Criterion({1: 1, 2: 1}, at_least=0, at_most=0)),
    )  # fmt: skip
    for criterion in both.criteria:
        alone = replace(get_instrument("phq-9"), screens=(replace(both, criteria=(criterion,)),))
        assert score(alone, [None] * 9).screens[0].met is None
    assert score(replace(get_instrument("phq-9"), screens=(both,)), [None] * 9).screens[0].met is False


@given(forms(missing=12), st.data())
@settings(max_examples=100)
def test_a_told_screen_stays_when_the_form_is_completed(form: Form, data: st.DataObject) -> None:
    """True and False survive every completion; a complete form leaves nothing open."""
    instrument, responses = form
    before = {each.code: each.met for each in score(instrument, responses).screens}
    completed = [
        data.draw(st.sampled_from([a.value for a in item.answers])) if answer is None else answer
        for item, answer in zip(instrument.items, responses, strict=True)
    ]
    for screen in score(instrument, completed).screens:
        assert screen.met is not None
        assert before[screen.code] in (None, screen.met)


@given(forms(missing=30))
@settings(max_examples=60)
def test_scoring_is_repeatable_and_leaves_the_form_alone(form: Form) -> None:
    """The same form gives an equal score, and the list of responses is not touched."""
    instrument, responses = form
    copy = list(responses)
    assert score(instrument, responses) == score(instrument, tuple(responses))
    assert responses == copy
