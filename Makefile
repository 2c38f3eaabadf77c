# Needs make and one Python from 3.11 to 3.14 with its venv module; everything else is installed into .venv.

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$name && break; \
	done)
VENV ?= .venv
POSTGRES ?=
UPGRADE ?=
JOBS ?= 3

BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest $(if $(POSTGRES),--postgres $(POSTGRES))
MANY := -n $(JOBS) --dist loadgroup
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url $(UPGRADE)

.DEFAULT_GOAL := help
.PHONY: help venv tools servers peers bench scale demo check test short soak picture verify lock sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  POSTGRES=15,18 or all chooses the server versions; PYTHON=… the interpreter; JOBS=1 runs one test after the other"

venv: $(READY) ## install the locked environment into .venv

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python from 3.11 to 3.14 with venv found (on Debian: python3-venv); set PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-index --no-build-isolation --editable .
	@touch $@

tools: $(READY) ## install the programs that some tests drive, golang-migrate's among them
	$(PIP) install --quiet --require-hashes -r requirements-tools.lock
	.ci/tools helm migrate

servers: $(READY) ## install PostgreSQL 14, 16 and 17 for `make verify`
	$(PIP) install --quiet --require-hashes -r requirements-tools.lock
	.ci/tools postgres-14 postgres-16 postgres-17

demo: $(READY) ## see it work on a private PostgreSQL, in half a minute
	@TIDEGATE=$(BIN)/tidegate sh deploy/demo.sh

check: $(READY) ## style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) ## unit, integration and deployment tests
	$(PYTEST) $(MANY) tests/unit tests/integration tests/deploy

short: $(READY) ## acceptance, crash and interop tests, without the slow ones
	$(PYTEST) -n 2 --dist loadgroup -m "not slow" tests/acceptance tests/crash tests/interop

soak: $(READY) ## ROUNDS=1000 of turmoil on one database after the other; SEED=… repeats a run
	SOAK_ROUNDS=$(or $(ROUNDS),1000) SOAK_SEED=$(SEED) $(PYTEST) -s --timeout 0 tests/crash/test_turmoil.py -k rounds

picture: $(READY) tools ## take the picture of the status page for the README
	$(PYTEST) tests/acceptance/picture.py

peers: tools ## install what `make bench` compares with, into .venv/bench
	tests/bench/install

bench: peers ## measure against other tools, and draw it into build/bench, in 22 minutes; ONLY=words ROUNDS=n for less
	$(BIN)/python -m tests.bench full --only "$(ONLY)" $(if $(ROUNDS),--rounds $(ROUNDS))
	$(VENV)/bench/bin/python tests/bench/plot.py build/bench/report.json build/bench/report.svg

scale: peers ## measure fleets, to 2,000 schemas, 200 databases and 100,000 targets, into build/bench-fleet; ROUNDS=n
	$(BIN)/python -m tests.bench.fleet full $(if $(ROUNDS),--rounds $(ROUNDS))

# As in CI, a server or a program that is missing is a failure.
verify: check tools servers ## everything, the slow tests too, on every server version
	CI=true SOAK_ROUNDS=50 HYPOTHESIS_PROFILE=many $(PYTEST) --timeout 1800 --postgres all

# The runtime's versions follow the ones that the tests ran with.
lock: $(READY) ## write the lock files anew; UPGRADE=--upgrade takes newer versions
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
		| UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) - -o requirements-build.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) pyproject.toml requirements-build.lock --extra embedded --extra sign --group dev -o requirements-dev.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) pyproject.toml --extra sign -c requirements-dev.lock -o requirements.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --group tools -c requirements-dev.lock -o requirements-tools.lock
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(COMPILE) --group bench -c requirements-dev.lock -o requirements-bench.lock

sbom: $(READY) ## write dist/sbom.cdx.json, a CycloneDX list of the image's Python packages; the same each time
	$(PIP) install --quiet --require-hashes -r requirements-tools.lock
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --short-PURLs --output-reproducible -o dist/sbom.cdx.json

clean: ## remove what was built or cached, the environment included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
	find worker tests -name __pycache__ -type d -prune -exec rm -rf {} +
