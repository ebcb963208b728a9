"""A clinic's own rules for judging change."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Body, InstrumentId
from app.schemas.versions import VERSION_EXAMPLE, Change, VersionAnswer

Rule = Literal[
    "reliable_change",
    "minimal_important_difference",
    "clinically_significant",
    "partial_response",
    "response",
    "remission",
]
ThresholdCode = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Source = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Kind = Literal["change_points", "change_rate", "score"]
Sign = Literal[">=", ">", "<=", "<"]

_EXAMPLE: dict[str, Any] = {
    "instrument": "pcl-5-week",
    "rule": "reliable_change",
    "code": "reliable_change_12_clinic",
    "kind": "change_points",
    "inequality": ">=",
    "value": 12.0,
    "population": "veterans in our own trauma programme",
    "source": "Clinic guideline 2026-03, section 4",
}


class ThresholdCreate(Body):
    """A rule beside the built-in ones. Its code is its name for ever: to change a rule, retire it and add another."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    instrument: InstrumentId = Field(description="id without version")
    rule: Rule
    code: ThresholdCode = Field(description="Unique in the clinic for this instrument; not one of the built-in codes.")
    kind: Kind = Field(description="What is compared: improvement in points, as a share of the baseline, or the total.")
    inequality: Sign = Field(description="An improvement is compared by `>=` or `>` alone.")
    value: float = Field(description="Points, a share from 0 to 1, or a total.")
    population: Source = Field(description="For whom it holds.")
    source: Source = Field(description="Who says so.")


class ThresholdRetirement(Change):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "replaced by reliable_change_15"}})


class ThresholdAnswer(VersionAnswer):
    model_config = ConfigDict(json_schema_extra={"example": VERSION_EXAMPLE | _EXAMPLE | {"retired": False}})

    instrument: str
    rule: str
    code: str
    kind: Kind
    inequality: Sign
    value: float
    population: str
    source: str
    retired: bool
