# What people type: `make run` and `make test`. Each prepares `.venv` first, when it has to.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUNS := .venv/.runs
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

BROKERS ?= 3
PORT ?= 8000
DATA ?= data
SEEDS ?= 1000
SEED ?=
BENCH ?=
PEERS ?=
BENCH_OPTIONS ?=
ONLY ?=
JOBS ?= 3
CLUSTER_JOBS ?= 3
ROUNDS ?= 20

# Tests start hundreds of processes, which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
# A port that is given to `make` is the cluster's alone, not a setting of each process.
unexport PORT

# `tests/bound.py` ends a test that hangs. What else hangs shows where, and where nobody looks on ends.
PYTEST_MINUTES ?= 45
IN_TIME := PYTHONFAULTHANDLER=1 timeout --signal=ABRT --kill-after=60 $(PYTEST_MINUTES)m
PYTEST := QUEUE_ROLE=test $(if $(CI),$(IN_TIME)) $(BIN)/python -m pytest

.DEFAULT_GOAL := help
TO ?=
.PHONY: help setup run wheels version test postgres fronts style lint types audit core sim cluster rolling mutants bench bench-setup screenshots docs check clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(RUNS): requirements.txt pyproject.toml distributions/client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@echo "installing what a cluster needs into .venv: some 50 packages, once"
	@$(PIP) install --no-warn-script-location "$$(grep ^setuptools requirements-dev.txt)" -r requirements.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e distributions/client -e .
	@du -sh .venv | awk '{print ".venv takes " $$1}'
	@touch $@

$(STAMP): $(RUNS) requirements-dev.txt
	@echo "installing what tests, checks and documentation need besides"
	@$(PIP) install -r requirements-dev.txt
	@touch $@

setup: $(RUNS) ## Make .venv with what a cluster needs, and the commands queuesite and myqueue

run: $(RUNS) ## Run a cluster: BROKERS=3 PORT=8000 DATA=data
	@exec $(BIN)/python manage.py cluster --brokers $(BROKERS) --port $(PORT) --data-dir $(DATA)

wheels: $(STAMP) ## Build both distributions into dist/
	$(BIN)/python -m build --no-isolation -o dist distributions/client
	$(BIN)/python -m build --no-isolation -o dist .

version: $(STAMP) ## Give both distributions a version: TO=1.2.3, or TO=1.2.4.dev0 to begin the next
	$(BIN)/python -m tools.version $(TO)

test: $(STAMP) ## Run all tests (TEST=path for some); JOBS at once, with real processes CLUSTER_JOBS
ifdef TEST
	$(PYTEST) $(TEST)
else
	$(PYTEST) -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not cluster" \
		--ignore tests/manager_app/test_on_postgres.py
	$(PYTEST) -n $(CLUSTER_JOBS) --dist loadfile --no-loadscope-reorder -m cluster \
		tests/cluster tests/myqueue/conformance tests/browser
endif

postgres: $(STAMP) ## Run the tests of the manager once more, on a private PostgreSQL
	$(PYTEST) tests/manager_app/test_on_postgres.py

fronts: $(STAMP) ## Write the client's blocking classes from the asyncio ones
	$(BIN)/python -m tools.blocking_fronts

style: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP) ## Check format, rules and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

audit: $(STAMP) ## Ask the advisories of the package index about what is pinned
	@$(BIN)/python -m tools.audit

types: $(STAMP) ## Check types
	$(BIN)/mypy

core: $(STAMP) ## Test the Raft core alone
	$(PYTEST) tests/raft_app/core

sim: $(STAMP) ## Simulate core and brokers: SEEDS=n seeds, or SEED=n alone
	$(BIN)/python -m tests.raft_app.core.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))
	$(BIN)/python -m tests.simulation --large \
		$(if $(SEED),--seed $(SEED),--seeds $$(($(SEEDS) / 50 + 1)))

cluster: $(STAMP) ## Test with real processes, each fault ROUNDS times
	CLUSTER_ROUNDS=$(ROUNDS) $(PYTEST) tests/cluster -m cluster

rolling: $(STAMP) ## Upgrade a running cluster from the version before, which git has to have
	ROLLING=1 $(PYTEST) tests/cluster/test_rolling.py

mutants: $(STAMP) ## Plant every deliberate fault and see its test fail: ONLY=name,name
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only $(ONLY))

bench: $(STAMP) ## Measure: BENCH=name,name; others in turn: PEERS=nats,rabbitmq,redis
	$(BIN)/python -m benchmarks $(BENCH) $(if $(PEERS),--peers $(PEERS)) $(BENCH_OPTIONS)

bench-setup: $(STAMP) ## Get the optional packages with which others are measured
	$(PIP) install -r requirements-bench.txt

screenshots: $(STAMP) ## Take pictures of the console into docs/images/console: ONLY=incidents
	$(BIN)/python -m tests.browser.screenshots $(ONLY)

docs: $(STAMP) ## Build the documentation
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check: lint types audit docs test postgres ## All of it, as CI does; `test` contains the cluster tests
	$(MAKE) sim SEEDS=30

clean: ## Remove what was built, keep the data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis site build dist
