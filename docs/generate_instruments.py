"""Writes docs/instruments.md from the declarations. `python -m docs.generate_instruments [--check]`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from app.scoring import all_instruments
from app.scoring.model import (
    Criterion,
    Direction,
    Instrument,
    Psychometrics,
    Screen,
    Subscale,
    Threshold,
    ThresholdKind,
)
from docs.generated import write_or_check

PAGE: Final = Path(__file__).with_name("instruments.md")

HEAD: Final = """# Instruments

Generated from the declarations in `app/scoring/instruments` by `python -m docs.generate_instruments`; do not edit.

Three rules hold for every instrument. A missing answer is never counted as zero. A screen is told only where no
possible answer to the missing items could change it, and it is not a diagnosis. A prorated total is kept unrounded;
rounded half up it finds its band. "Judgement" and "convention" in a source mark what no publication read says.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check tell whether it is up to date."""
    return write_or_check(PAGE, page(), arguments)


def page() -> str:
    instruments = all_instruments()
    contents = _table(
        ("instrument", "measures", "window", "range", "better"),
        [
            (
                f"[{each.id}](#{each.id})",
                each.measures.replace("_", "-"),
                each.recall_label,
                f"{each.minimum} to {each.maximum}",
                "higher" if each.direction is Direction.HIGHER_IS_BETTER else "lower",
            )
            for each in instruments
        ],
    )
    return "\n".join([HEAD, *contents, *(line for each in instruments for line in _chapter(each))]) + "\n"


def _chapter(instrument: Instrument) -> Iterator[str]:
    yield from ("", f"## {instrument.id}", "", f"**{instrument.title}**, `{instrument.key}`", "")
    yield from ("> " + instrument.instruction, "")
    yield from _items(instrument)
    yield from _section("Scoring", _scoring(instrument))
    yield from _section("Subscales", _subscales(instrument.subscales))
    yield from _section("Severity bands", _bands(instrument))
    yield from _section("Screens", _screens(instrument.screens))
    yield from _section("Critical items", _critical_items(instrument))
    yield from _section("Judging change", _thresholds(instrument.thresholds))
    yield from _section("Psychometrics", _psychometrics(instrument.psychometrics))
    yield from _section("Notes", [f"- {note}" for note in instrument.notes])
    yield from _section("Terms and codes", _terms(instrument))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    body = list(lines)
    if body:
        yield from ("", f"### {title}", "", *body)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    body = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *body)] if body else []


def _items(instrument: Instrument) -> Iterator[str]:
    yield from _table(
        ("item", "text", "LOINC"),
        [
            (item.number, item.text + ("" if item.scored else " *(not scored)*"), item.loinc or "")
            for item in instrument.items
        ],
    )
    for answers in dict.fromkeys(item.answers for item in instrument.items):
        numbers = _ranges([item.number for item in instrument.items if item.answers == answers])
        choices = ", ".join(f"{a.value} {a.label}" + (f" ({a.loinc})" if a.loinc else "") for a in answers)
        yield from ("", f"Answers to {numbers}: {choices}.")


def _ranges(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"item {numbers[0]}"
    return f"items {numbers[0]} {'to' if len(numbers) > 2 else 'and'} {numbers[-1]}"


def _scoring(instrument: Instrument) -> Iterator[str]:
    times = f", times {instrument.multiplier}" if instrument.multiplier > 1 else ""
    better = instrument.direction.replace("_", " ")
    yield f"- Total: sum of the {len(instrument.scored_items)} scored items{times}; {better}."
    yield f"- Range: {instrument.minimum} to {instrument.maximum}."
    yield f"- Window: {instrument.recall_label} ({instrument.recall_days} days)."
    yield f"- Missing: {_missing(instrument.missing.at_most)} {instrument.missing.source}."
    yield f"- Source: {instrument.source}."


def _missing(at_most: int) -> str:
    if at_most == 0:
        return "with any item unanswered there is no total."
    return f"with up to {at_most} unanswered the total is prorated by the person mean; with more there is none."


def _subscales(subscales: Iterable[Subscale]) -> list[str]:
    return _table(
        ("code", "subscale", "items", "missing allowed"),
        [(each.code, each.label, _ranges(each.items), each.missing_allowed) for each in subscales],
    )


def _bands(instrument: Instrument) -> list[str]:
    if not instrument.bands:
        return ["None are declared."]
    return _table(
        ("code", "band", "total"),
        [(f"`{each.code}`", each.label, f"{each.minimum} to {each.maximum}") for each in instrument.bands],
    )


def _screens(screens: Iterable[Screen]) -> list[str]:
    return _table(
        ("code", "screen", "met when", "source"),
        [(_code(each.code, each.is_default), each.label, _condition(each), each.source) for each in screens],
    )


def _condition(screen: Screen) -> str:
    if screen.total_at_least is not None:
        return f"total >= {screen.total_at_least}"
    if screen.total_at_most is not None:
        return f"total <= {screen.total_at_most}"
    return "; and ".join(map(_criterion, screen.criteria))


def _criterion(criterion: Criterion) -> str:
    count = (
        f"{criterion.at_least} or more" if criterion.at_most is None else f"{criterion.at_least} to {criterion.at_most}"
    )
    by_value: dict[int, list[int]] = {}
    for item, value in criterion.endorsed_at.items():
        by_value.setdefault(value, []).append(item)
    counted = ", ".join(f"{_ranges(items)} at >= {value}" for value, items in by_value.items())
    return f"{count} of {counted}"


def _critical_items(instrument: Instrument) -> list[str]:
    return [
        f"- `{each.code}`: {each.label}. Raised by item {each.item} from {each.at_least} on, on incomplete forms too."
        for each in instrument.critical_items
    ]


def _thresholds(thresholds: Iterable[Threshold]) -> list[str]:
    return _table(
        ("rule", "code", "met when", "population", "source"),
        [
            (each.rule.replace("_", " "), _code(each.code, each.is_default), _rule(each), each.population, each.source)
            for each in thresholds
        ],
    )


def _rule(threshold: Threshold) -> str:
    if threshold.kind is ThresholdKind.CHANGE_RATE:
        return f"improvement {threshold.inequality} {threshold.value * 100:g} % of the baseline"
    if threshold.kind is ThresholdKind.CHANGE_POINTS:
        return f"improvement {threshold.inequality} {threshold.value:g} points"
    return f"total {threshold.inequality} {threshold.value:g}"


def _psychometrics(samples: Iterable[Psychometrics]) -> list[str]:
    return _table(
        ("sample", "role", "n", "mean", "sd", "alpha", "retest", "source"),
        [
            (
                each.population,
                each.role + (" (default)" if each.is_default else ""),
                *(_number(value) for value in (each.n, each.mean, each.sd, each.alpha)),
                _number(each.retest) + (f" ({each.retest_days:g} days)" if each.retest_days else ""),
                each.source,
            )
            for each in samples
        ],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _code(code: str, is_default: bool) -> str:
    return f"`{code}`" + (" (default)" if is_default else "")


def _terms(instrument: Instrument) -> Iterator[str]:
    yield f"- Copyright: {instrument.copyright}"
    yield f"- Licence: {instrument.licence}"
    yield f"- LOINC: panel {instrument.loinc_panel or 'none'}, total {instrument.loinc_total or 'none'}."
    yield f"- Languages: {', '.join(instrument.languages)}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
