"""Which questions about cohorts are answered: so many for each researcher, and none that two answers give away.

Two answers about cohorts that differ by a few people are an answer about these few. What has been answered can
therefore make a new question unanswerable, and the refusal itself must tell little: it has one reason for a cohort that
is too small and for one too near to another, and near includes equal.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.privacy.cells import SMALLEST_CELL
from app.privacy.noise import keyed_uniform

QUESTIONS: Final = 50  # for each researcher and period, refused ones included; judgement


Cohorts = tuple[bool, ...]  # of which of the cohorts somebody is


class Refusal(StrEnum):
    """Why a question is not answered."""

    BUDGET_SPENT = "budget_spent"
    TOO_FEW_PEOPLE = "too_few_people"  # in the cohort, or between it and one that was answered


@dataclass(frozen=True, slots=True)
class Answered:
    """A cohort somebody has had an answer about, beside the one asked about now."""

    cohort: bytes  # `canonical` of its conditions
    difference: int  # people in one of the two and not in the other, at least 0


def decide(
    cohort: bytes,
    people: int,
    answered: Iterable[Answered],
    asked: int,
    smallest_difference: int,
    *,
    leaves_few: bool = False,
    questions: int = QUESTIONS,
) -> Refusal | None:
    """Whether a question about a cohort may be answered: None for yes, else why not.

    A cohort under the very conditions of an answered one is not a new cohort: the same figure gets the same answer,
    and another figure of the same people is no difference of people. It only counts as a question.

    `answered` should hold the cohorts of all researchers who may talk to each other, in every state of the data;
    `asked` is one researcher's, since the period began. `leaves_few` is what `leaves_few_over` says of all of them.

    Units and range: people and questions, at least 0; `smallest_difference` as `needed_difference` gives it.
    Missing data: none; an earlier cohort whose members are no longer known has to be given with difference 0.

    Raises:
        ValueError: a number is negative, or the smallest difference below 2.

    Source: judgement; that refusals must not depend on what they hide: Kenthapadi 2005, Proc 24th ACM PODS, 118-127.

    >>> decide(b"all", 120, [], asked=0, smallest_difference=14) is None
    True
    >>> decide(b"all but one", 119, [Answered(b"all", 1)], asked=1, smallest_difference=14).value
    'too_few_people'
    >>> decide(b"oral", 40, [Answered(b"all", 80)], asked=50, smallest_difference=14).value
    'budget_spent'
    """
    if min(people, asked, questions) < 0 or smallest_difference < 2:
        raise ValueError("numbers of people and questions are not negative, and a least difference hides somebody")
    if asked >= questions:
        return Refusal.BUDGET_SPENT
    if people < SMALLEST_CELL or leaves_few:
        return Refusal.TOO_FEW_PEOPLE
    others = [earlier for earlier in answered if earlier.cohort != cohort]
    if any(earlier.difference < smallest_difference for earlier in others):
        return Refusal.TOO_FEW_PEOPLE
    return None


def leaves_few_over(kinds: Mapping[Cohorts, int]) -> bool:
    """Whether adding and subtracting answers, with the last cohort among them, leaves a few people over.

    All less those by vein less those by mouth is an answer about whoever else there is, though each of the three is far
    from the others. People who are in the same cohorts are a kind. A sum that is nothing on every large kind and
    something on a small one exists when the small kinds raise the rank of the table of kinds by cohorts.

    Units and range: for each kind, in which cohorts it is, in one order for all, and of how many people it is.
    Missing data: none; who is in no cohort makes no difference.

    Raises:
        ValueError: kinds of different lengths.

    Source: trackers, Denning 1979, ACM Trans Database Syst 4:76-96; that rank decides is linear algebra.

    >>> leaves_few_over({(True, True, False): 30, (True, False, True): 40, (True, False, False): 3})
    True
    >>> leaves_few_over({(True, True, False): 30, (True, False, True): 40, (True, False, False): 12})
    False
    """
    if len({len(kind) for kind in kinds}) > 1:
        raise ValueError("every kind is in or out of each cohort")
    before = _few_over((kind[:-1], count) for kind, count in kinds.items())
    return _few_over(kinds.items()) > before


def _few_over(kinds: Iterable[tuple[Cohorts, int]]) -> int:
    """By how much the small kinds raise the rank."""
    sizes: Counter[Cohorts] = Counter()
    for kind, count in kinds:
        sizes[kind] += count
    rows = sorted(sizes, key=lambda kind: sizes[kind] < SMALLEST_CELL)  # large ones first
    raised, basis = 0, dict[int, list[int]]()
    for kind in rows:
        raised += _adds_to(basis, [int(is_in) for is_in in kind]) and sizes[kind] < SMALLEST_CELL
    return raised


_PRIME: Final = (1 << 61) - 1  # ranks modulo a large prime are those of whole numbers but for freaks; and exact


def _adds_to(basis: dict[int, list[int]], row: list[int]) -> bool:
    """Gauss: takes the row into the basis unless it is a sum of what is there. By the place of the leading 1."""
    for place in range(len(row)):
        if not (value := row[place]):
            continue
        if place not in basis:
            inverse = pow(value, -1, _PRIME)
            basis[place] = [each * inverse % _PRIME for each in row]
            return True
        row = [(mine - value * each) % _PRIME for mine, each in zip(row, basis[place], strict=True)]
    return False


def needed_difference(key: bytes, cohort: bytes) -> int:
    """By how many people a cohort has to differ from every answered one: the smallest cell and up to as much again.

    Were it always the same, a cohort could be put together that one known person alone pushes over it, and whether it
    is answered would tell about that person. Drawn for each cohort under the key, that happens to one pair in
    `SMALLEST_CELL`, and nobody without the key knows to which.

    Units and range: people, from `SMALLEST_CELL` to twice as many less one. Missing data: none.

    Raises:
        ValueError: the key is too short.

    Source: judgement.

    >>> 11 <= needed_difference(bytes(range(32)), b"all") <= 21
    True
    """
    return SMALLEST_CELL + int(keyed_uniform(key, b"needed difference", cohort) * SMALLEST_CELL)
