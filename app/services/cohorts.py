"""What became of a cohort: read whole, told in figures that no single person stands behind.

Every question is written down with what became of it. The same question keeps its answer for a while: asked again it
would bear other noise, or show who came in between. Researchers have a budget besides, and two cohorts a few persons
apart are not both answered to them.
"""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_read
from app.auth import Actor, Role
from app.db import Database
from app.errors import AppError, Fault, InvalidError, TooManyError
from app.ids import new_id
from app.privacy.budget import QUESTIONS, Answered, Cohorts, Refusal, decide, leaves_few_over, needed_difference
from app.privacy.cells import SMALLEST_CELL
from app.privacy.noise import SHORTEST_KEY, canonical
from app.schemas.cohort_answers import cohort_answer
from app.schemas.cohorts import CohortAnswer, CohortPersons
from app.schemas.consents import Purpose
from app.scoring.cohort_course import CohortFilter, Traits
from app.scoring.default_rules import default_cut_point
from app.scoring.model import Instrument
from app.services.cohort_courses import ReadCohort, read_cohort
from app.services.consents import consents_in_force, told_of
from app.services.scored_assessments import known_instrument
from app.tables import CohortQuestion

PERIOD: Final = timedelta(days=30)  # of the budget, and for which researchers' answers stand; judgement
STAFF_PERIOD: Final = timedelta(hours=1)  # same for those who may see the rows: one answer for figures and pictures


@dataclass(frozen=True, slots=True)
class CohortRequest:
    instrument: str
    only: CohortFilter


@dataclass(frozen=True, slots=True)
class _Question:
    """A question as it is written down."""

    instrument: Instrument
    only: CohortFilter
    of: CohortPersons
    seen_by: UUID | None = None  # a clinician from whom somebody is hidden: another view, so another question

    @property
    def text(self) -> str:
        return canonical(self._view | {"instrument": self.instrument.key} | asdict(self.only)).decode()

    @property
    def cohort(self) -> str:
        """Whom it chooses. Severity is that of one instrument, all else is not."""
        return canonical(self._by_instrument | asdict(self.only)).decode()

    @property
    def whom(self) -> bytes:
        """The same as this asker sees it."""
        return canonical(self._view | self._by_instrument | asdict(self.only))

    @property
    def _view(self) -> dict[str, str | None]:
        return {"of": self.of, "seen_by": None if self.seen_by is None else str(self.seen_by)}

    @property
    def _by_instrument(self) -> dict[str, str]:
        return {} if self.only.severity is None else {"instrument": self.instrument.key}


@dataclass(frozen=True, slots=True)
class ToldCohort:
    answer: CohortAnswer
    questions_left: int | None  # of the budget; None: without one


# Seconds of a processor and a connection of the pool: check-ins must not wait for several of these.
_ONE_AT_A_TIME: Final = asyncio.Lock()


async def get_outcomes(database: Database, actor: Actor, request: CohortRequest) -> ToldCohort:
    instrument = known_instrument(request.instrument, "query/instrument")
    _refuse_nonsense(request.only, instrument)
    of: CohortPersons = "consenting" if actor.role is Role.RESEARCHER else "in_view"
    question = _Question(instrument, request.only, of, actor.token_id if actor.hidden else None)
    if answer := await _repeated(database, actor, question):
        return answer
    async with _ONE_AT_A_TIME:
        return await _repeated(database, actor, question) or await _made(database, actor, question)


async def _repeated(database: Database, actor: Actor, question: _Question) -> ToldCohort | None:
    now = datetime.now(UTC)
    async with database.session(actor.clinic_id) as session:
        kept = await _kept_answer(session, actor, question)
        if kept is None:
            await _refuse_spent(session, actor, now)
        if kept is None or kept.asked_at <= now - _period(actor):
            return None
        await _write_down(session, actor, question, kept.key, kept.persons, now, decision="repeated")
        return await _told(session, actor, kept.answer, now)


async def _refuse_spent(session: AsyncSession, actor: Actor, now: datetime) -> None:
    """Before anything is read: whoever asks on and on must not keep others waiting. It counts as no question."""
    asked = await _asked_at(session, actor, now - PERIOD) if actor.role is Role.RESEARCHER else ()
    if len(asked) >= QUESTIONS:
        raise _spent(_free_at(asked) - now)


async def _made(database: Database, actor: Actor, question: _Question) -> ToldCohort:
    only, instrument = question.only, question.instrument
    now = datetime.now(UTC)
    async with _people_in_question(database, actor) as connection:
        willing = await _willing(connection, database, actor, now) if question.of == "consenting" else None
        found = await read_cohort(connection, actor.clinic_id, instrument, only, now, willing)
    key = await _known_key(database, actor, question) or secrets.token_bytes(SHORTEST_KEY)
    # Before it is known whether it may be told: then nobody waits for it.
    answer = await asyncio.to_thread(cohort_answer, instrument, only, question.of, found.record, key, question.whom)
    return await _decided(database, actor, question, found, key, answer) or await _made(database, actor, question)


async def _known_key(database: Database, actor: Actor, question: _Question) -> bytes | None:
    async with database.session(actor.clinic_id) as session:
        return await _key_of(session, actor, question)


def _people_in_question(database: Database, actor: Actor) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """The one place where a researcher's question reads patients' rows: what leaves it are figures of cohorts alone.

    The caller's permission has been checked by the route. A transaction of the researcher would see no row. Others ask
    about whom they see: who knows all the others in a cohort could tell a hidden patient from its figures.
    """
    return database.connection(actor.clinic_id if actor.role is Role.RESEARCHER else actor)


async def _willing(connection: asyncpg.Connection, database: Database, actor: Actor, at: datetime) -> set[UUID]:
    """Who has consented to research without naming a recipient: an answer has none."""
    return told_of(await consents_in_force(connection, database.keys, actor.clinic_id, Purpose.RESEARCH, at), None)


async def _decided(
    database: Database, actor: Actor, question: _Question, found: ReadCohort, key: bytes, answer: CohortAnswer
) -> ToldCohort | None:
    """Decided and written down by one after the other in a clinic; a refusal is committed before it is told.

    None: another process drew this cohort's key meanwhile, and the answer bears noise that nobody else has.
    """
    people, now = len(found.record.courses), found.record.as_of
    async with database.session(actor.clinic_id) as session:
        await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(f"cohort {actor.clinic_id}", 0))))
        kept = await _kept_answer(session, actor, question)
        if await _key_of(session, actor, question) not in {None, key}:
            return None
        nearest = needed_difference(key, question.cohort.encode())
        if kept and (kept.asked_at > now - _period(actor) or _is_near(actor, kept.persons, people, nearest)):
            await _write_down(session, actor, question, key, people, now, decision="repeated")
            return await _told(session, actor, kept.answer, now)
        refusal, free_at = await _refusal(session, actor, question, found, nearest)
        if refusal is None:
            told = answer.model_dump(mode="json")
            await _write_down(session, actor, question, key, people, now, decision="answered", answer=told)
            return await _told(session, actor, told, now)
        await _write_down(session, actor, question, key, people, now, decision="refused", refusal=refusal.value)
    raise _refused(refusal, free_at - now)


async def _told(session: AsyncSession, actor: Actor, answer: dict[str, Any] | None, now: datetime) -> ToldCohort:
    left = None
    if actor.role is Role.RESEARCHER:
        left = max(0, QUESTIONS - len(await _asked_at(session, actor, now - PERIOD)))
    return ToldCohort(CohortAnswer.model_validate(answer), left)


def _refused(refusal: Refusal, waits: timedelta) -> AppError:
    """With its conditions it stands in the trail already."""
    error: AppError = InvalidError(_TOO_FEW, faults=(Fault("query", refusal.value, _TOO_FEW),))
    if refusal is Refusal.BUDGET_SPENT:
        error = _spent(waits)
    error.is_told = True
    return error


def _spent(waits: timedelta) -> TooManyError:
    return TooManyError(_BUDGET_SPENT, max(1, int(waits.total_seconds())))


def _free_at(asked: Sequence[datetime]) -> datetime:
    return asked[-QUESTIONS] + PERIOD


_BUDGET_SPENT: Final = (
    f"A researcher may ask {QUESTIONS} different cohort questions in {PERIOD.days} days. Earlier questions are still "
    "answered as before."
)
_TOO_FEW: Final = (
    f"The cohort has fewer than {SMALLEST_CELL} persons, or differs by too few from one that was answered before. "
    "Choose a wider cohort, or one that is further from earlier ones."
)


async def _refusal(
    session: AsyncSession, actor: Actor, question: _Question, found: ReadCohort, nearest: int
) -> tuple[Refusal | None, datetime]:
    """Why not, and when the budget has room again. Whoever may see the rows has no budget and no neighbours."""
    people, now = len(found.record.courses), found.record.as_of
    if actor.role is not Role.RESEARCHER:
        return (Refusal.TOO_FEW_PEOPLE if people < SMALLEST_CELL else None), now
    asked = await _asked_at(session, actor, now - PERIOD)
    told = await _told_to_researchers(session, actor, question)
    answered, leaves_few = await asyncio.to_thread(_beside, question, told, found.traits)
    free_at = _free_at(asked) if len(asked) >= QUESTIONS else now
    cohort = question.cohort.encode()
    refusal = decide(cohort, people, answered, len(asked), nearest, leaves_few=leaves_few, questions=QUESTIONS)
    return refusal, free_at


def _period(actor: Actor) -> timedelta:
    return PERIOD if actor.role is Role.RESEARCHER else STAFF_PERIOD


def _is_near(actor: Actor, before: int, now: int, nearest: int) -> bool:
    """An old answer is kept on as long as the new one would show the few who came or went."""
    return actor.role is Role.RESEARCHER and 0 < abs(now - before) < nearest


async def _kept_answer(session: AsyncSession, actor: Actor, question: _Question) -> CohortQuestion | None:
    mine = select(CohortQuestion).where(
        CohortQuestion.clinic_id == actor.clinic_id,
        col(CohortQuestion.research).is_(actor.role is Role.RESEARCHER),
        CohortQuestion.question == question.text,
        CohortQuestion.decision == "answered",
    )
    return (await session.exec(mine.order_by(col(CohortQuestion.asked_at).desc()).limit(1))).first()


async def _key_of(session: AsyncSession, actor: Actor, question: _Question) -> bytes | None:
    """Drawn once for each cohort, so that asking again draws no other noise and no other distance."""
    drawn = select(CohortQuestion.key).where(
        CohortQuestion.clinic_id == actor.clinic_id, CohortQuestion.cohort == question.cohort
    )
    return (await session.exec(drawn.order_by(col(CohortQuestion.asked_at)).limit(1))).first()


async def _asked_at(session: AsyncSession, actor: Actor, since: datetime) -> Sequence[datetime]:
    """What counts against the budget: refused questions too, repeated ones not."""
    asked = select(CohortQuestion.asked_at).where(
        CohortQuestion.clinic_id == actor.clinic_id,
        CohortQuestion.principal_id == actor.token_id,
        CohortQuestion.decision != "repeated",
        CohortQuestion.asked_at > since,
    )
    return (await session.exec(asked.order_by(col(CohortQuestion.asked_at)))).all()


async def _told_to_researchers(session: AsyncSession, actor: Actor, question: _Question) -> dict[str, CohortFilter]:
    """All cohorts that any researcher of the clinic was told about.

    Those by severity on another instrument are left out: its baselines were not read.
    """
    told = select(CohortQuestion.cohort).where(
        CohortQuestion.clinic_id == actor.clinic_id,
        col(CohortQuestion.research).is_(True),
        CohortQuestion.decision == "answered",
    )
    found = {}
    for cohort in (await session.exec(told.distinct())).all():
        conditions = json.loads(cohort)
        if conditions.pop("instrument", question.instrument.key) == question.instrument.key:
            found[cohort] = CohortFilter(**conditions)
    return found


def _beside(
    question: _Question, told: Mapping[str, CohortFilter], traits: Counter[Traits]
) -> tuple[list[Answered], bool]:
    """How many persons lie between each of these cohorts and the one asked for, and whether all together leave few."""
    kinds = Counter[Cohorts]()
    for one, count in traits.items():
        kinds[(*(other.admits(one) for other in told.values()), question.only.admits(one))] += count
    apart = [sum(count for kind, count in kinds.items() if kind[place] != kind[-1]) for place in range(len(told))]
    answered = [Answered(cohort.encode(), people) for cohort, people in zip(told, apart, strict=True)]
    return answered, question.cohort not in told and leaves_few_over(kinds)


async def _write_down(
    session: AsyncSession,
    actor: Actor,
    question: _Question,
    key: bytes,
    persons: int,
    at: datetime,
    **what: Any,
) -> None:
    row = CohortQuestion(
        clinic_id=actor.clinic_id,
        id=new_id(),
        principal_id=actor.token_id,
        research=actor.role is Role.RESEARCHER,
        asked_at=at,
        question=question.text,
        cohort=question.cohort,
        persons=persons,
        key=key,
        **({"refusal": None, "answer": None} | what),
    )
    session.add(row)
    # Of nobody: whom a cohort is made of is not told, and would be everybody.
    action = "cohort.refuse" if row.decision == "refused" else "cohort.read"
    await record_read(session, actor, action, of=None, resource_id=row.id, asked=question.only)


def _refuse_nonsense(only: CohortFilter, instrument: Instrument) -> None:
    if only.first_dose_from and only.first_dose_to and only.first_dose_to < only.first_dose_from:
        fault = Fault("query/first_dose_to", "ends_before_it_begins", "The last month lies before the first.")
        raise InvalidError("The months are the wrong way round.", faults=(fault,))
    if only.severity is not None and only.severity not in severity_groups(instrument):
        groups = ", ".join(severity_groups(instrument)) or "none"
        fault = Fault("query/severity", "unknown_severity", f"This instrument has: {groups}.")
        raise InvalidError("The instrument has no such group of severity.", faults=(fault,))


def severity_groups(instrument: Instrument) -> tuple[str, ...]:
    """What baselines of this instrument can be grouped by."""
    if instrument.bands:
        return tuple(band.code for band in instrument.bands)
    cut = default_cut_point(instrument)
    return () if cut is None else (f"at:{cut.code}", f"not:{cut.code}")
