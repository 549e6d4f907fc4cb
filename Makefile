# Development tasks, from a bare clone with Python 3.11 or newer and pip. `make` lists the targets.

PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
MINUTES ?= 10

# One thread per process: parallel test processes with several OpenMP threads each are slower.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart install test-fast test acceptance fuzz fuzz-readers golden oldest lint format coverage clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(VENV)/.base  ## install the package into .venv and run the quickstart recipe
	$(BIN)/genrec run recipes/quickstart.yaml

install: $(VENV)/.dev  ## install the package and the development tools into .venv

test-fast: $(VENV)/.dev  ## run fast unit tests (two minutes); no lint, subprocesses, browsers or training
	$(BIN)/pytest -n $(WORKERS) -m 'not slow and not acceptance'

test: lint  ## lint, check types and layers, run all tests except acceptance (15 minutes); run by CI
	$(BIN)/pytest -n $(WORKERS)

acceptance: test $(VENV)/.dev  ## run all checks (hours): also interruptions, a million items, fuzz, fuzz-readers, golden, oldest
	$(BIN)/pytest -n $(WORKERS) -m acceptance
	$(MAKE) fuzz fuzz-readers golden oldest

fuzz: $(VENV)/.dev  ## run property-based tests with many more examples (one hour)
	$(BIN)/pytest -n $(WORKERS) -m 'hypothesis and not acceptance' --hypothesis-profile acceptance

fuzz-readers: $(VENV)/.dev  ## read randomly changed data, recipes and runs, MINUTES=10 for each of 13 readers (two hours)
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

golden: $(VENV)/.dev  ## compare the ranks of the quickstart and best_beauty with the recorded ones (one hour)
	$(BIN)/python tests/golden/record.py --check quickstart best_beauty

oldest: $(VENV)/.dev  ## run test-fast with the lowest versions that pyproject.toml allows, in a separate virtual environment
	$(BIN)/python tests/oldest_versions.py

lint: $(VENV)/.dev  ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## fix and format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.dev  ## run all tests and report uncovered lines
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term-missing:skip-covered

clean:  ## remove .venv and the caches of tools, not runs/
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist

# Stamp files: the installation is repeated when pyproject.toml changes. The development installation includes the base one.
$(VENV)/.base: pyproject.toml | $(BIN)/python
	@echo "installing genrec into $(VENV); a CUDA build of torch takes a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing genrec and its tools into $(VENV); a CUDA build of torch takes a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.base $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "genrec needs Python 3.11 or newer, and none was found as python3.11, python3 or python;" \
		"install it, or pass its path: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "genrec needs Python 3.11 or newer," \
		"but $(PYTHON) is older: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
