"""What the image and the compose file promise, read from the files: no container engine is needed to break them."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)


def section(name: str) -> str:
    """Give a top-level block of the compose file, without comments."""
    found = re.search(rf"^{name}:\n((?:[ ].*\n|\n)*)", without_comments(COMPOSE), flags=re.MULTILINE)
    assert found, name
    return found[1]


def services() -> dict[str, dict[str, str]]:
    """Give each service's keys with their text: enough YAML for a file that nests by two spaces."""
    blocks = re.split(r"^  (\w+):\n", section("services"), flags=re.MULTILINE)[1:]
    return {name: keys(body) for name, body in zip(blocks[::2], blocks[1::2], strict=True)}


def keys(body: str) -> dict[str, str]:
    parts = re.split(r"^    (\w+):", body, flags=re.MULTILINE)[1:]
    return {name: value.strip() for name, value in zip(parts[::2], parts[1::2], strict=True)}


def stages() -> list[str]:
    joined = re.sub(r"\\\n\s*", "", without_comments(DOCKERFILE))
    return re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)[1:]


# --- Image ------------------------------------------------------------------------------------------------------------


def test_final_image_is_built_apart_from_its_tools() -> None:
    """The image that runs starts from the bare base and takes over only the finished tree."""
    build, final = stages()
    assert build.startswith("FROM ${PYTHON_IMAGE} AS build\n")
    assert final.startswith("FROM ${PYTHON_IMAGE}\n")
    assert re.findall(r"^(?:COPY|ADD) .*$", final, flags=re.MULTILINE) == [
        "COPY --from=build /srv/tidemark /srv/tidemark"
    ]
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim$", DOCKERFILE, flags=re.MULTILINE)


def test_image_installs_only_what_is_locked() -> None:
    """Each package comes from the lock with its hash, as a wheel; the system's package manager is not used."""
    installs = re.findall(r"pip install ([^&\n]+)", stages()[0])
    assert [line.strip() for line in installs] == [
        "--require-hashes --no-deps --only-binary :all: -r requirements.lock",
        "--no-deps --no-build-isolation --editable .",
    ]
    assert not re.search(r"\b(?:apt|apt-get|apk|curl|wget|gcc)\b|^ADD ", without_comments(DOCKERFILE), re.MULTILINE)


def test_image_runs_without_privileges() -> None:
    """The last word on the user is a number of 10001 or more, after everything that had to be done as root."""
    final = stages()[-1]
    (user,) = re.findall(r"^USER (\d+):\d+$", final, flags=re.MULTILINE)
    assert int(user) >= 10001
    assert f"--uid {user} " in final
    assert not re.search(r"^(?:RUN|COPY) ", final.split("\nUSER ")[1], flags=re.MULTILINE)
    assert "chown" not in DOCKERFILE


def test_image_works_on_a_read_only_tree() -> None:
    """Python writes no byte code at run time, because it was compiled when the image was built."""
    assert "compileall" in stages()[0]
    assert "PYTHONDONTWRITEBYTECODE=1" in stages()[-1]
    assert "PYTHONDONTWRITEBYTECODE" not in stages()[0]


def test_image_says_whether_it_is_well() -> None:
    """The health check asks /livez with the Python that is there, and gives up before its own time-out."""
    (check,) = re.findall(r"^HEALTHCHECK (.+)$", stages()[-1], flags=re.MULTILINE)
    assert 'CMD ["python", "-c", "' in check
    assert "http://127.0.0.1:8000/livez" in check
    assert "timeout=2" in check
    assert "--timeout=3s" in check


def test_image_holds_no_secret() -> None:
    """No password, token or key is an argument or a variable of the image, and .dockerignore lets none in."""
    assert not re.search(r"^(?:ARG|ENV) .*(?:PASSWORD|SECRET|TOKEN|KEY|URL)", DOCKERFILE, flags=re.MULTILINE)
    first, *rest = without_comments((ROOT / ".dockerignore").read_text(encoding="utf-8")).splitlines()
    assert first == "*"
    allowed = [line[1:] for line in rest if line.startswith("!")]
    assert sorted(allowed) == ["LICENSE", "README.md", "app", "migrations", "pyproject.toml", "requirements.lock"]


def test_nothing_needed_is_removed_from_the_image() -> None:
    """What the image drops is asked for by other dropped packages, the build group or the embedded extra alone."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    (removed,) = re.findall(r"pip uninstall --yes ([^&]+)", stages()[0])
    dropped = {canonicalize_name(name) for name in removed.split()} - {"pip"}
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert dropped & {canonicalize_name(Requirement(line).name) for line in dependencies} == set()
    for name in dropped:
        block = re.search(rf"^{name}==.*\n(?:    .*\n)+", lock, flags=re.MULTILINE)
        assert block, f"{name} is dropped but not locked"
        askers = set(re.findall(r"^    #   (?:via )?([\w.-]+)$|^    # via ([\w.-]+)$", block[0], flags=re.MULTILINE))
        assert {first or second for first, second in askers} <= dropped, name


# --- Compose ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["db", "migrate", "api", "worker"])
def test_service_is_confined(name: str) -> None:
    """Each container has a read-only tree, no capability, no way to gain one, and limits."""
    service = services()[name]
    assert service["read_only"] == "true"
    assert "/tmp" in service["tmpfs"]  # noqa: S108  # the mount inside the container, no file of ours
    assert service["cap_drop"] == "[ALL]"
    assert service["security_opt"] == '["no-new-privileges:true"]'
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < int(service["pids_limit"]) <= 256
    assert not {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices"} & service.keys()


def test_no_other_service_slips_in() -> None:
    """A service added to the file has to be added to the test of confinement."""
    assert set(services()) == {"db", "migrate", "api", "worker"}


def test_only_the_service_can_be_reached_and_only_from_this_host() -> None:
    """The database publishes no port and sits on a network without a way out; the service listens on loopback."""
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"api": '- "127.0.0.1:8000:8000"'}
    assert services()["db"]["networks"] == services()["migrate"]["networks"] == "[inside]"
    assert re.search(r"^  inside:\n    internal: true$", section("networks"), flags=re.MULTILINE)


def test_what_calls_out_is_not_what_answers() -> None:
    """Webhooks are delivered by a container that publishes nothing; the one that answers starts no worker."""
    assert '"--no-worker"' in services()["api"]["command"]
    assert services()["worker"]["command"] == '["tidemark", "worker"]'
    assert "ports" not in services()["worker"]


def test_compose_has_no_default_secret() -> None:
    """Every secret taken from the environment is demanded, and a missing one says what to do; the rest is off."""
    variables = re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE)
    passwords = {"TIDEMARK_ADMIN_PASSWORD", "TIDEMARK_OWNER_PASSWORD", "TIDEMARK_APP_PASSWORD"}
    secrets = passwords | {"TIDEMARK_MASTER_KEYS"}
    others = {"TIDEMARK_TRUSTED_PROXIES", "TIDEMARK_CORS_ORIGINS", "TIDEMARK_HSTS_SECONDS", "TIDEMARK_METRICS_TOKEN"}
    assert {name for name, _ in variables} == secrets | others
    assert [name for name, rest in variables if name in secrets and not re.fullmatch(r":\?set .{10,}", rest)] == []
    assert {rest for name, rest in variables if name in others} == {":-", ":-0"}
    assert re.findall(r"PASSWORD: (?!\$\{)\S+|://\w+:(?!\$\{)\S+@", COMPOSE) == []


def test_staff_can_sign_in_to_the_containers() -> None:
    """What is set of the identity provider reaches the service and the worker, which fetches its keys."""
    files = {"oidc_ca_file"}  # has to be mounted, too
    named = {f"TIDEMARK_{name.upper()}" for name in Settings.model_fields if name.startswith("oidc_")}
    for name in ("api", "worker"):
        handed_on = re.findall(r"^ *(TIDEMARK_OIDC_\w+):$", services()[name]["environment"], flags=re.MULTILINE)
        assert set(handed_on) == named - {f"TIDEMARK_{file.upper()}" for file in files}


def test_service_never_holds_the_owner_login() -> None:
    """The owner's password is known to the database and the migration; the service has its own login alone."""
    for name in ("api", "worker"):
        environment = services()[name]["environment"]
        assert "postgresql://tidemark_app:" in environment
        assert not re.search(r"OWNER|ADMIN|postgres:", environment)
    assert "ADMIN" not in services()["migrate"]["environment"]


def test_the_database_never_holds_the_master_key() -> None:
    """It opens what is sealed in it: whoever has a copy of the database must not have both."""
    holders = {name for name, service in services().items() if "TIDEMARK_MASTER_KEYS" in service["environment"]}
    assert holders == {"api", "migrate", "worker"}


def test_service_waits_for_the_schema() -> None:
    """Migrations run once, after the database is healthy and before the service starts."""
    assert services()["migrate"]["restart"] == '"no"'
    assert "condition: service_healthy" in services()["migrate"]["depends_on"]
    for name in ("api", "worker"):
        assert re.search(r"migrate:\s+condition: service_completed_successfully", services()[name]["depends_on"])
    assert "pg_isready" in services()["db"]["healthcheck"]


def test_database_keeps_data_and_keeps_quiet() -> None:
    """Data lies on a named volume where Postgres 18 looks for it, and refused rows are not written to the log."""
    database = services()["db"]
    assert database["image"] == "postgres:18"
    assert database["user"] == "postgres"
    assert "- database:/var/lib/postgresql\n" in database["volumes"]
    assert "log_error_verbosity=terse" in database["command"]
    assert "log_min_error_statement=panic" in database["command"]


def test_the_erasure_ledger_lies_beside_the_database() -> None:
    """Service and worker see one file, on a volume that is not the database's and theirs to write."""
    for name in ("api", "worker"):
        assert "- erasures:/var/lib/tidemark" in services()[name]["volumes"].splitlines()
        assert "TIDEMARK_ERASURE_LEDGER: /var/lib/tidemark/erasures.ndjson" in services()[name]["environment"]
    assert "/var/lib/tidemark" not in services()["db"]["volumes"]
    assert "install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/tidemark" in stages()[1]


def test_database_roles_have_no_way_around_the_policies() -> None:
    """Each role made for Tidemark is neither superuser nor free of row-level security, and the group cannot log in."""
    script = (ROOT / "deploy/create-roles.sh").read_text(encoding="utf-8")
    roles = dict(re.findall(r"CREATE ROLE (\w+) ([^;]+);", script))
    assert set(roles) == {"tidemark_owner", "tidemark_runtime", "tidemark_app"}
    for attributes in roles.values():
        assert {"NOSUPERUSER", "NOBYPASSRLS", "NOCREATEROLE"} <= set(attributes.split())
    assert roles["tidemark_runtime"].startswith("NOLOGIN")
    assert "GRANT tidemark_runtime TO tidemark_app;" in script
    assert not re.search(r"PASSWORD '", script)
