"""Alerts over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    BasedOnDep,
    IdempotencyKeyDep,
    PageDep,
    SessionDep,
    StrictRoute,
    allowed,
    link_next,
    mark_replayed,
    tag_version,
)
from app.errors import Fault, InvalidError
from app.paging import Position, cut
from app.schemas.alert_words import label_of, rule_of, step_label
from app.schemas.alerts import (
    LATENCY_RULE,
    NOTE,
    Acknowledgement,
    AlertDetailAnswer,
    AlertEventAnswer,
    AlertPage,
    CauseAnswer,
    KindLatencyAnswer,
    LatencyAnswer,
    Resolution,
    listed,
)
from app.schemas.fields import Id, Timestamp
from app.scoring.alerting import AlertKind, AlertStatus
from app.services import alert_latency, alerts
from app.services.alert_latency import Period
from app.services.alert_states import AlertHistory, AlertStep
from app.services.alerts import WAITING, AlertFilter

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_ALERTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_ALERTS))]

_USUAL_PERIOD: Final = timedelta(days=90)
_LONGEST_PERIOD: Final = timedelta(days=366)  # a year; more is a matter for a report, and too much to read at once


def _filter(
    status: Annotated[
        list[AlertStatus] | None, Query(description="May be given more than once. Default: `open` and `acknowledged`.")
    ] = None,
    kind: Annotated[AlertKind | None, Query()] = None,
    patient_id: Annotated[Id | None, Query()] = None,
) -> AlertFilter:
    return AlertFilter(tuple(status) if status else WAITING, kind, patient_id)


def _period(
    begins: Annotated[Timestamp | None, Query(alias="from", description="Default: 90 days before `to`.")] = None,
    ends: Annotated[Timestamp | None, Query(alias="to", description="Default: now. At most 366 days later.")] = None,
) -> Period:
    ends = ends or datetime.now(UTC)
    begins = begins or ends - _USUAL_PERIOD
    if not timedelta(0) < ends - begins <= _LONGEST_PERIOD:
        fault = Fault("query/from", "not_a_period", "`from` lies before `to`, by 366 days at most.")
        raise InvalidError("This is no period we can look at.", faults=(fault,))
    return Period(begins.astimezone(UTC), ends.astimezone(UTC))


@router.get("", summary="Alerts, longest waiting first", description=f"What waits for a person. {NOTE}")
async def list_alerts(
    actor: Reader,
    session: SessionDep,
    page: PageDep,
    wanted: Annotated[AlertFilter, Depends(_filter)],
    request: Request,
    response: Response,
) -> AlertPage:
    found = await alerts.find_alerts(session, actor, wanted, page)
    rows, cursor = cut(found, page, lambda one: Position(one.row.raised_at, one.row.id))
    await record_read(
        session, actor, "alert.list", of=[one.row.patient_id for one in rows], rows=len(rows), asked=wanted
    )
    link_next(request, response, cursor)
    shown = [listed(one.row, one.answered_at) for one in rows]
    return AlertPage(data=shown, next_cursor=cursor, note=NOTE)


@router.get("/latency", summary="How long alerts waited to be seen and to be dealt with")
async def get_alert_latency(
    actor: Reader, session: SessionDep, period: Annotated[Period, Depends(_period)]
) -> LatencyAnswer:
    """For each kind. What is still open has no figure yet, and stands beside those that have."""
    found = await alert_latency.find_latencies(session, actor, period, datetime.now(UTC))
    await record_read(
        session, actor, "alert_latency.read", of=None, rows=sum(kind.opened for kind in found), asked=period
    )
    return LatencyAnswer(
        period_from=period.begins,
        period_to=period.ends,
        kinds=[KindLatencyAnswer.model_validate(kind) for kind in found],
        rule=LATENCY_RULE,
    )


@router.get("/{alert_id}", summary="One alert with its rule, its causes and all that happened to it")
async def get_alert(actor: Reader, session: SessionDep, alert_id: Id, response: Response) -> AlertDetailAnswer:
    found = await alerts.get_alert(session, actor, alert_id)
    await record_read(session, actor, "alert.read", of=found.subject.patient_id, resource_id=alert_id)
    tag_version(response, found.version)
    return _answer(found)


@router.post("/{alert_id}/acknowledgement", summary="Say that an alert has been seen")
async def acknowledge_alert(
    actor: Writer,
    session: SessionDep,
    alert_id: Id,
    body: Acknowledgement,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> AlertDetailAnswer:
    """Stale (412) when anything happened since it was read: what nobody saw cannot be acknowledged."""
    made, replayed = await alerts.acknowledge_alert(session, actor, alert_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return _answer(made)


@router.post("/{alert_id}/resolution", summary="Say what was done about an alert")
async def resolve_alert(
    actor: Writer,
    session: SessionDep,
    alert_id: Id,
    body: Resolution,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> AlertDetailAnswer:
    """Without an acknowledgement before it, it is one as well. A new cause opens the alert again."""
    made, replayed = await alerts.resolve_alert(session, actor, alert_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return _answer(made)


def _answer(alert: AlertHistory) -> AlertDetailAnswer:
    state, subject = alert.state, alert.subject
    label = label_of(subject.kind, subject.instrument, subject.item)
    rule, source = rule_of(subject.kind, subject.instrument, subject.item)
    return AlertDetailAnswer(
        id=subject.id,
        version=alert.version,
        patient_id=subject.patient_id,
        kind=subject.kind,
        label=label,
        instrument=subject.instrument,
        item=subject.item,
        status=state.status,
        raised_at=state.raised_at,
        acknowledged_at=state.acknowledged_at,
        resolved_at=state.resolved_at,
        reopened=state.reopened,
        rule=rule,
        source=source,
        causes=_causes(alert),
        events=[_event(step, label) for step in alert.steps],
    )


def _causes(alert: AlertHistory) -> list[CauseAnswer]:
    """The active ones, each as it was raised last."""
    last = {step.fact.cause: step for step in alert.steps if step.fact.kind == "raised"}
    return [
        CauseAnswer(assessment_id=step.assessment_id, raised_at=step.fact.at, cause=cause)
        for cause, step in last.items()
        if cause in alert.state.active and cause is not None
    ]


def _event(step: AlertStep, label: str) -> AlertEventAnswer:
    return AlertEventAnswer(
        number=step.number,
        kind=step.fact.kind,
        label=step_label(step.fact.kind, label, step.action),
        at=step.fact.at,
        actor_id=step.actor_id,
        assessment_id=step.assessment_id,
        cause=step.fact.cause,
        action=step.action,  # type: ignore[arg-type]  # only a Resolution's actions are stored
        note=step.note,
    )
