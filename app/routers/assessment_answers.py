"""A stored form in the words of the API."""

from datetime import timedelta
from uuid import UUID

from app.schemas.alert_words import label_of
from app.schemas.assessments import ArrivalAnswer, AssessmentAnswer, ContextAnswer, RaisedAlertAnswer
from app.schemas.instruments import ScoreAnswer
from app.services.alert_states import RaisedAlert
from app.services.clock import LATE_AFTER
from app.services.scored_assessments import AssessmentInView, ScoredAssessment

_HOUR = timedelta(hours=1)


def answer_of(found: AssessmentInView) -> AssessmentAnswer:
    assessment, context = found.assessment, found.placed.context
    return AssessmentAnswer(
        id=assessment.id,
        version=assessment.version,
        status=assessment.status,  # type: ignore[arg-type]  # the table's CHECK holds it to the choices
        patient_id=assessment.patient_id,
        instrument=assessment.instrument.key,
        taken_at=assessment.taken_at,
        taken_at_offset=assessment.taken_at_offset_minutes,
        received_at=assessment.received_at,
        mode=assessment.mode,  # type: ignore[arg-type]  # same
        language=assessment.language,
        responses=list(assessment.responses),
        score=ScoreAnswer.of(assessment.score),
        context=ContextAnswer(
            episode_id=None if found.placed.episode_id is None else UUID(found.placed.episode_id),
            dose_number=context.dose_number,
            hours_since_dose=context.hours_since_dose,
            recall_after_dose=context.recall_after_dose,
        ),
        arrival=_arrival(assessment),
        alerts=[_raised(alert) for alert in found.alerts],
        safety_text=found.safety_text,
    )


def _arrival(assessment: ScoredAssessment) -> ArrivalAnswer:
    after = assessment.received_at - assessment.taken_at
    return ArrivalAnswer(
        late=after > LATE_AFTER,
        hours_after=round(after / _HOUR, 4),
        device_skew_seconds=assessment.clock.skew_seconds,
        clock_correction_minutes=assessment.clock.correction_minutes,
    )


def _raised(alert: RaisedAlert) -> RaisedAlertAnswer:
    return RaisedAlertAnswer(
        id=alert.id, kind=alert.kind, item=alert.item, label=label_of(alert.kind, alert.instrument, alert.item)
    )
