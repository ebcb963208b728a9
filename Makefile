# Everything a person or a CI job does with this repository. GNU make, a POSIX shell and Python 3.11+ are all it needs.
# Stamp files in .venv remember what is installed, so a second run starts at once.

PYTHON ?= python3
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed

UV_VERSION := 0.13.8
# A release younger than this is left alone: most poisoned ones are found within days.
COOLDOWN := 7 days
# FastAPI's floor was younger than the cooldown when it was locked. Drop this from December 2026 on.
COOLDOWN_EXCEPTIONS := --exclude-newer-package "fastapi=1 day"

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
PIP_INSTALL := $(PY) -m pip install --quiet --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev demo run migrate test coverage soak check fix bench lock docs clean

help: ## Show this list
	@echo "Tidemark. The two commands to know: make demo, make test."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "Another Python: make PYTHON=python3.12 demo. Options for the command behind a target: make test ARGS='-k trend'."

# --- Environment ------------------------------------------------------------------------------------------------------

setup: $(INSTALLED) ## Make .venv with what the service needs to run

setup-dev: $(DEVELOPED) ## Add what tests and checks need

# Made from nothing whenever the lock changes, so that it never holds a package the lock does not name.
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Tidemark needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
	  echo "Name another one, for example: make PYTHON=python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "[1/3] Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "[2/3] Installing $$(grep -c '==' requirements.lock) locked packages, each checked against its hash (about 85 MB, up to three minutes)"
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(INSTALLED): $(LOCKED) pyproject.toml
	@echo "[3/3] Installing Tidemark itself"
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

$(DEVELOPED): requirements-dev.lock $(INSTALLED)
	@echo "[dev] Installing the packages for tests and checks (about 200 MB, up to four minutes)"
	@$(PIP_INSTALL) --require-hashes --no-build-isolation --use-pep517 -r requirements-dev.lock
	@touch $@

# --- Running ----------------------------------------------------------------------------------------------------------

demo: setup ## Set up, load a synthetic clinic, print addresses and tokens, serve on 127.0.0.1:8000
	@$(VENV)/bin/tidemark demo $(ARGS)

run: setup ## Serve; without TIDEMARK_DATABASE_URL on a private Postgres under .tidemark
	@$(VENV)/bin/tidemark serve $(ARGS)

migrate: setup ## Bring the database to the newest revision
	@$(VENV)/bin/tidemark migrate $(ARGS)

# --- Working on it ----------------------------------------------------------------------------------------------------

# Real processes are held to times: nothing runs beside them. All else runs on all cores, each with a Postgres of its own.
ALONE := tests/process
ON_ALL_CORES := --numprocesses auto --maxprocesses 4 --dist loadfile

test: setup-dev ## Set up and run the whole test suite; with ARGS, what they name
ifeq ($(strip $(ARGS)),)
	@status=0; $(PY) -m pytest $(ON_ALL_CORES) --durations 10 --ignore $(ALONE) || status=1; \
	  $(PY) -m pytest --durations 10 $(ALONE) || status=1; exit $$status
else
	@$(PY) -m pytest $(ARGS)
endif

# Not the whole suite: before Python 3.12 to measure nearly doubles what a test costs.
TRUST_TESTS := $(addprefix tests/,test_auth.py test_deps.py test_strict_json.py test_webhook_signing.py \
  test_crypto.py test_secrets_check.py \
  $(addprefix services/,test_tenancy.py test_audit_chain.py test_audit_verification.py test_erasure_ledger.py \
    test_issuers.py test_sealing.py test_clinics.py) \
  $(addprefix api/,test_assessments.py test_audit.py test_bodies.py test_care_teams.py \
    test_consents.py test_emergency_accesses.py test_enrolments.py test_erasures.py \
    test_everything.py test_health.py test_origins.py test_persons.py test_rate_limits.py \
    test_refusals.py test_schedules.py test_tokens.py) \
  security/test_faults.py)

coverage: setup-dev ## Name each line and branch of the modules that trust rests on that no test runs
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest --quiet $(ON_ALL_CORES) $(TRUST_TESTS) $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

soak: setup-dev ## Crashes under a long load, every fault at every call to Postgres; minutes, not seconds
	@CRASH_FORMS=5000 CRASH_WORKER_KILLS=20 CRASH_POSTGRES_KILLS=5 $(PY) -m pytest tests/process/test_crash.py $(ARGS)
	@FAULTS=all $(PY) -m pytest tests/security/test_faults.py $(ARGS)

check: setup-dev ## Format, lint, types, layers, generated docs, locks; changes nothing
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	@set -e; for file in docs/generate_*.py; do \
	  if [ -e "$$file" ]; then echo "$$file --check"; $(PY) -m docs.$$(basename "$$file" .py) --check; fi; done
	$(PY) -m pytest --quiet tests/test_project_files.py

fix: setup-dev ## Let ruff format the code and mend what it can
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: setup-dev ## Run the benchmarks: ratios against their limits, measured in the same run
	@$(PY) -m benchmarks $(ARGS)

docs: setup-dev ## Write the generated pages of docs/ anew
	@set -e; for file in docs/generate_*.py; do \
	  if [ -e "$$file" ]; then echo "$$file"; $(PY) -m docs.$$(basename "$$file" .py); fi; done

lock: ## Make both lock files again from pyproject.toml; newer versions only with ARGS=--upgrade
	@set -e; workspace=$$(mktemp -d); trap 'rm -rf "$$workspace"' EXIT; \
	$(PYTHON) -m venv "$$workspace"; \
	"$$workspace/bin/python" -m pip install --quiet uv==$(UV_VERSION); \
	compile() { UV_CUSTOM_COMPILE_COMMAND='make lock' "$$workspace/bin/uv" pip compile pyproject.toml --quiet --no-config \
	  --no-emit-index-url --universal --python-version 3.11 --generate-hashes \
	  --exclude-newer "$(COOLDOWN)" $(COOLDOWN_EXCEPTIONS) --extra embedded --group build $(ARGS) "$$@"; }; \
	compile --output-file requirements.lock; \
	compile --output-file requirements-dev.lock --group dev --constraint requirements.lock

clean: ## Remove .venv, caches and builds; the database in .tidemark stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
