"""The one query behind the caseload: put together of constants, by what is asked; every value is a parameter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from app.paging import DEFAULT_LIMIT, Key
from app.scoring.model import Direction, Instrument

MISSED_DAYS: Final = 28  # how far back missed check-ins are counted; as far as a baseline may lie before treatment
UNKNOWN: Final = "unknown"  # the category of those who have none


class Sort(StrEnum):
    WORST = "worst"
    NAME = "name"
    LAST_FORM = "last_form"
    NEXT_SESSION = "next_session"
    CHANGE = "change"


class OnTrackAnswer(StrEnum):
    """A verdict that may be missing."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CaseloadFilter:
    """Whom to list. None and the empty tuple leave everybody in."""

    categories: tuple[str, ...] = ()
    on_track: OnTrackAnswer | None = None
    has_open_alerts: bool | None = None
    overdue: bool | None = None
    silent_for_days: int | None = None
    patient_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CaseloadRequest:
    """What is asked: of which instrument, whom, in which order, from where on."""

    instrument: str = "phq-9"
    only: CaseloadFilter = CaseloadFilter()
    sort: Sort = Sort.WORST
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def question(self, clinic_id: UUID) -> str:
        """What a cursor belongs to: everything but the place in the list and the length of a page."""
        only = self.only
        flags = (only.on_track and only.on_track.value, only.has_open_alerts, only.overdue, only.silent_for_days)
        filters = (sorted(set(only.categories)), *flags, only.patient_id and only.patient_id.hex)
        return repr(("caseload", clinic_id.hex, self.instrument, self.sort.value, *filters))


@dataclass(frozen=True, slots=True)
class Order:
    """Keys that all ascend and are never null, then the patient's id, so that a place is one comparison of rows.

    `kinds` are those of the keys that a cursor carries.
    """

    keys: tuple[str, ...]
    kinds: tuple[type[Key], ...]


_SILENT_SINCE: Final = "coalesce(standing.taken_at, patient.created_at)"
_OPEN: Final = "coalesce(task.open, 0)"
_CATEGORY_RANK: Final = (
    "CASE standing.category WHEN 'harmed' THEN 0 WHEN 'deteriorated' THEN 1 WHEN 'unchanged' THEN 2 "
    "WHEN 'improved' THEN 4 WHEN 'recovered' THEN 5 ELSE 3 END"
)
_NAME_KEYS: Final = ("(patient.external_ref IS NULL)::int", """coalesce(patient.external_ref, '') COLLATE "C" """)

ORDERS: Final[Mapping[Sort, Order]] = {
    Sort.WORST: Order(
        (f"-{_OPEN}", "CASE WHEN standing.on_track = false THEN 0 ELSE 1 END", _CATEGORY_RANK, _SILENT_SINCE),
        (int, int, int, datetime),
    ),
    # No text is carried: a cursor ends up in addresses, and addresses in the logs of others. The id finds the name.
    Sort.NAME: Order(_NAME_KEYS, ()),
    Sort.LAST_FORM: Order(("(standing.taken_at IS NOT NULL)::int", _SILENT_SINCE), (int, datetime)),
    Sort.NEXT_SESSION: Order(
        ("(upcoming.at IS NULL)::int", f"coalesce(upcoming.at, {_SILENT_SINCE})"), (int, datetime)
    ),
    Sort.CHANGE: Order(("(standing.change IS NULL)::int", "coalesce(standing.change * {better}, 0)"), (int, float)),
}

_PLANNED: Final = """
    planned.status = 'planned' AND NOT planned.entered_in_error AND planned.scheduled_at >= $3 AND NOT EXISTS (
      SELECT FROM treatment_session later
      WHERE later.clinic_id = $1 AND later.id = planned.id AND later.version > planned.version)"""
_UPCOMING: Final = f"""LEFT JOIN (
    SELECT planned.patient_id, min(planned.scheduled_at) AS at FROM treatment_session planned
    WHERE planned.clinic_id = $1 AND {_PLANNED}
    GROUP BY planned.patient_id
  ) upcoming ON upcoming.patient_id = patient.id"""
_IS_OVERDUE: Final = "assessment_id IS NULL AND overdue_at <= $3 AND closes_at > $3"
_IS_MISSED: Final = (
    f"assessment_id IS NULL AND closes_at <= $3 AND closes_at > $3::timestamptz - interval '{MISSED_DAYS} days'"
)
_LATE: Final = f"""LEFT JOIN (
    SELECT DISTINCT patient_id FROM expected_check_in WHERE clinic_id = $1 AND {_IS_OVERDUE}
  ) late ON late.patient_id = patient.id"""

# First the few columns that order and filters need, of everybody; then the others, of the page's patients alone.
_CASELOAD: Final = f"""
WITH task AS MATERIALIZED (
  SELECT patient_id, (count(*) FILTER (WHERE status = 'open'))::int AS open,
    (count(*) FILTER (WHERE status = 'acknowledged'))::int AS acknowledged,
    min(raised_at) FILTER (WHERE status = 'open') AS oldest_open_at
  FROM alert
  WHERE clinic_id = $1 AND status IN ('open', 'acknowledged')
  GROUP BY patient_id
), listed AS MATERIALIZED (
  SELECT patient.id, standing.taken_at IS NOT NULL AS has_form, {{matches}} AS matches, {{keys}}
  FROM patient
  LEFT JOIN standing
    ON standing.clinic_id = $1 AND standing.patient_id = patient.id AND standing.instrument = $2
  LEFT JOIN task ON task.patient_id = patient.id
  {{joins}}
  WHERE patient.clinic_id = $1
), head AS (
  SELECT count(*) AS patients, count(*) FILTER (WHERE has_form) AS with_form,
    count(*) FILTER (WHERE matches) AS matching
  FROM listed
), page AS (
  SELECT * FROM listed WHERE matches AND {{after}} ORDER BY {{order}} LIMIT $4
)
SELECT head.*, {{place_known}} AS place_known, page.*, patient.external_ref,
  standing.episode_id, standing.assessment_id, standing.taken_at, standing.validity, standing.total, standing.severity,
  standing.baseline_id, standing.baseline_rule, standing.baseline_total,
  standing.change, standing.percent_change, standing.change_since_last,
  standing.category, standing.on_track, standing.on_track_reason,
  standing.forms, standing.doses, standing.last_dose_at,
  {_OPEN} AS alerts_open, coalesce(task.acknowledged, 0) AS alerts_acknowledged,
  task.oldest_open_at,
  wanted.overdue, wanted.missed,
  next.scheduled_at AS next_session_at, next.kind AS next_session_kind
FROM head
LEFT JOIN page ON true
LEFT JOIN patient ON patient.clinic_id = $1 AND patient.id = page.id
LEFT JOIN standing ON standing.clinic_id = $1 AND standing.patient_id = page.id AND standing.instrument = $2
LEFT JOIN task ON task.patient_id = page.id
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE {_IS_OVERDUE}) AS overdue, count(*) FILTER (WHERE {_IS_MISSED}) AS missed
  FROM expected_check_in
  WHERE clinic_id = $1 AND expected_check_in.patient_id = page.id AND opens_at <= $3
) wanted ON true
LEFT JOIN LATERAL (
  SELECT planned.scheduled_at, planned.kind FROM treatment_session planned
  WHERE planned.clinic_id = $1 AND planned.patient_id = page.id AND {_PLANNED}
  ORDER BY planned.scheduled_at, planned.id
  LIMIT 1
) next ON true
ORDER BY {{order_of_page}}
"""


class CaseloadQuery:
    """Text and values of a request. Parameters 1 to 4 are clinic, instrument, time of looking and number of rows."""

    def __init__(self, request: CaseloadRequest, instrument: Instrument, place: Sequence[Key] | None) -> None:
        self.values: list[Any] = []
        self._request = request
        better = -1 if instrument.direction is Direction.LOWER_IS_BETTER else 1
        keys = [key.format(better=better) for key in ORDERS[request.sort].keys]
        names = [*(f"key_{number}" for number, _ in enumerate(keys)), "id"]
        after, place_known = ("true", "true") if place is None else self._after(names, place)
        self.text = _CASELOAD.format(
            matches=" AND ".join(["true", *self._conditions()]),
            keys=", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=False)),
            joins="\n  ".join(self._joins()),
            after=after,
            place_known=place_known,
            order=", ".join(names),
            order_of_page=", ".join(f"page.{name}" for name in names),
        )

    def _after(self, names: Sequence[str], place: Sequence[Key]) -> tuple[str, str]:
        row = f"ROW({', '.join(names)})"
        if self._request.sort is not Sort.NAME:
            return f"{row} > ROW({', '.join(map(self._parameter, place))})", "true"
        its_row = f"FROM patient WHERE patient.clinic_id = $1 AND patient.id = {self._parameter(place[-1])}"
        return f"{row} > (SELECT {', '.join(_NAME_KEYS)}, patient.id {its_row})", f"EXISTS (SELECT {its_row})"

    def _conditions(self) -> Iterator[str]:
        only = self._only.only
        if only.categories:
            wanted = self._parameter(sorted(set(only.categories)))
            yield f"coalesce(standing.category, '{UNKNOWN}') = ANY({wanted})"
        if only.on_track is not None:
            yield f"standing.on_track IS {only.on_track.value.upper()}"
        if only.has_open_alerts is not None:
            yield f"{_OPEN} {'>' if only.has_open_alerts else '='} 0"
        if only.overdue is not None:
            yield f"late.patient_id IS {'NOT NULL' if only.overdue else 'NULL'}"
        if only.silent_for_days is not None:
            days = self._parameter(only.silent_for_days)
            yield f"{_SILENT_SINCE} <= $3::timestamptz - make_interval(days => {days})"
        if only.patient_id is not None:
            yield f"patient.id = {self._parameter(only.patient_id)}"

    def _joins(self) -> Iterator[str]:
        if self._request.only.overdue is not None:
            yield _LATE
        if self._request.sort is Sort.NEXT_SESSION:
            yield _UPCOMING

    def _parameter(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values) + 4}::{_SQL_TYPES[type(value)]}"


_SQL_TYPES: Final[Mapping[type, str]] = {
    int: "int",
    float: "float8",
    datetime: "timestamptz",
    UUID: "uuid",
    list: "text[]",
}
