"""The demo: a synthetic clinic in a private Postgres, one token for each role, and three lines to try."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from rich.console import Console
from rich.progress import Progress
from sqlmodel import select

from app.auth import Actor, Role
from app.db import Database
from app.demo_clinic import load_patient
from app.services.clinics import record_clinic, record_token
from app.settings import Settings
from app.synthetic import synthetic_clinic
from app.tables import Clinic

SHOWN_PATIENT: Final = "demo-fast-relapse"  # answers fast, relapses at about week five
DECLINES: Final = 10  # every so many patients does not take part in research
_YEAR: Final = timedelta(days=400)  # long enough for the check-in at month twelve


@dataclass(frozen=True, slots=True)
class DemoState:
    """What a later start needs to show the same clinic again. Secrets: the file is the owner's alone."""

    clinic_id: str
    patient_id: str
    tokens: dict[str, str]


async def prepare(url: str, settings: Settings, data_dir: Path, out: Console, address: str) -> None:
    """Loads the clinic at the first start and prints how to use it."""
    database = Database(url, settings)
    await database.open()
    try:
        state_file = data_dir / "demo.json"
        state = _remembered(state_file)
        if state is None or not await _is_there(database, UUID(state.clinic_id)):
            state = await _load(database, out)
            _remember(state, state_file)
    finally:
        await database.close()
    _show(state, out, address)


def _remembered(state_file: Path) -> DemoState | None:
    """What an earlier start left, if it is whole."""
    try:
        state = DemoState(**json.loads(state_file.read_text()))
        UUID(state.clinic_id)
    except (OSError, ValueError, TypeError):
        return None
    return state


async def _is_there(database: Database, clinic_id: UUID) -> bool:
    async with database.session(clinic_id) as session:
        return (await session.exec(select(Clinic).where(Clinic.clinic_id == clinic_id))).first() is not None


def _remember(state: DemoState, state_file: Path) -> None:
    state_file.touch(mode=0o600)
    state_file.write_text(json.dumps(asdict(state)))


async def _load(database: Database, out: Console) -> DemoState:
    now = datetime.now(UTC)
    invented = synthetic_clinic(start=(now - _YEAR).date(), now=now)
    clinic = await record_clinic(database, invented.name, invented.time_zone)
    service, service_text = await record_token(database, clinic.clinic_id, Role.SERVICE, "demo")
    actor = Actor(clinic.clinic_id, service.id, Role.SERVICE)
    patients = {}
    with Progress(console=out, transient=True) as progress:
        all_of_them = progress.track(invented.patients, description="Loading a synthetic clinic")
        for number, patient in enumerate(all_of_them, 1):
            in_research = number % DECLINES != 0
            patients[patient.external_ref] = await load_patient(database, actor, patient, in_research=in_research)
    shown = patients[SHOWN_PATIENT]
    texts = {Role.SERVICE.value: service_text}
    for role in (Role.ADMIN, Role.CLINICIAN, Role.RESEARCHER, Role.PATIENT):
        whose = shown if role is Role.PATIENT else None
        _, texts[role.value] = await record_token(database, clinic.clinic_id, role, "demo", patient_id=whose)
    return DemoState(str(clinic.clinic_id), str(shown), texts)


def _show(state: DemoState, out: Console, address: str) -> None:
    """Plain lines, so that they can be copied from any terminal."""
    lines = [
        "",
        "Tidemark demo. Everybody in this clinic is invented; keep real patients out of it.",
        "",
        f"  API        {address}",
        f"  Reference  {address}/docs",
        "",
        "One token per role:",
        "",
        *(f"  {role:<11}{token}" for role, token in state.tokens.items()),
        "",
        "Paste this into another terminal, then try the lines of the README, or these:",
        "",
        f"  export TIDEMARK={address}",
        f"  export TOKEN={state.tokens[Role.CLINICIAN]}",
        f"  export PATIENT={state.patient_id}   # {SHOWN_PATIENT}",
        f"  export RESEARCHER={state.tokens[Role.RESEARCHER]}",
        f"  export ADMIN={state.tokens[Role.ADMIN]}",
        "",
        '  curl -s "$TIDEMARK/v1/patients?limit=3" -H "Authorization: Bearer $TOKEN"',
        '  curl -s "$TIDEMARK/v1/assessments?patient_id=$PATIENT&limit=1" -H "Authorization: Bearer $TOKEN"',
        '  curl -s "$TIDEMARK/v1/patients/$PATIENT/trajectory?instrument=phq-9" -H "Authorization: Bearer $TOKEN"',
        '  curl -s "$TIDEMARK/v1/caseload?limit=3" -H "Authorization: Bearer $TOKEN"',
        "",
        "Ctrl-C stops everything. The next `make demo` shows the same clinic again.",
    ]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
