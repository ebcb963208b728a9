"""From what the core found to what clients see: names of the contract, ids instead of whole forms."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from app.schemas.instruments import SeverityAnswer
from app.schemas.trajectories import (
    AfterAnswer,
    BaselineAnswer,
    CategoryRule,
    CompletenessAnswer,
    DurabilityAnswer,
    FormAnswer,
    LatestAnswer,
    OnTrackAnswer,
    PointAnswer,
    RemissionAnswer,
    SessionAnswer,
    StageCompletenessAnswer,
    SuddenChangeAnswer,
    TrajectoryAnswer,
    TrendAnswer,
    VerdictAnswer,
    WorseAnswer,
    WorseItemAnswer,
)
from app.scoring.durability import Durability
from app.scoring.expected import CourseCompleteness
from app.scoring.model import Instrument, Point, SeverityBand, Validity
from app.scoring.registry import get_instrument
from app.scoring.session_effect import AfterForm, SessionEffect
from app.scoring.timeline import DAY, HOUR
from app.scoring.trajectory import Latest, Trajectory, TrajectoryPoint, trajectory
from app.scoring.treatment import Baseline, BaselineRule, Dose, NoBaseline, choose_baseline
from app.scoring.worse_after_dose import FormPoint, WorseAfterDose


def trajectory_answer(
    patient_id: UUID,
    instrument: Instrument,
    episode_id: str | None,
    found: Trajectory,
    known_at: datetime,
    shown_from: datetime | None,
) -> TrajectoryAnswer:
    """`shown_from` narrows the points that are listed; everything else speaks of the whole course."""
    baseline = found.baseline
    sem = None if found.error is None else found.error.sem
    return TrajectoryAnswer(
        patient_id=patient_id,
        instrument=instrument.key,
        episode_id=None if episode_id is None else UUID(episode_id),
        known_at=known_at,
        baseline=_baseline(baseline) if isinstance(baseline, Baseline) else None,
        no_baseline=baseline.reason if isinstance(baseline, NoBaseline) else None,
        points=[_point(entry, sem) for entry in found.points if shown_from is None or entry.point.at >= shown_from],
        latest=None if found.latest is None else _latest(found.latest),
        trend=TrendAnswer.model_validate(found.trend),
        sudden_changes=[SuddenChangeAnswer.model_validate(change) for change in found.sudden_changes],
        sessions=[_session(session) for session in found.sessions],
        worse_after_dose=[_worse(worse) for worse in found.worse_after_dose],
        durability=_durability(found.durability),
        completeness=None if found.completeness is None else _completeness(found.completeness),
        on_track=OnTrackAnswer.model_validate(found.on_track),
    )


def _baseline(baseline: Baseline) -> BaselineAnswer:
    point = baseline.point
    assert point.total is not None  # noqa: S101  # a baseline is a scored form; narrows the type
    return BaselineAnswer(assessment_id=UUID(point.id), rule=baseline.rule.value, taken_at=point.at, total=point.total)


def _form(point: Point | None) -> FormAnswer | None:
    if point is None:
        return None
    return FormAnswer(assessment_id=UUID(point.id), taken_at=point.at, total=point.total)


def _point(entry: TrajectoryPoint, sem: float | None) -> PointAnswer:
    point, context = entry.point, entry.context
    return PointAnswer(
        assessment_id=point.id,
        taken_at=point.at,
        total=point.total,
        validity=point.validity,
        severity=None if entry.severity is None else _severity(entry.severity),
        sem=sem,
        dose_number=context.dose_number,
        hours_since_dose=context.hours_since_dose,
        recall_after_dose=context.recall_after_dose,
        change=entry.change,
        percent_change=entry.percent_change,
    )


@cache
def _severity(band: SeverityBand) -> SeverityAnswer:
    return SeverityAnswer.model_validate(band)


def _latest(latest: Latest) -> LatestAnswer:
    point, category = latest.point, latest.category
    assert point.total is not None  # noqa: S101  # only scored forms are judged; narrows the type
    return LatestAnswer(
        assessment_id=UUID(point.id),
        taken_at=point.at,
        total=point.total,
        change=latest.change,
        percent_change=latest.percent_change,
        verdicts=[VerdictAnswer.model_validate(verdict) for verdict in latest.verdicts],
        category=category.category,
        category_rule=CategoryRule.model_validate(category),
    )


def _session(session: SessionEffect) -> SessionAnswer:
    return SessionAnswer(
        treatment_session_id=UUID(session.dose_id),
        dose_number=session.dose_number,
        started_at=session.started_at,
        rules=session.rules,
        before=_form(session.before),
        hours_before=session.hours_before,
        after={after.window: _after(after) for after in session.after},
        effect=session.effect,
        standard_error=session.standard_error,
        effect_window=session.effect_window,
        not_estimable=session.not_estimable,
    )


def _after(after: AfterForm) -> AfterAnswer:
    return AfterAnswer(
        form=_form(after.point),
        hours_after=after.hours_after,
        recall_after_dose=after.recall_after_dose,
        effect=after.effect,
        standard_error=after.standard_error,
        not_estimable=after.not_estimable,
    )


def _worse(worse: WorseAfterDose) -> WorseAnswer:
    return WorseAnswer(
        treatment_session_id=UUID(worse.dose_id),
        dose_number=worse.dose_number,
        before=_form(worse.before),
        after=FormAnswer(assessment_id=UUID(worse.after.id), taken_at=worse.after.at, total=worse.after.total),
        hours_after=worse.hours_after,
        change=worse.change,
        rule=worse.rule,
        reasons=[reason.value for reason in worse.reasons],
        items=[WorseItemAnswer.model_validate(item) for item in worse.items],
    )


def _completeness(found: CourseCompleteness) -> CompletenessAnswer:
    stages = [StageCompletenessAnswer(code=stage.code, **asdict(stage.completeness)) for stage in found.stages]
    return CompletenessAnswer(rule=found.rule, stages=stages, **asdict(found.total))


def _durability(durability: Durability) -> DurabilityAnswer:
    response, remission = durability.response, durability.remission
    return DurabilityAnswer(
        rule=durability.rule,
        response_rule=response.rule,
        first_response_at=response.first_at,
        last_without_at=response.last_without_at,
        hours_to_response=response.hours_to,
        doses_to_response=response.doses_to,
        lost_at=response.ended_at,
        days_sustained=response.days_sustained,
        days_sustained_low=response.days_sustained_low,
        days_sustained_high=response.days_sustained_high,
        censored=response.censored,
        censored_at=response.censored_at,
        reason=response.reason,
        remission=RemissionAnswer(
            rule=remission.rule,
            first_remission_at=remission.first_at,
            last_without_at=remission.last_without_at,
            hours_to_remission=remission.hours_to,
            doses_to_remission=remission.doses_to,
            relapse_at=remission.ended_at,
            days_sustained=remission.days_sustained,
            days_sustained_low=remission.days_sustained_low,
            days_sustained_high=remission.days_sustained_high,
            censored=remission.censored,
            censored_at=remission.censored_at,
            reason=remission.reason,
        ),
        judged=durability.judged,
        kept_out_by_recall=durability.kept_out_by_recall,
        incomplete=durability.incomplete,
        observed_until=durability.observed_until,
    )


def example() -> TrajectoryAnswer:
    """A made-up course for the reference, judged by the rules as they stand."""
    phq_9, start = get_instrument("phq-9"), datetime(2026, 9, 1, 9, tzinfo=UTC)
    totals = {0: 19, 10: 15, 17: 12, 24: 9, 31: 8, 38: 8}
    points = [
        Point(str(UUID(f"019a9c20-0000-7000-8000-{day:012d}")), start + day * DAY, total, Validity.VALID)
        for day, total in totals.items()
    ]
    doses = [
        Dose(str(UUID(f"019a9c21-0000-7000-8000-{day:012d}")), start + day * DAY, start + day * DAY + HOUR)
        for day in (3, 10)
    ]
    baseline = choose_baseline(points, BaselineRule.PRE_TREATMENT, first_dose_at=doses[0].started_at)
    found = trajectory(phq_9, [FormPoint(point) for point in points], doses, baseline, points[-1].at)
    patient, episode = UUID("019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a"), "019a9c1e-6b00-7000-8000-00000000000e"
    return trajectory_answer(patient, phq_9, episode, found, points[-1].at, None)
