"""What the uniqueness in a manifest means, in sentences: whoever opens it is told what an attacker would find."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_DAYS: Final = frozenset({"day", "taken_on", "started_on"})


def odds(told: Mapping[str, Any]) -> list[str]:
    """Of the release with this manifest."""
    return list(_sentences(told))


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    forms, sessions, persons = (_columns(told, table) for table in ("assessments", "treatment_sessions", "patients"))
    if "total" in forms:
        found = _shares(told["unique_by_two_totals"], f"of the {told['persons_out']} people in here ")
        when = f", each with its {unit}" if (unit := _unit(forms)) else ""
        yield f"Somebody who knows two totals of a person, those that tell most{when}, finds {found}."
    if unit := _unit(forms):
        found = _shares(told["unique_by_weeks"])
        yield f"Somebody who knows all forms of a person, each with its {unit}, and no answer, finds {found}."
    if unit := _unit(sessions):
        found = _shares(told["unique_by_sessions"])
        yield f"Somebody who knows all sessions of a person, each with its {unit}, finds {found}."
    if persons:
        k = told["k"]
        yield f"By `persons` alone each looks like {k - 1} others or more: a guess is right once in {k} times at most."
    if "responses" in forms:
        yield "These files also tell answers to single items. The figures do not count that: it finds more."


def _columns(told: Mapping[str, Any], table: str) -> set[str]:
    return {column["name"] for column in told["columns"] if column["table"] == table}


def _unit(columns: set[str]) -> str | None:
    """As finely as the files tell time."""
    return "day" if columns & _DAYS else "week" if "week" in columns else None


def _shares(found: Mapping[str, float], whom: str = "") -> str:
    return f"{100 * found['alone_rate']:.3g} % {whom}alone, and {100 * found['small_rate']:.3g} % among fewer than 11"
