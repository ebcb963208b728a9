"""Alerts as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.alert_words import label_of, rule_of, step_label
from app.schemas.fields import Answer, Body, Id, Page
from app.scoring.alerting import AlertFactKind, AlertKind, AlertStatus

Note = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Action = Literal["contacted_patient", "safety_plan", "referred", "treatment_changed", "no_action_needed", "other"]

NOTE: Final = (
    "Tidemark is not a crisis service, and no alert never means no risk: 71.6 % of those who died by suicide had "
    "answered 0 to item 9 (Louzon 2016)."
)
LATENCY_RULE: Final = (
    "An alert opens when it is raised while it was not open: for the first time, again, or by a new cause after an "
    "acknowledgement. `acknowledgement` runs from there to the acknowledgement, or to the resolution where there was "
    "none; `resolution` from when the alert began to be unresolved. Both count what began in the period and was ended "
    "by a person: p50 and p90 by nearest rank, so read them beside what is still open. Every wait begins when the "
    "service learned of the cause, not when the form was filled in."
)
_PATIENT_NOTE: Final = "What was seen or done, without names of people."


class Acknowledgement(Body):
    """Somebody has seen it. Wants `If-Match`, so that nothing is acknowledged that was not seen."""

    model_config = ConfigDict(json_schema_extra={"example": {"note": "calling at noon"}})

    note: Note | None = Field(default=None, description=_PATIENT_NOTE)


class Resolution(Body):
    """What was done about it. Wants `If-Match`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"action": "contacted_patient", "note": "spoke by telephone, plan renewed"}}
    )

    action: Action
    note: Note | None = Field(default=None, description=_PATIENT_NOTE)


class AlertSummaryAnswer(Answer):
    """An open task about one patient. There is one for each kind, instrument and item; it is opened again."""

    id: Id
    version: int = Field(description="number of its events")
    patient_id: Id
    kind: AlertKind
    label: str = Field(examples=["PHQ-9 item 9 answered above 0"])
    instrument: str | None = Field(description="id without version; null: of no single instrument", examples=["phq-9"])
    item: int | None = Field(description="critical item; null: of the form as a whole")
    status: AlertStatus
    raised_at: datetime = Field(description="When its present or last span began, as the service learned of it.")
    acknowledged_at: datetime | None = Field(description="null while any cause is unseen")
    resolved_at: datetime | None
    reopened: int = Field(description="how often it came again after a resolution")


class CauseAnswer(Answer):
    """Why the alert stands: a cause the record still gives."""

    assessment_id: Id | None = Field(description="the form; null: raised by the absence of forms")
    raised_at: datetime
    cause: str = Field(description="Opaque; another answer is another cause.")


class AlertEventAnswer(Answer):
    """One thing that happened. Events are added, never changed."""

    number: int = Field(description="from 1")
    kind: AlertFactKind
    label: str = Field(examples=["Resolved: the patient was contacted"])
    at: datetime
    actor_id: Id | None = Field(description="id of the token; null: the service, from the record")
    assessment_id: Id | None
    cause: str | None = Field(description="of what is raised or withdrawn")
    action: Action | None
    note: str | None


_LABEL: Final = label_of(AlertKind.CRITICAL_ITEM, "phq-9", 9)
_RULE, _SOURCE = rule_of(AlertKind.CRITICAL_ITEM, "phq-9", 9)
_SUMMARY: Final[dict[str, Any]] = {
    "id": "010536e6-6d8f-55e0-acd2-89319a46de58",
    "version": 2,
    "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
    "kind": "critical_item",
    "label": _LABEL,
    "instrument": "phq-9",
    "item": 9,
    "status": "acknowledged",
    "raised_at": "2026-11-20T19:31:00Z",
    "acknowledged_at": "2026-11-20T20:02:00Z",
    "resolved_at": None,
    "reopened": 0,
}
_FORM: Final = "019a9c20-0000-7000-8000-000000000001"
_CAUSE: Final = f"{_FORM}:9:1"
_EVENTS: Final[list[dict[str, Any]]] = [
    {
        "number": 1,
        "kind": "raised",
        "label": step_label("raised", _LABEL, None),
        "at": "2026-11-20T19:31:00Z",
        "actor_id": None,
        "assessment_id": _FORM,
        "cause": _CAUSE,
        "action": None,
        "note": None,
    },
    {
        "number": 2,
        "kind": "acknowledged",
        "label": step_label("acknowledged", _LABEL, None),
        "at": "2026-11-20T20:02:00Z",
        "actor_id": "019a9c1e-0000-7000-8000-00000000000a",
        "assessment_id": None,
        "cause": None,
        "action": None,
        "note": "calling at noon",
    },
]


class AlertDetailAnswer(AlertSummaryAnswer):
    """An alert with the rule that raises it, the causes it rests on now, and all that happened to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _SUMMARY
            | {
                "rule": _RULE,
                "source": _SOURCE,
                "causes": [{"assessment_id": _FORM, "raised_at": "2026-11-20T19:31:00Z", "cause": _CAUSE}],
                "events": _EVENTS,
            }
        }
    )

    rule: str
    source: str
    causes: list[CauseAnswer] = Field(description="those the record gives now; empty once all are withdrawn")
    events: list[AlertEventAnswer] = Field(description="oldest first")


class AlertListedAnswer(AlertSummaryAnswer):
    """An alert in the list, with how old the news is."""

    answered_at: datetime | None = Field(
        description="When the newest form behind it was filled in: an offline telephone may bring old news. null: it "
        "rests on no form."
    )


def listed(row: Any, answered_at: datetime | None) -> AlertListedAnswer:
    label = label_of(AlertKind(row.kind), row.instrument, row.item)
    return AlertListedAnswer.model_validate(row.model_dump() | {"label": label, "answered_at": answered_at})


class AlertPage(Page[AlertListedAnswer]):
    """One page of alerts."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "data": [_SUMMARY | {"answered_at": "2026-11-17T19:30:00Z"}],
                "next_cursor": None,
                "note": NOTE,
            }
        }
    )

    note: str


class WaitAnswer(Answer):
    """Hours that people took, by nearest rank; null of none."""

    n: int
    p50: float | None
    p90: float | None
    maximum: float | None


class KindLatencyAnswer(Answer):
    """Alerts of one kind: `opened` is acknowledged, withdrawn unseen and open together."""

    kind: AlertKind
    opened: int = Field(description="how often one began to wait in the period")
    acknowledgement: WaitAnswer = Field(description="hours until somebody had seen it")
    withdrawn_unseen: int = Field(description="taken back by a correction before anybody had seen it")
    open: int = Field(description="of those opened in the period, still not seen by anybody")
    resolution: WaitAnswer = Field(description="hours until it was dealt with")
    unresolved: int = Field(description="of those that began in the period, not dealt with yet")
    longest_open_hours: float | None = Field(description="of all open now, whenever they were raised; null: none open")


_WAIT: Final[dict[str, Any]] = {"n": 14, "p50": 0.6, "p90": 5.25, "maximum": 19.5}


class LatencyAnswer(Answer):
    """How long alerts waited for people, one entry for each kind."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "from": "2026-08-22T19:30:00Z",
                "to": "2026-11-20T19:30:00Z",
                "kinds": [
                    {
                        "kind": "critical_item",
                        "opened": 16,
                        "acknowledgement": _WAIT,
                        "withdrawn_unseen": 1,
                        "open": 1,
                        "resolution": _WAIT | {"n": 13, "maximum": 47.0},
                        "unresolved": 2,
                        "longest_open_hours": 2.5,
                    }
                ],
                "rule": LATENCY_RULE,
            }
        }
    )

    period_from: datetime = Field(serialization_alias="from")
    period_to: datetime = Field(serialization_alias="to")
    kinds: list[KindLatencyAnswer]
    rule: str
