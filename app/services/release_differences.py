"""What a new release tells beside earlier ones. Who was in which and like whom is kept, without their names there."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.privacy.overlap import Beside, Releases, Told, beside_earlier, few_with_others, tells_apart
from app.services.consents import ConsentInForce

_EARLIER: Final = """
SELECT person.patient_id, array_agg(person.release_id ORDER BY person.release_id) AS releases,
    array_agg(person.told_as ORDER BY person.release_id) AS classes
FROM release_person person JOIN release ON release.clinic_id = $1 AND release.id = person.release_id
WHERE person.clinic_id = $1 AND release.ready_at <= $2
GROUP BY person.patient_id
"""

_LOCK: Final = "SELECT clock_timestamp() FROM pg_advisory_xact_lock(hashtextextended($1, 0))"


@dataclass(frozen=True, slots=True)
class EarlierReleases:
    """Who is in which release that was ready by then, and still counts."""

    of: dict[UUID, Releases]
    told: dict[UUID, Told]  # of the same people
    k: int

    def waiting(self, chosen: Collection[UUID]) -> frozenset[UUID]:
        return few_with_others(chosen, self.of, self.k)

    def tell_apart(self, chosen: Collection[UUID]) -> bool:
        return tells_apart(chosen, self.of, self.k)

    def beside(self, classes: Mapping[UUID, int | None]) -> Beside:
        return beside_earlier(classes, self.told)


async def find_earlier_releases(
    connection: asyncpg.Connection, clinic_id: UUID, consents: Iterable[ConsentInForce], at: datetime, k: int
) -> EarlierReleases:
    """By consents to research at that time, whoever they are for.

    Who withdrew since counts no more: the next release would else be refused for their sake, for good.
    """
    willing = {one.patient_id for one in consents}
    shared: dict[Any, Any] = {}  # each once, however many people it is of
    found = EarlierReleases({}, {}, k)
    for row in await connection.fetch(_EARLIER, clinic_id, at):
        if (patient_id := row["patient_id"]) in willing:
            kind = tuple(row["releases"])
            told = tuple(shared.setdefault(one, one) for one in zip(kind, row["classes"], strict=True))
            found.of[patient_id] = shared.setdefault(kind, kind)
            found.told[patient_id] = shared.setdefault(told, told)
    return found


async def lock_releases(connection: asyncpg.Connection, clinic_id: UUID) -> datetime:
    """Until the end of the transaction no other release of the clinic becomes ready. When that was so."""
    at: datetime = await connection.fetchval(_LOCK, f"releases {clinic_id}")
    return at
