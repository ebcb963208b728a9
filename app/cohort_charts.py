"""A cohort as three pictures, from figures that may be told: mean trajectory, survival of response, who was lost.

Pure, and drawn like the course of one patient: 420 units wide, in ink and grey, with words for screen readers. What is
not told is drawn as not told, never as nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap
from typing import Final

from app import svg
from app.chart_frame import EDGE, GREY, HALO, INK, WIDTH, Style, document, heading
from app.chart_words import number_text

LEFT: Final = 48
RIGHT: Final = 412
PLOT_HEIGHT: Final = 190
ROW: Final = 40  # of a bar with its words
TOP: Final = 62
HIDDEN: Final = "<11"  # not told; may be none
_Scale = Callable[[float], float]  # from a value to a place

_GRID: Final[Style] = {"stroke": EDGE, "stroke_width": 0.6}
_LINE: Final[Style] = {"stroke": INK, "stroke_width": 1.6}
_WHISKER: Final[Style] = {"stroke": GREY, "stroke_width": 1.4}


@dataclass(frozen=True, slots=True)
class MeanPoint:
    """The cohort at one time; None: not told."""

    label: str
    n: int | None
    mean: float | None
    low: float | None
    high: float | None
    judged: bool = True  # whether enough of what the forms ask about lies after the dose


@dataclass(frozen=True, slots=True)
class SurvivalPoint:
    """The curve on one day."""

    day: float
    at_risk: int | None
    survival: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FlowRow:
    """Persons at one time; None: not told."""

    label: str
    answered: int | None
    missed: int | None
    next_course: int | None
    not_yet_due: int | None

    @property
    def parts(self) -> tuple[tuple[str, int | None], ...]:
        return (
            ("answered", self.answered),
            ("missed", self.missed),
            ("next course", self.next_course),
            ("not yet due", self.not_yet_due),
        )


# --- Mean trajectory --------------------------------------------------------------------------------------------------


def mean_svg(title: str, minimum: int, maximum: int, points: Sequence[MeanPoint], as_of: str) -> str:
    """Means with their 95 % intervals and n under each; the times stand side by side, not to scale."""
    bottom = TOP + PLOT_HEIGHT

    def y(total: float) -> float:
        return bottom - PLOT_HEIGHT * (min(max(total, minimum), maximum) - minimum) / (maximum - minimum)

    width = (RIGHT - LEFT) / max(len(points), 1)
    places = [LEFT + width * (place + 0.5) for place in range(len(points))]
    parts = [
        *heading([title], f"Mean total, {minimum} to {maximum}, with 95 % interval; as of {as_of}"),
        *_axis([(y(value), number_text(value)) for value in _marks(minimum, maximum)]),
        *_means(points, places, y),
        *(
            svg.text(point.label, x, bottom + 16, text_anchor="middle", font_size=11.5)
            for point, x in zip(points, places, strict=True)
        ),
        *_row("n", [_told(point.n) for point in points], places, bottom + 34),
    ]
    notes = [
        "Times since the first dose, not to scale. Open circle: most of what forms ask about lies before the dose.",
        "Each mean is of whoever answered then: who stopped answering is missing from it.",
        _CAUSE,
    ]
    told = "; ".join(_said(point) for point in points)
    said = (
        f"{title}. Mean total, 95 % interval, by time since the first dose, as of {as_of}: {told}. {notes[1]} {_CAUSE}"
    )
    return _finished("cohort-mean", title, said, parts, notes, bottom + 40)


def _means(points: Sequence[MeanPoint], places: Sequence[float], y: _Scale) -> Iterator[str]:
    drawn = [(point, x, point.mean) for point, x in zip(points, places, strict=True)]
    for (_, x1, before), (_, x2, after) in pairwise(drawn):
        if before is not None and after is not None:
            yield svg.line(x1, y(before), x2, y(after), class_="run", **_LINE)
    for point, x, mean in drawn:
        if mean is None or point.low is None or point.high is None:
            yield svg.text("?", x, TOP + PLOT_HEIGHT - 6, text_anchor="middle", fill=GREY, class_="not-told")
            continue
        yield _whisker(x, y(point.high), y(point.low))
        fill = INK if point.judged else "#fff"
        yield svg.tag("circle", cx=x, cy=y(mean), r=4.2, fill=fill, stroke=INK, stroke_width=1.5, class_="mean")
        beside: Style = {"x": x - 6, "text_anchor": "end"} if x + 36 > WIDTH else {"x": x + 5}
        yield svg.tag("text", number_text(mean), **beside, y=y(mean) - 7, font_size=11.5, font_weight="bold", **HALO)


def _said(point: MeanPoint) -> str:
    if point.mean is None or point.low is None or point.high is None:
        return f"{point.label}, not told"
    interval = f"{number_text(point.low)} to {number_text(point.high)}"
    return f"{point.label}, {number_text(point.mean)} ({interval}), n {_told(point.n)}"


# --- How long a response lasts ----------------------------------------------------------------------------------------


def survival_svg(
    title: str, points: Sequence[SurvivalPoint], persons: int | None, median_days: float | None, as_of: str
) -> str:
    """Kaplan-Meier at the days that may be told, with intervals and numbers at risk."""
    bottom = TOP + PLOT_HEIGHT
    last = max((point.day for point in points), default=84.0)

    def x(day: float) -> float:
        return LEFT + 12 + (RIGHT - LEFT - 30) * day / last

    def y(share: float) -> float:
        return bottom - PLOT_HEIGHT * share

    shown = [SurvivalPoint(0, persons, 1, 1, 1), *points]
    median = "not reached or not told" if median_days is None else f"about day {number_text(median_days)}"
    under = f"Still in response, 95 % interval; as of {as_of}"
    parts = [
        *heading([title], under),
        *_axis([(y(share / 4), f"{25 * share} %") for share in range(5)]),
        *_curve(shown, x, y),
        *_days(last, x, bottom),
        svg.text(
            "days since response was first seen", (LEFT + RIGHT) / 2, bottom + 32, text_anchor="middle", fill=GREY
        ),
        svg.text(f"median: {median}", RIGHT - 6, TOP + 14, text_anchor="end", font_weight="bold", **HALO),
        svg.text("at risk", 6, bottom + 52, fill=GREY, font_size=11.5),
        *_apart([(x(point.day), _told(point.at_risk)) for point in shown], bottom + 68),
    ]
    notes = [
        "Points stand where enough have lost it since the point before; between them the curve is not told.",
        "Of those who responded. Whoever stopped answering leaves the curve at the last form still in response.",
        _CAUSE,
    ]
    told = "; ".join(
        f"day {number_text(one.day)}, {_percent(one.survival)} ({_percent(one.low)} to {_percent(one.high)}), "
        f"at risk {_told(one.at_risk)}"
        for one in points
    )
    seen = told or "No point of the curve may be told"
    said = f"{title}. {under}. {_told(persons)} responded; median {median}. {seen}. {_CAUSE}"
    return _finished("cohort-survival", title, said, parts, notes, bottom + 74)


def _curve(points: Sequence[SurvivalPoint], x: _Scale, y: _Scale) -> Iterator[str]:
    for before, after in pairwise(points):
        yield svg.line(
            x(before.day),
            y(before.survival),
            x(after.day),
            y(after.survival),
            stroke_dasharray="6 3",
            class_="run",
            **_LINE,
        )
    for point in points:
        if point.day:
            yield _whisker(x(point.day), y(point.high), y(point.low))
        yield svg.tag("circle", cx=x(point.day), cy=y(point.survival), r=4.2, fill=INK, class_="survival")
    if len(points) == 1:
        middle = (LEFT + RIGHT) / 2, TOP + PLOT_HEIGHT / 2
        yield svg.text("Too few to be told", *middle, text_anchor="middle", font_size=16, font_weight="bold", **HALO)


def _days(last: float, x: _Scale, bottom: float) -> Iterator[str]:
    step = next(step for step in (7, 14, 28, 56, 91, 182, 364, 10_000) if last / step <= 6)
    for day in range(0, int(last) + 1, step):
        yield svg.line(x(day), bottom, x(day), bottom + 4, stroke=GREY)
        yield svg.text(str(day), x(day), bottom + 16, text_anchor="middle", font_size=11.5)


def _apart(numbers: Iterable[tuple[float, str]], y: float) -> Iterator[str]:
    """Those with room left of them."""
    end = 0.0
    for x, number in numbers:
        half = 3.6 * len(number)
        if x - half > end:
            yield svg.text(number, x, y, text_anchor="middle", font_size=11.5)
            end = x + half + 4


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


# --- Who was lost -----------------------------------------------------------------------------------------------------

_FILLS: Final = (INK, "#8b949e", "#d3d8de", "#ffffff")


def attrition_svg(title: str, came: Sequence[tuple[str, int | None]], rows: Sequence[FlowRow], as_of: str) -> str:
    """How many came so far, and a bar for each time: answered, missed, in the next course, not yet due."""
    whole = max([sum(count or 0 for _, count in row.parts) for row in rows] + [count or 0 for _, count in came] + [1])
    under = "; ".join([*(f"{name} {_told(count)}" for name, count in came), as_of])
    parts = [*heading([title], under), *_legend(TOP - 6)]
    for place, row in enumerate(rows):
        parts += _bar(row, TOP + 12 + ROW * place, whole)
    notes = [
        "Counts bear noise and need not add up. Dropping out is missed. Next course: it began before the time came.",
        f"{HIDDEN}: too few to be told, or none.",
    ]
    told = "; ".join(f"{row.label}: {_words(row)}" for row in rows)
    said = f"{title}. {under}. {told}. {' '.join(notes)}"
    return _finished("cohort-attrition", title, said, parts, notes, TOP + 12 + ROW * len(rows))


def _bar(row: FlowRow, top: float, whole: int) -> Iterator[str]:
    yield svg.text(row.label, 6, top + 13, font_size=11.5)
    x = 62.0
    for fill, (name, count) in zip(_FILLS, row.parts, strict=True):
        if count is not None:
            width = (RIGHT - 62) * count / whole
            yield svg.tag(
                "rect", x=x, y=top, width=width, height=17, fill=fill, stroke=INK, stroke_width=0.8, class_=name
            )
            x += width
    yield svg.text(_words(row), 6, top + 31, fill=GREY, font_size=11.5)


def _words(row: FlowRow) -> str:
    return ", ".join(f"{name} {_told(count)}" for name, count in row.parts)


def _legend(y: float) -> Iterator[str]:
    x = 6.0
    for fill, name in zip(_FILLS, ("answered", "missed", "next course", "not yet due"), strict=True):
        yield svg.tag("rect", x=x, y=y - 9, width=11, height=11, fill=fill, stroke=INK, stroke_width=0.8)
        yield svg.text(name, x + 16, y, font_size=11.5)
        x += 30 + 6.3 * len(name)


# --- What they share --------------------------------------------------------------------------------------------------

_CAUSE: Final = "Nobody was randomised: time order is not cause."


def _told(count: int | None) -> str:
    return HIDDEN if count is None else str(count)


def _marks(minimum: int, maximum: int) -> list[int]:
    step = next(step for step in (1, 2, 5, 10, 20, 25, 50, 100) if (maximum - minimum) / step <= 6)
    inside = [mark for mark in range(minimum, maximum, step) if maximum - mark > step / 2]
    return [*inside, maximum]


def _axis(marks: Iterable[tuple[float, str]]) -> Iterator[str]:
    for y, label in marks:
        yield svg.line(LEFT, y, RIGHT, y, **_GRID)
        yield svg.text(label, LEFT - 6, y + 4, text_anchor="end", font_size=11.5)


def _row(name: str, numbers: Sequence[str], places: Sequence[float], y: float) -> Iterator[str]:
    yield svg.text(name, 6, y, fill=GREY, font_size=11.5)
    for number, x in zip(numbers, places, strict=True):
        yield svg.text(number, x, y, text_anchor="middle", font_size=11.5)


def _whisker(x: float, top: float, bottom: float) -> str:
    ends = (svg.line(x - 4, y, x + 4, y) for y in (top, bottom))
    return svg.group([svg.line(x, top, x, bottom), *ends], class_="interval", **_WHISKER)


def _finished(kind: str, title: str, said: str, parts: Iterable[str], notes: Iterable[str], y: float) -> str:
    drawn = list(parts)
    for note in notes:
        for line in wrap(note, 61):
            y += 17
            drawn.append(svg.text(line, 6, y, fill=GREY, font_size=11.5))
    return document(kind, "1", title, said, drawn, y + 12)
