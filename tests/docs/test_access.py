"""What docs/access.md shows is what happens, step by step."""

import json
import re
from collections.abc import Iterator

import httpx2
import pytest
from fastapi import FastAPI

from app import deps
from app.auth import Role
from app.db import Database
from app.schemas.emergency_accesses import MAX_HOURS, EmergencyAccessOpen
from app.services import care_teams, clinics
from app.tables import Clinic
from tests.docs.documents import ROOT

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "access.md"


def steps(text: str) -> Iterator[tuple[str, str, dict[str, str], str, str]]:
    """Method, path, headers and body of each request, and the answer shown below it."""
    for asked, shown in re.findall(r"```http\n(.*?)```\n\n```json\n(.*?)```", text, flags=re.DOTALL):
        head, _, body = asked.partition("\n\n")
        first, *lines = head.strip().splitlines()
        method, path = first.split()
        yield method, path, dict(line.split(": ", 1) for line in lines), body, shown


async def test_the_steps_are_so(
    app: FastAPI, database: Database, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From restricting a patient to the end of an emergency, each answer as shown as far as it is shown."""
    monkeypatch.setattr(deps, "TOKEN_CACHE_SECONDS", 0.0)
    admin, admins = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    clinician, clinicians = await clinics.record_token(database, clinic.clinic_id, Role.CLINICIAN)
    member, _ = await clinics.record_token(database, clinic.clinic_id, Role.CLINICIAN)
    known = {"ADMIN_ID": str(admin.id), "CLINICIAN_ID": str(clinician.id), "MEMBER": str(member.id)}
    known |= {"ADMIN": admins, "CLINICIAN": clinicians}
    asked = list(steps(PAGE.read_text(encoding="utf-8")))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        made = await http.post("/v1/patients", json={}, headers={"Authorization": f"Bearer {clinicians}"})
        known["PATIENT"] = made.json()["id"]
        for method, path, headers, body, shown in asked:
            sent = {name: filled(value, known) for name, value in headers.items()}
            sent |= {"Content-Type": "application/json"} if body else {}
            answer = await http.request(method, filled(path, known), headers=sent, content=filled(body, known))
            if path.endswith("emergency-access"):
                known["ACCESS"] = answer.json()["id"]
            assert answer.json().items() >= json.loads(filled(shown, known)).items(), path
    assert len(asked) == 4


def filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\$([A-Z_]+)", lambda name: known[name[1]], text)


def test_numbers_are_as_said() -> None:
    text = PAGE.read_text(encoding="utf-8")
    schema = EmergencyAccessOpen.model_json_schema()["properties"]["reason"]
    assert f"between {schema['minLength']} and {schema['maxLength']} characters, for 1 to {MAX_HOURS} hours" in text
    assert f"At most {care_teams.MAX_RESTRICTED} patients of a clinic are restricted" in text
