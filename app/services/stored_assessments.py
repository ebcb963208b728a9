"""Stored forms as their senders were first answered."""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

import asyncpg

from app.services.alert_states import find_first_alerts
from app.services.clinic_rules import rules_of
from app.services.histories import history_from_json, history_sql
from app.services.scored_assessments import AssessmentInView, ScoredAssessment, from_row, in_view

# Each with the treatment as it was known when the form arrived, which is what its sender was told.
_FIRST: Final = f"""
SELECT form.*, (
    SELECT json_agg(history) FROM (
        {history_sql("form.clinic_id", "ARRAY[form.patient_id]", "form.received_at")}) history
) AS history
FROM assessment form WHERE form.clinic_id = $1 AND form.id = ANY($2::uuid[]) AND form.version = 1
"""


async def find_first_answers(
    connection: asyncpg.Connection, clinic_id: UUID, ids: Collection[UUID]
) -> dict[UUID, AssessmentInView]:
    if not ids:
        return {}
    rows = await connection.fetch(_FIRST, clinic_id, list(ids))
    forms = [from_row(row) for row in rows]
    raised = await find_first_alerts(connection, clinic_id, ids)
    safety_text = await safety_text_for(connection, clinic_id, forms)
    return {
        form.id: in_view(form, history_from_json(row["history"]), raised.get(form.id, ()), safety_text)
        for form, row in zip(forms, rows, strict=True)
    }


async def safety_text_for(connection: asyncpg.Connection, clinic_id: UUID, forms: Iterable[ScoredAssessment]) -> str:
    """The clinic's words; not asked for when nobody is to hear them."""
    if not any(form.is_critical for form in forms):
        return ""
    return (await rules_of(connection, clinic_id)).safety_text
