# Everything from a bare clone with Python 3.11 or newer and pip: `make` lists the targets.

PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

# One thread a process: two spinning OpenMP teams on two cores are slower than two single threads.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart install test-fast test acceptance fuzz golden oldest lint format coverage clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(VENV)/.base  ## install the package into .venv, train the three-stream quickstart recipe, print its report
	$(BIN)/genrec run recipes/quickstart.yaml

install: $(VENV)/.dev  ## install the package and the development tools into .venv

test-fast: $(VENV)/.dev  ## unit tests, no lint: neither processes nor browsers nor trainings; two minutes
	$(BIN)/pytest -n $(WORKERS) -m 'not slow and not acceptance'

test: lint  ## lint, types, layers and all tests but those of acceptance; a quarter of an hour, run by CI
	$(BIN)/pytest -n $(WORKERS)

acceptance: test $(VENV)/.dev  ## everything, for hours: kills, a million items, fuzz, golden, oldest
	$(BIN)/pytest -n $(WORKERS) -m acceptance
	$(MAKE) fuzz golden oldest

fuzz: $(VENV)/.dev  ## the property-based tests with many more examples; an hour
	$(BIN)/pytest -n $(WORKERS) -m 'hypothesis and not acceptance' --hypothesis-profile acceptance

golden: $(VENV)/.dev  ## compare the ranks of the quickstart and of best_beauty with the recorded ones; an hour
	$(BIN)/python tests/golden/record.py --check quickstart best_beauty

oldest: $(VENV)/.dev  ## test-fast with the lowest versions that pyproject.toml allows, in a virtual environment of its own
	$(BIN)/python tests/oldest_versions.py

lint: $(VENV)/.dev  ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(VENV)/.dev  ## all tests, and the lines that none of them reaches
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term-missing:skip-covered

clean:  ## remove .venv and the tools' caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist

# Stamps: an installation is repeated when pyproject.toml changes. The development installation holds the base one.
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
		"install it, or say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "genrec needs Python 3.11 or newer," \
		"but $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
