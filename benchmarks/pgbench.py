"""The limit: the service's own statement, run by pgbench as the service's role on the same server.

pgbench's variables are numbers, or texts given at the start. So the ids are made of two 16-digit numbers, which
Postgres reads as one UUID: the microsecond it was made, rising as in a UUID version 7, then randomness.
"""

import os
import re
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Final
from uuid import UUID

from app.db import RUNTIME_ROLE
from app.embedded_postgres import PostgresAddress
from app.services.histories import history_sql
from benchmarks.measurement import Requests
from benchmarks.stage import PATIENTS, Stage

# What no service can do without for a form that raises nothing: tenancy, key, form, trail, and the treatment it stands
# in, as one statement, which is one round trip and one transaction. The clinic is bound by the first part, which the
# others read from, so that it is set before any policy is asked.
INSERT_ASSESSMENT: Final = f"""
WITH tenant AS MATERIALIZED (SELECT set_config('app.clinic_id', $1::text, true)::uuid AS clinic_id),
keyed AS (
    INSERT INTO idempotency_key (clinic_id, principal_id, key, fingerprint, resource_id, created_at)
    SELECT clinic_id, $14::uuid, $15::text, $13::bytea, $2::uuid, $10::timestamptz FROM tenant
    WHERE $15::text IS NOT NULL
    ON CONFLICT DO NOTHING RETURNING resource_id
), stored AS (
    INSERT INTO assessment (clinic_id, id, version, patient_id, instrument, instrument_version, responses, validity,
        total, taken_at, taken_at_offset_minutes, received_at, mode, language, status, reason, recorded_by, fingerprint)
    SELECT clinic_id, $2::uuid, 1, $3::uuid, $4::text, $5::smallint, $6::smallint[], $7::text,
        $8::float8, $9::timestamptz, $16::smallint, $10::timestamptz, $11::text, $12::text, 'final', NULL, $14::uuid,
        $13::bytea
    FROM tenant WHERE $15::text IS NULL OR EXISTS (SELECT FROM keyed)
    ON CONFLICT DO NOTHING RETURNING id
), audited AS (
    INSERT INTO audit_event (clinic_id, id, at, actor_id, actor_role, action, subject_id, resource_id)
    SELECT clinic_id, $17::uuid, $10::timestamptz, $14::uuid, $18::text, 'assessment.create', $3::uuid, stored.id
    FROM tenant, stored
)
SELECT (SELECT id FROM stored) AS stored_id, (
    SELECT json_agg(history) FROM tenant
    CROSS JOIN LATERAL ({history_sql("tenant.clinic_id", "ARRAY[$3::uuid]", "$10::timestamptz")} OFFSET 0) history
) AS history
"""

# What the service would hand over, parameter by parameter. Nothing is written out that the planner could fold away.
PARAMETERS: Final[Mapping[int, str]] = {
    1: ":clinic",
    2: "(:at::text || :id::text)",
    3: "(:patient::text || :zeros)",
    4: ":instrument",
    5: ":instrument_version",
    6: ":responses",
    7: ":validity",
    8: ":total",
    9: "now()",
    10: "now()",
    11: ":mode",
    12: ":language",
    13: ":fingerprint",
    14: ":token",
    15: "nullif(:key, 'none')",
    16: ":offset",
    17: "(:at::text || :audit_id::text)",
    18: ":role",
}
_RANDOM: Final = f"random({10**15}, {10**16 - 1})"
_DRAWS: Final = f"""\
\\set at :at + 1000
\\set id {_RANDOM}
\\set audit_id {_RANDOM}
\\set patient random({10**15}, {10**15 + PATIENTS - 1})
"""


def script() -> str:
    return _DRAWS + statement() + ";\n"


def statement() -> str:
    """The service's text with each `$n` replaced by where pgbench gets its value from, and nothing else."""
    return re.sub(r"\$(\d+)", lambda parameter: PARAMETERS[int(parameter[1])], INSERT_ASSESSMENT.strip())


def run(program: Path, stage: Stage, connections: int, seconds: float) -> Requests:
    return run_script(program, stage.address, script(), _constants(stage), connections, seconds)


def run_script(
    program: Path,
    address: PostgresAddress,
    text: str,
    constants: Mapping[str, str | int],
    connections: int,
    seconds: float,
    clinic_id: UUID | None = None,
) -> Requests:
    """`clinic_id` binds the whole connection to a clinic, for a script that does not do it itself."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "script.sql"
        file.write_text(text)
        command = [
            str(program), "--no-vacuum", "--protocol=prepared", f"--file={file}", "--log",
            f"--log-prefix={directory}/log", f"--client={connections}", f"--time={ceil(seconds)}",
            *(f"--define={name}={value}" for name, value in constants.items()), address.database,
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, env=environment(address, clinic_id), capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if ran.returncode:
            raise RuntimeError(f"pgbench failed: {ran.stderr}")
        rows = [row for log in Path(directory).glob("log.*") for row in _read(log)]
    return Requests(
        ended_at=[end for end, _ in rows],
        latencies=[latency for _, latency in rows],
        errors=0,  # pgbench ends with a failure at the first one
        client_cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _constants(stage: Stage) -> dict[str, str | int]:
    return {
        "at": stage.now_us(),
        "zeros": "0" * 16,
        "clinic": str(stage.clinic_id),
        "instrument": "phq-9",
        "instrument_version": 1,
        "responses": "{2,1,3,2,0,1,1,0,0,1}",
        "validity": "valid",
        "total": 10,
        "mode": "self",
        "language": "en",
        "fingerprint": "\\x" + "5a" * 32,
        "token": str(stage.token_id),
        "key": "none",
        "offset": 0,
        "role": "clinician",
    }


def environment(address: PostgresAddress, clinic_id: UUID | None) -> dict[str, str]:
    login = {"PGHOST": address.host, "PGPORT": str(address.port), "PGUSER": address.runtime}
    options = f"-c role={RUNTIME_ROLE} -c jit=off" + ("" if clinic_id is None else f" -c app.clinic_id={clinic_id}")
    return {**os.environ, **login, "PGPASSWORD": address.runtime_password, "PGOPTIONS": options}


def _read(log: Path) -> Iterator[tuple[float, float]]:
    """One line a transaction: client, number, latency in microseconds, script, end in seconds, its microseconds."""
    for line in log.read_text().splitlines():
        _, _, latency, _, seconds, microseconds = line.split()[:6]
        yield int(seconds) + int(microseconds) / 1e6, int(latency) / 1e6
