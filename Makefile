# Everything a developer runs. Each target makes .venv when it is missing or out of date.
#   make demo | up | test | ci-more | check | bench | chaos
#   PYTHON=python3.12 picks the interpreter

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CORES ?= 2
SUITES := unit store api workers contract stateful e2e
SLOW := $(SUITES) schemathesis pgbouncer
PYTEST := $(BIN)/pytest -n $(CORES) --dist worksteal
CODE := admission orchestrator workers tests

.PHONY: demo up test ci-more check bench chaos clean $(SUITES)
.NOTPARALLEL:
# The tests start hundreds of processes: what one has compiled the others read.
unexport PYTHONDONTWRITEBYTECODE

demo: $(READY)
	@$(BIN)/parallax demo

up: $(READY)
	@$(BIN)/parallax up --play

test: check
	@.ci/suite tests $(PYTEST) -m "not slow" $(SUITES:%=tests/%) tests/chaos

$(SUITES): $(READY)
	@.ci/suite $@ $(PYTEST) -m "not slow" tests/$@

ci-more: $(READY)
	@.ci/suite slow $(PYTEST) --hypothesis-profile=long -m "slow or thorough" $(SLOW:%=tests/%)
	@.ci/suite chaos $(PYTEST) -m slow tests/chaos
	@.ci/suite bench-guards $(BIN)/pytest tests/bench
	@.ci/on-postgres .ci/suite store-on-another-postgresql $(PYTEST) -m "not slow" tests/store

check: $(READY)
	@.ci/suite format $(BIN)/ruff format --check $(CODE)
	@.ci/suite lint $(BIN)/ruff check $(CODE)
	@.ci/suite types $(BIN)/mypy
	@.ci/suite imports $(BIN)/lint-imports

bench: $(READY)
	@$(BIN)/python -m tests.bench

# One cell after the other: they share the machine. About 22 minutes.
chaos: $(READY)
	@PARALLAX_TEST_CHAOS=long $(BIN)/pytest -q -m slow -p no:randomly tests/chaos

$(READY): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Parallax needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)"; \
		exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c .ci/constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
