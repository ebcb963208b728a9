"""What docs/releases.md shows is what happens, from the request to an open notebook."""

import json
import re
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from app.auth import Role
from app.cli import cli
from app.cli_export import NOT_YET
from app.db import Database
from app.schemas.releases import FAILURES, ReleaseStatus
from app.services import clinics, release_builds
from app.tables import Clinic
from tests.api.test_releases import treat
from tests.conftest import Api
from tests.docs.documents import ROOT, blocks
from tests.docs.test_access import filled, steps
from tests.test_cli_export import OnDatabase, a_clinic

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "releases.md"
TEXT = PAGE.read_text(encoding="utf-8")


async def test_a_researcher_has_it_open(
    app: FastAPI, admin: Api, database: Database, clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer as shown as far as it is shown; the code of the notebook runs on the file."""
    for number in range(12):
        await treat(admin, number)
    approver, admins = await clinics.record_token(database, clinic.clinic_id, Role.ADMIN)
    _, researchers = await clinics.record_token(database, clinic.clinic_id, Role.RESEARCHER)
    known = {"ADMIN": admins, "ADMIN_ID": str(approver.id), "RESEARCHER": researchers}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        for method, path, headers, body, shown in steps(TEXT):
            sent = {name: filled(value, known) for name, value in headers.items()}
            sent |= {"Content-Type": "application/json"} if body else {}
            answer = await http.request(method, filled(path, known), headers=sent, content=filled(body, known))
            known.setdefault("RELEASE", answer.json()["id"])
            assert answer.json().items() >= json.loads(filled(shown, known)).items(), path
            if path.endswith("/approval"):
                await release_builds.build_next(database, clinic.clinic_id)
        (address,) = re.findall(r'"http://127.0.0.1:8000(/v1/.*/scores.parquet)"', TEXT)
        file = await http.get(filled(address, known), headers={"Authorization": f"Bearer {researchers}"})
    (tmp_path / "scores.parquet").write_bytes(file.content)
    monkeypatch.chdir(tmp_path)
    (notebook,) = blocks(PAGE, "python")
    made: dict[str, object] = {}
    exec(notebook, made)  # noqa: S102  # the page's own code
    assert made["by_week"].loc[-1].to_dict() == {"count": 12.0, "mean": 18.0}  # type: ignore[attr-defined]


def test_the_command_line_goes_from_the_same_request(
    on_database: OnDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it goes alone."""
    monkeypatch.chdir(tmp_path)
    Path("request.json").write_text(next(body for *_, body, _ in steps(TEXT)), encoding="utf-8")
    command = next(line for line in "".join(blocks(PAGE, "sh")).splitlines() if "--request" in line)
    _, *words = filled(command, {"CLINIC": str(on_database(a_clinic))}).split()
    found = CliRunner().invoke(cli, [*words, "--no-wait"])
    assert found.exit_code == NOT_YET, found.output
    assert f"\n| {NOT_YET} | not yet" in TEXT


def test_every_status_is_explained() -> None:
    (section,) = re.findall(r"\n\| status \| is \|\n(.*?)\n\n", TEXT, flags=re.DOTALL)
    cells = re.findall(r"^\| (`[a-z]+`(?:, `[a-z]+`)*) \|", section, flags=re.MULTILINE)
    assert sorted(re.findall("[a-z]+", " ".join(cells))) == sorted(ReleaseStatus.__args__)  # type: ignore[attr-defined]


def test_every_failure_is_told_in_the_words_of_the_service() -> None:
    (section,) = re.findall(r"\n\| failure \| is \|\n\|---\|---\|\n(.*?)\n\n", TEXT, flags=re.DOTALL)
    assert section.splitlines() == [f"| `{failure}` | {words} |" for failure, words in FAILURES.items()]
