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
UNNAMED: Final = 2**31 - 1  # the place of those without a name
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
        filters = (sorted({str(each) for each in only.categories}), *flags, only.patient_id and only.patient_id.hex)
        return repr(("caseload", clinic_id.hex, self.instrument, self.sort.value, *filters))


# --- What is known of everybody ---------------------------------------------------------------------------------------

# Rows of many kinds are put under each other and folded to one for each patient. Joins would read better, but with row
# security the planner thinks a clinic far smaller than it is, and then it walks through the whole of one side for each
# row of the other. This way the work grows with the clinic, whatever the planner believes.
_COLUMNS: Final[Mapping[str, tuple[str, str]]] = {  # type, and how the column is folded
    "place": ("int", "max"),
    "created_at": ("timestamptz", "max"),
    "taken_at": ("timestamptz", "max"),
    "category": ("text", "max"),
    "on_track": ("bool", "bool_or"),
    "change": ("float8", "max"),
    "open": ("int", "count"),
    "is_late": ("bool", "bool_or"),
    "next_at": ("timestamptz", "min"),
}


def _facts(id_: str, source: str, **columns: str) -> str:
    others = (f"{columns.get(name, 'NULL')}::{kind}" for name, (kind, _) in _COLUMNS.items())
    return f"SELECT {id_}, {', '.join(others)} FROM {source}"


# OFFSET 0 makes it a look-up for each: as a join it was planned as a walk through the whole clinic for each.
_PLANNED: Final = """
    planned.status = 'planned' AND NOT planned.entered_in_error AND planned.scheduled_at >= $3 AND NOT EXISTS (
      SELECT FROM treatment_session later
      WHERE later.clinic_id = $1 AND later.id = planned.id AND later.version = planned.version + 1 OFFSET 0)"""
_IS_OVERDUE: Final = "assessment_id IS NULL AND overdue_at <= $3 AND closes_at > $3"
_IS_MISSED: Final = (
    f"assessment_id IS NULL AND closes_at <= $3 AND closes_at > $3::timestamptz - interval '{MISSED_DAYS} days'"
)

_PATIENTS: Final = _facts("id", "patient WHERE clinic_id = $1", created_at="created_at")
_STANDINGS: Final = _facts(
    "patient_id",
    "standing WHERE clinic_id = $1 AND instrument = $2",
    **{name: name for name in ("taken_at", "category", "on_track", "change")},
)
_OPEN_ALERTS: Final = _facts("patient_id", "alert WHERE clinic_id = $1 AND status = 'open'", open="1")
_OVERDUE: Final = _facts("patient_id", f"expected_check_in WHERE clinic_id = $1 AND {_IS_OVERDUE}", is_late="true")
_NEXT_SESSIONS: Final = _facts(
    "planned.patient_id",
    f"treatment_session planned WHERE planned.clinic_id = $1 AND {_PLANNED}",
    next_at="planned.scheduled_at",
)
_FOLDED: Final = ", ".join(f"{fold}({name}) AS {name}" for name, (_, fold) in _COLUMNS.items())

# --- Order ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """Keys that all ascend and are never null, then the patient's id, so that a place is one comparison of rows.

    `kinds` are those of the keys that a cursor carries.
    """

    keys: tuple[str, ...]
    kinds: tuple[type[Key], ...]


_SILENT_SINCE: Final = "coalesce(known.taken_at, known.created_at)"
_CATEGORY_RANK: Final = (
    "CASE known.category WHEN 'harmed' THEN 0 WHEN 'deteriorated' THEN 1 WHEN 'unchanged' THEN 2 "
    "WHEN 'improved' THEN 4 WHEN 'recovered' THEN 5 ELSE 3 END"
)
_PLACES: Final = _facts("id", "unnest({ids}) WITH ORDINALITY AS named (id, number)", place="number")

ORDERS: Final[Mapping[Sort, Order]] = {
    Sort.WORST: Order(
        ("-known.open::int", "(known.on_track IS DISTINCT FROM false)::int", _CATEGORY_RANK, _SILENT_SINCE),
        (int, int, int, datetime),
    ),
    # Names are sealed, so their order comes from outside, and a cursor carries none: addresses end up in others' logs.
    Sort.NAME: Order(("coalesce(known.place, {unnamed})",), ()),
    Sort.LAST_FORM: Order(("(known.taken_at IS NOT NULL)::int", _SILENT_SINCE), (int, datetime)),
    Sort.NEXT_SESSION: Order(
        ("(known.next_at IS NULL)::int", f"coalesce(known.next_at, {_SILENT_SINCE})"), (int, datetime)
    ),
    Sort.CHANGE: Order(("(known.change IS NULL)::int", "coalesce(known.change * {better}, 0)"), (int, float)),
}

# --- The query --------------------------------------------------------------------------------------------------------

# First the few columns that order and filters need, of everybody; then the others, of the page's patients alone.
_CASELOAD: Final = f"""
WITH listed AS MATERIALIZED (
  SELECT known.id, known.taken_at IS NOT NULL AS has_form, {{matches}} AS matches, {{keys}}
  FROM (SELECT id, {_FOLDED} FROM ({{facts}}) fact (id, {", ".join(_COLUMNS)}) GROUP BY id) known
), head AS (
  SELECT count(*) AS patients, count(*) FILTER (WHERE has_form) AS with_form,
    count(*) FILTER (WHERE matches) AS matching
  FROM listed
), page AS (
  SELECT * FROM listed WHERE matches AND {{after}} ORDER BY {{order}} LIMIT $4
)
SELECT head.*, page.*,
  standing.episode_id, standing.assessment_id, standing.taken_at, standing.validity, standing.total, standing.severity,
  standing.baseline_id, standing.baseline_rule, standing.baseline_total,
  standing.change, standing.percent_change, standing.change_since_last,
  standing.category, standing.on_track, standing.on_track_reason,
  standing.forms, standing.doses, standing.last_dose_at,
  task.alerts_open, task.alerts_acknowledged, task.oldest_open_at, wanted.overdue, wanted.missed,
  next.scheduled_at AS next_session_at, next.kind AS next_session_kind
FROM head
LEFT JOIN page ON true
LEFT JOIN LATERAL (
  SELECT * FROM standing WHERE clinic_id = $1 AND standing.patient_id = page.id AND instrument = $2 LIMIT 1
) standing ON true
LEFT JOIN LATERAL (
  SELECT count(*) FILTER (WHERE status = 'open') AS alerts_open,
    count(*) FILTER (WHERE status = 'acknowledged') AS alerts_acknowledged,
    min(raised_at) FILTER (WHERE status = 'open') AS oldest_open_at
  FROM alert
  WHERE alert.clinic_id = $1 AND alert.patient_id = page.id
) task ON true
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
    """Text and values of a request. Parameters 1 to 4 are clinic, instrument, time of looking and number of rows.

    `named` are the patients in the order of their names, where that is asked for.
    """

    def __init__(
        self,
        request: CaseloadRequest,
        instrument: Instrument,
        place: Sequence[Key] | None,
        named: tuple[UUID, ...] = (),
    ) -> None:
        self.values: list[Any] = []
        self._request, self._named = request, named
        better = -1 if instrument.direction is Direction.LOWER_IS_BETTER else 1
        keys = [key.format(better=better, unnamed=UNNAMED) for key in ORDERS[request.sort].keys]
        names = [*(f"key_{number}" for number, _ in enumerate(keys)), "id"]
        self.text = _CASELOAD.format(
            matches=" AND ".join(["true", *self._conditions()]),
            keys=", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=False)),
            facts="\n    UNION ALL ".join(self._facts()),
            after="true" if place is None else self._after(names, place),
            order=", ".join(names),
            order_of_page=", ".join(f"page.{name}" for name in names),
        )

    def _after(self, names: Sequence[str], place: Sequence[Key]) -> str:
        return f"ROW({', '.join(names)}) > ROW({', '.join(map(self._parameter, place))})"

    def _conditions(self) -> Iterator[str]:
        only = self._request.only
        if only.categories:
            wanted = self._parameter(sorted({str(each) for each in only.categories}))
            yield f"coalesce(known.category, '{UNKNOWN}') = ANY({wanted})"
        if only.on_track is not None:
            yield f"known.on_track IS {only.on_track.value.upper()}"
        if only.has_open_alerts is not None:
            yield f"known.open {'>' if only.has_open_alerts else '='} 0"
        if only.overdue is not None:
            yield f"known.is_late IS {'' if only.overdue else 'NOT '}TRUE"
        if only.silent_for_days is not None:
            days = self._parameter(only.silent_for_days)
            yield f"{_SILENT_SINCE} <= $3::timestamptz - make_interval(days => {days})"
        if only.patient_id is not None:
            yield f"known.id = {self._parameter(only.patient_id)}"

    def _facts(self) -> Iterator[str]:
        yield from (_PATIENTS, _STANDINGS, _OPEN_ALERTS)
        if self._request.only.overdue is not None:
            yield _OVERDUE
        if self._request.sort is Sort.NEXT_SESSION:
            yield _NEXT_SESSIONS
        if self._request.sort is Sort.NAME:
            yield _PLACES.format(ids=self._parameter(self._named))

    def _parameter(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values) + 4}::{_SQL_TYPES[type(value)]}"


_SQL_TYPES: Final[Mapping[type, str]] = {
    int: "int",
    float: "float8",
    datetime: "timestamptz",
    UUID: "uuid",
    list: "text[]",
    tuple: "uuid[]",
}
