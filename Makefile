# Everything a developer or a curious user runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo ui test test-all test-2.11 test-3.1 test-3.3 lint types import-cost dist constraints clean

PYTHON ?= python3
AIRFLOW ?= 3.3
VENV := .venv-$(AIRFLOW)
RUN := $(VENV)/bin/python -W ignore
QUIET := PYTHONWARNINGS=ignore

help: ## List what there is
	@sed -n 's/^\([a-z0-9.-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo "  AIRFLOW=2.11 or 3.1 after any of them chooses that Airflow instead of $(AIRFLOW)."

# One virtual environment an Airflow, made anew when what it is made from changes.
.venv-%/.made: pyproject.toml constraints/airflow-%.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python3 is too old: 3.11 or newer is needed; set PYTHON=...")'
	@echo "Installing Airflow $* into .venv-$* ..."
	@$(PYTHON) -m venv --clear .venv-$* || { echo "python3 cannot make virtual environments: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-$*/bin/uv pip install --quiet --python .venv-$*/bin/python -c constraints/airflow-$*.txt --group dev -e '.[parquet,simulator]'
	@touch $@

venv: $(VENV)/.made ## Make the virtual environment

demo: $(VENV)/.made ## Run the daily CDR pipeline on real Airflow against an embedded Flowroute account
	@$(RUN) scripts/demo.py

ui: $(VENV)/.made ## Look at it in Airflow's web UI: simulator and `airflow standalone`, until Ctrl-C
	@$(RUN) scripts/ui.py

test: $(VENV)/.made ## Run the tests, with coverage
	@$(QUIET) $(VENV)/bin/python -m pytest -q --cov --cov-report=term

test-%: .venv-%/.made
	@echo "Airflow $*:"
	@$(QUIET) .venv-$*/bin/python -m pytest -q

test-all: ## Run the tests on every supported Airflow
	@$(MAKE) --no-print-directory test test-3.1 test-2.11

lint: $(VENV)/.made ## Check style
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --check --quiet .

types: $(VENV)/.made ## Check types
	@$(VENV)/bin/mypy

import-cost: $(VENV)/.made ## Measure what importing the operator adds to importing Airflow
	@$(RUN) scripts/import_cost.py

dist: $(VENV)/.made ## Build sdist and wheel, and check them
	@rm -rf dist
	@$(VENV)/bin/python -m build --installer uv > /dev/null
	@$(VENV)/bin/python -m twine check --strict dist/*
	@$(RUN) scripts/check_wheel.py dist/*.whl

constraints: $(VENV)/.made ## Choose the newest versions that fit each Airflow anew
	@for airflow in 2.11 3.1 3.3; do \
		$(VENV)/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --python-version 3.11 --all-extras \
			--group pyproject.toml:dev pyproject.toml -c <(echo "apache-airflow==$$airflow.*") \
			-o constraints/airflow-$$airflow.txt; \
	done

clean: ## Remove what the other targets made
	@rm -rf .venv-* .airflow-* dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache
