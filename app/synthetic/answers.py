"""From a total to the answers behind it: coherent within a form, like the same person from form to form."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from app.synthetic.chance import clamp

Weights = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """The shape of an instrument: all that making answers needs. Declarations, texts and rules are elsewhere."""

    weights: Weights  # how readily each scored item is endorsed
    groups: tuple[int, ...]  # group of each item: items of a group rise and fall together in one person
    top: int  # highest answer
    gaps_prorated: int  # unanswered items up to which a total can be prorated; tests hold it to the declaration


PHQ_9: Final = Questionnaire(
    weights=(1.2, 1.2, 1.2, 1.3, 0.9, 1.1, 1.0, 0.5, 0.3), groups=(0, 0, 1, 1, 1, 0, 2, 2, 3), top=3, gaps_prorated=2
)
PCL_5: Final = Questionnaire(
    weights=(1.2, 1.0, 0.8, 1.2, 1.0, 1.2, 1.1, 0.6, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 0.9, 0.5, 1.1, 1.1, 1.1, 1.3),
    groups=(*[0] * 5, *[1] * 2, *[2] * 7, *[3] * 6),
    top=4,
    gaps_prorated=4,
)
GAD_7: Final = Questionnaire(weights=(1.2, 1.1, 1.2, 1.1, 0.8, 1.0, 0.8), groups=(0,) * 7, top=3, gaps_prorated=1)
QUESTIONNAIRES: Final[Mapping[str, Questionnaire]] = {
    "phq-9": PHQ_9,
    "pcl-5-month": PCL_5,
    "pcl-5-week": PCL_5,
    "gad-7": GAD_7,
}

SELF_HARM: Final = 8  # place of item 9 in the PHQ-9's responses
PRORATED_RATE: Final = 0.04  # of the forms of patients without a name of their own
INCOMPLETE_RATE: Final = 0.01  # same


def personal_weights(draw: Random, questionnaire: Questionnaire) -> Weights:
    """How readily this person endorses each item: by group, and a little by item."""
    group = {number: draw.uniform(0.75, 1.35) for number in sorted(set(questionnaire.groups))}
    return tuple(
        weight * group[number] * draw.uniform(0.85, 1.15)
        for weight, number in zip(questionnaire.weights, questionnaire.groups, strict=True)
    )


def spread(draw: Random, total: int, weights: Weights, top: int) -> list[int]:
    """Answers that sum to `total`: every step of every item is a rung, and the lowest `total` rungs are climbed.

    Independent answers per item would need a correction to meet the total; here it is met by construction.
    """
    rungs = sorted(
        (level / weight * draw.uniform(0.85, 1.2), item)
        for item, weight in enumerate(weights)
        for level in range(1, top + 1)
    )
    climbed = Counter(item for _, item in rungs[:total])
    return [climbed[item] for item in range(len(weights))]


def phq_9_items(draw: Random, total: int, self_harm: int, weights: Weights) -> list[int]:
    """Items 1 to 9. Item 9 is decided on its own and the rest of the total goes to the other eight."""
    rest = clamp(total - self_harm, 0, PHQ_9.top * SELF_HARM)
    return [*spread(draw, rest, weights[:SELF_HARM], PHQ_9.top), self_harm]


def leave_blank(draw: Random, answers: Sequence[int], gaps_prorated: int) -> list[int | None]:
    """The answers with, at times, some left out: few enough to prorate, or rarely more than that."""
    chosen = draw.random()
    if chosen < INCOMPLETE_RATE:
        count = gaps_prorated + draw.randint(1, 3)
    elif chosen < INCOMPLETE_RATE + PRORATED_RATE:
        count = draw.randint(1, gaps_prorated)
    else:
        return list(answers)
    blank = set(draw.sample(range(len(answers)), count))
    return [None if item in blank else answer for item, answer in enumerate(answers)]


def with_difficulty(draw: Random, items: Sequence[int | None], named: bool) -> tuple[int | None, ...]:
    """The PHQ-9 with its tenth question, which is asked only when something was bothering the person."""
    bothered = sum(answer or 0 for answer in items)
    if bothered == 0 or (not named and draw.random() < 0.08):
        return tuple(items)
    if not named and draw.random() < 0.03:
        return (*items, None)
    return (*items, clamp(bothered / 9 + draw.gauss(0, 0.4), 0, 3))
