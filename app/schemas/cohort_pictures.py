"""The same figures as pictures."""

from typing import Final, Literal

from app.cohort_charts import FlowRow, MeanPoint, SurvivalPoint, attrition_svg, mean_svg, survival_svg
from app.schemas.cohorts import Cell, CohortAnswer, Mean, SuppressedAnswer
from app.scoring.registry import get_instrument

Picture = Literal["mean", "survival", "attrition"]

_LABELS: Final = {
    "hours_24": "24 h",
    **{f"week_{number}": f"wk {number}" for number in (1, 2, 4, 8)},
    **{f"month_{number}": f"mo {number}" for number in (3, 6)},
}


def cohort_svg(answer: CohortAnswer, picture: Picture) -> str:
    """From the figures as they were told, so that a picture tells no more."""
    instrument, as_of = get_instrument(answer.instrument), f"{answer.as_of:%Y-%m-%d}"
    if picture == "mean":
        title = f"{instrument.id.upper()}: mean of a cohort"
        points = [
            _mean("before", answer.baseline, judged=True),
            *(
                _mean(_LABELS[one.code], one.total, judged=not isinstance(one.judged, SuppressedAnswer))
                for one in answer.time_points
            ),
        ]
        return mean_svg(title, instrument.minimum, instrument.maximum, points, as_of)
    if picture == "survival":
        found = answer.durability
        curve = [SurvivalPoint(one.day, _count(one.at_risk), one.survival, one.low, one.high) for one in found.curve]
        median = None if isinstance(found.median_days, SuppressedAnswer) else found.median_days
        title = f"{instrument.id.upper()}: how long a response lasts"
        return survival_svg(title, curve, _count(found.persons), median, as_of)
    rows = [
        FlowRow(_LABELS[one.code], *map(_count, (one.observed, one.missed, one.ended, one.not_yet_due)))
        for one in answer.time_points
    ]
    flow = answer.flow
    came = [("dosed", _count(flow.dosed)), ("baseline", _count(flow.with_baseline))]
    if flow.not_dosed is not None:
        came.insert(0, ("never dosed", _count(flow.not_dosed)))
    return attrition_svg(f"{instrument.id.upper()}: who answered when", came, rows, as_of)


def _count(cell: Cell) -> int | None:
    return None if isinstance(cell, SuppressedAnswer) else cell


def _mean(label: str, mean: Mean, *, judged: bool) -> MeanPoint:
    if isinstance(mean, SuppressedAnswer):
        return MeanPoint(label, None, None, None, None, judged)
    return MeanPoint(label, mean.n, mean.mean, mean.low, mean.high, judged)
