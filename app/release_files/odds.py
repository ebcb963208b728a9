"""What the uniqueness in a manifest means, in sentences: whoever opens it is told what an attacker would find."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_TIMES: Final = frozenset({"week", "day", "taken_on"})
_MORE: Final = {
    "taken_on": "days of forms",
    "started_on": "days of sessions",
    "day": "days since the first dose",
    "responses": "answers to single items",
}


def odds(told: Mapping[str, Any]) -> list[str]:
    """Of the release with this manifest."""
    return list(_sentences(told))


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    tables, columns = ({column[part] for column in told["columns"]} for part in ("table", "name"))
    people, limit = told["persons_out"], "" if columns & _TIMES else "at most "
    if "total" in columns:
        found = f"{limit}{_shares(told['unique_by_two_totals'], f'of the {people} people in here ')}"
        yield f"Somebody who knows two totals of a person, those that tell most, each with its week, finds {found}."
    if columns & _TIMES:
        found = _shares(told["unique_by_weeks"])
        yield f"Somebody who knows all weeks in which a person filled a form, and no answer, finds {found}."
    if "patients" in tables:
        k = told["k"]
        yield f"By `persons` alone each looks like {k - 1} others or more: a guess is right once in {k} times at most."
    if more := " and ".join(words for name, words in _MORE.items() if name in columns):
        yield f"These files also tell {more}. The figures above do not count that: who knows of it finds more."


def _shares(found: Mapping[str, float], whom: str = "") -> str:
    return f"{100 * found['alone_rate']:.3g} % {whom}alone, and {100 * found['small_rate']:.3g} % among fewer than 11"
