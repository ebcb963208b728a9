"""`tidemark erasures`: the ledger on the command line, on a real database, by exit status and lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from typer.testing import CliRunner

from app.auth import Actor, Role
from app.cli import cli
from app.db import Database
from app.errors import InvalidError, NotFoundError
from app.schemas.erasures import ErasureGround
from app.schemas.patients import PatientCreate
from app.services import clinics
from app.services.erasure_ledger import LedgerEntry, parse_ledger
from app.services.erasures import erase_patient
from app.services.patients import record_patient

T = TypeVar("T")


async def a_clinic(database: Database, patients: int) -> tuple[UUID, list[UUID]]:
    """With so many patients, the first of whom is erased."""
    clinic = await clinics.record_clinic(database, "Command line", "UTC")
    actor, made = Actor(clinic.clinic_id, uuid4(), Role.ADMIN), []
    for _ in range(patients):
        async with database.session(clinic.clinic_id) as session:
            made.append((await record_patient(session, actor, PatientCreate(), None))[0].id)
    async with database.session(clinic.clinic_id) as session:
        await erase_patient(session, actor, made[0], ErasureGround.RETENTION_ENDED, 1, None)
    return clinic.clinic_id, made


def test_export_prints_a_line_for_each_erasure(on_database: Callable[..., Any]) -> None:
    """Of one clinic or of all; a clinic that is not there is told as such."""
    (one, (patient, *_)), (two, _) = (on_database(lambda database: a_clinic(database, 2)) for _ in range(2))
    (entry,) = parse_ledger(CliRunner().invoke(cli, ["erasures", "export", "--clinic", str(one)]).output)
    assert (entry.clinic_id, entry.patient_id, entry.ground) == (one, patient, "retention_ended")
    everybody = parse_ledger(CliRunner().invoke(cli, ["erasures", "export"]).output)
    assert {one, two} <= {found.clinic_id for found in everybody}
    missing = CliRunner().invoke(cli, ["erasures", "export", "--clinic", str(uuid4())])
    assert isinstance(missing.exception, NotFoundError)


def test_replay_names_whom_it_erased_and_does_it_once(on_database: Callable[..., Any], tmp_path: Path) -> None:
    clinic, patients = on_database(lambda database: a_clinic(database, 2))
    exported = CliRunner().invoke(cli, ["erasures", "export", "--clinic", str(clinic)]).output
    (known,) = parse_ledger(exported)
    back = LedgerEntry(clinic, uuid4(), patients[1], known.erased_at, known.erased_by, "patient_request")
    nowhere = LedgerEntry(uuid4(), uuid4(), uuid4(), known.erased_at, known.erased_by, "patient_request")
    file = tmp_path / "erasures.ndjson"
    file.write_text(f"{exported}{back.line()}\n{nowhere.line()}\n")
    first = CliRunner().invoke(cli, ["erasures", "replay", str(file)])
    assert first.output.splitlines() == [
        f"erased again: patient {patients[1]} of clinic {clinic}",
        "1 erased again, 1 known already, 1 of clinics not here.",
    ]
    second = CliRunner().invoke(cli, ["erasures", "replay", str(file)])
    assert second.output.splitlines() == ["0 erased again, 2 known already, 1 of clinics not here."]


def test_a_bad_line_stops_a_replay_before_it_begins(on_database: Callable[..., Any], tmp_path: Path) -> None:
    clinic, patients = on_database(lambda database: a_clinic(database, 2))
    file = tmp_path / "erasures.ndjson"
    exported = CliRunner().invoke(cli, ["erasures", "export", "--clinic", str(clinic)]).output
    file.write_text(exported.replace(str(patients[0]), str(patients[1])) + '{"clinic_id": ')
    refused = CliRunner().invoke(cli, ["erasures", "replay", str(file)])
    assert isinstance(refused.exception, InvalidError)
    assert refused.exception.detail == "Line 2 of the erasure ledger is none of ours. Nothing was done."
    again = CliRunner().invoke(cli, ["erasures", "export", "--clinic", str(clinic)]).output
    assert again == exported
