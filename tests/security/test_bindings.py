"""Who opens a transaction for whom: a request's is its caller's. What is bound to a whole clinic stands here."""

import ast
from collections.abc import Iterator
from pathlib import Path

# The system's own work, by file and function, and why it is nobody's.
OF_THE_SYSTEM = {
    # Nobody is known yet.
    ("services/tokens.py", "get_actor"),
    ("services/check_in_links.py", "get_bearer"),
    ("services/devices.py", "get_code_bearer"),
    ("services/devices.py", "get_device"),
    ("services/devices.py", "get_refresher"),
    ("services/persons.py", "actor"),
    # Keys of an issuer, and the minute of a token's last use: of no patient.
    ("services/issuer_keys.py", "find_keys"),
    ("services/issuer_keys.py", "want_keys"),
    ("services/issuer_keys.py", "claim_fetch"),
    ("services/issuer_keys.py", "record_keys"),
    ("services/token_uses.py", "_write"),
    # Numbers of requests, of no patient.
    ("services/request_rates.py", "sweep_rates"),
    # Forms of many callers share a transaction: whom each may write about is asked form by form, by `Actor.sees`.
    ("services/intake.py", "store_batch"),
    ("services/intake.py", "_store_apart"),
    # What is hidden from the caller is written about for the caller.
    ("services/emergency_accesses.py", "open_emergency_access"),
    ("services/emergency_accesses.py", "end_emergency_access"),
    # An event about nobody, which who stands for a patient cannot write.
    ("refusals.py", "_tell"),
    # Figures of everybody for who may see nobody, by the permission of the route; and what was asked and told.
    ("services/cohorts.py", "_people_in_question"),
    ("services/cohorts.py", "_repeated"),
    ("services/cohorts.py", "_known_key"),
    ("services/cohorts.py", "_decided"),
    # The worker.
    ("services/upkeep.py", "keep_up"),
    ("services/upkeep.py", "rederive_all"),
    ("services/outbox.py", "forget_old"),
    ("services/reminders.py", "find_patients_with_misses"),
    ("services/reminders.py", "remind"),
    ("services/reminders.py", "settle_misses"),
    ("services/audit_chain.py", "seal"),
    ("services/audit_chain.py", "_seal_stretch"),
    ("delivery.py", "_claim"),
    ("delivery.py", "_record"),
    ("erasure_file.py", "take_turn"),
    ("services/releases.py", "end_releases"),
    # Releases are made of patients whom who asked for them may not see.
    ("services/release_builds.py", "build_next"),
    ("services/release_builds.py", "_built"),
    ("services/release_builds.py", "_tell_step"),
    ("services/release_builds.py", "_fail"),
    ("services/release_builds.py", "_give_back"),
    ("services/release_builds.py", "_store"),
    ("services/releases.py", "refuse_without_consent"),
    ("services/release_downloads.py", "open_file"),
    ("services/release_downloads.py", "_piece"),
    # What waits for the worker, as numbers.
    ("services/worker_lag.py", "_lag_of"),
    # The command line, whose user is known to the machine.
    ("services/clinics.py", "record_clinic"),
    ("services/clinics.py", "record_token"),
    ("services/clinics.py", "revoke_token"),
    ("services/clinics.py", "find_tokens"),
    ("cli.py", "make"),
    ("services/operators.py", "get_operator"),
    ("services/imports.py", "_refuse_unknown_clinic"),
    ("services/audit_verification.py", "get_head"),
    ("services/audit_verification.py", "verify"),
    ("services/audit_verification.py", "_links"),
    ("services/audit_verification.py", "_look_for_overdue"),
    ("cli_caseload.py", "work"),
    ("demo.py", "_is_there"),
    ("cli_erasures.py", "work"),
    ("services/data_keys.py", "check_keys"),
    ("services/data_keys.py", "rewrap"),
    ("services/erasure_ledger.py", "_replay_clinic"),
    ("services/erasure_ledger.py", "_erase_again"),
}


def test_a_requests_transaction_is_its_callers(repository: Path) -> None:
    """Whoever opens one for a whole clinic has to be written down above."""
    found = {(name, function) for name, function, whom in transactions(repository / "app") if whom != "actor"}
    assert found == OF_THE_SYSTEM


def transactions(app: Path) -> Iterator[tuple[str, str, str]]:
    """File, function and whom it is for, of every transaction that is opened."""
    for file in sorted(app.rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and file.name != "db.py":
                for call in own_calls(function):
                    if isinstance(call.func, ast.Attribute) and is_database(call.func):
                        whom = ast.unparse(call.args[0]).rpartition(".")[2]
                        yield file.relative_to(app).as_posix(), function.name, whom


def own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """Without those of functions inside of it."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from own_calls(node)


def is_database(opening: ast.Attribute) -> bool:
    return opening.attr in {"session", "connection", "locked", "snapshot"} and "database" in ast.unparse(opening.value)
