"""What the uniqueness in a manifest means, in sentences: whoever opens it is told what an attacker would find."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

_TIMES: Final = {"taken_on": "day", "started_on": "day", "day": "day", "week": "week"}  # the finest first
_MORE: Final = {
    "responses": "answers to single items",
    "subscales": "sums of some items",
    "severity": "bands of totals",
    "mode": "who filled each form",
}
_OF_DOSES: Final = frozenset({"dose_number", "since_dose", "hours_since_dose"})


def odds(told: Mapping[str, Any]) -> list[str]:
    """Of the release with this manifest."""
    return list(_sentences(told))


def odds_beside(found: Mapping[str, Any]) -> str:
    """Of a release that has earlier ones of the same people beside it."""
    many = found["releases"] > 1
    those = f"the {found['releases']} earlier releases" if many else "the earlier release"
    said = (
        f"Whoever also has {those} of people in here finds the same people in {'all of them' if many else 'both'} by "
        f"equal courses. Somebody who knows in which of them a person is, and what `persons` tells in each, finds "
        f"{_shares(found)}: {_at_least(found['k'])}."
    )
    if found["others_k"] is not None:
        said += f" Of those who were told there and are not in here, {_at_least(found['others_k'])}."
    return said


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    forms, sessions, persons = (
        {column["name"] for column in told["columns"] if column["table"] == table}
        for table in ("scores", "sessions", "persons")
    )
    if "total" in forms:
        when = f", each with its {_time(forms)}" if _time(forms) else ""
        found = _shares(told["unique_by_two_totals"], f"of the {told['persons_out']} people in here ")
        yield f"Somebody who knows two totals of a person, those that tell most{when}, finds {found}."
    if _time(forms):
        found = _shares(told["unique_by_weeks"])
        yield f"Somebody who knows the {_time(forms)} of every form of a person, and no answer, finds {found}."
    if _time(sessions):
        found = _shares(told["unique_by_sessions"])
        yield f"Somebody who knows the {_time(sessions)} of every session of a person finds {found}."
    if persons:
        k = told["k"]
        yield f"By `persons` alone each looks like {k - 1} others or more: a guess is right once in {k} times at most."
    if told["beside_earlier_releases"] is not None:
        yield odds_beside(told["beside_earlier_releases"])
    if more := _listed([words for name, words in _MORE.items() if name in forms]):
        yield f"These files also tell {more}. The figures above do not count that: who knows of it finds more."


def _time(columns: Collection[str]) -> str | None:
    found = next((unit for name, unit in _TIMES.items() if name in columns), None)
    among_doses = not _OF_DOSES.isdisjoint(columns)
    return " and ".join(filter(None, (found, "place among the doses" if among_doses else None))) or None


def _shares(found: Mapping[str, float], whom: str = "") -> str:
    return f"{100 * found['alone_rate']:.3g} % {whom}alone, and {100 * found['small_rate']:.3g} % among fewer than 11"


def _at_least(k: int) -> str:
    return "some are alone" if k == 1 else f"at least {k} look alike"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
