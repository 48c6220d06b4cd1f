# Everything a new machine needs is Python 3.11 or later with pip and venv, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EXTRAS := api dagster dashboard delta dev docs notebooks postgres signing spark telemetry
DEPLOYED := api dagster dashboard delta postgres signing telemetry
CARTS ?= 20000
STORE ?= data/demo/store
N ?= 1000
PYTEST ?= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format lock bench notebooks docs dashboard dagster crash truth clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# uv installs in seconds what takes pip minutes, from the same hashes; where it finds no registry, pip does.
define install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1) \
		|| $(PIP) install --quiet --require-hashes -r $(1)
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
endef

$(VENV)/uv.stamp: requirements/uv.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements/uv.txt
	touch $@

$(VENV)/demo.stamp: requirements/demo.txt pyproject.toml $(VENV)/uv.stamp
	$(call install,requirements/demo.txt)
	touch $@

$(VENV)/dev.stamp: requirements/dev.txt pyproject.toml $(VENV)/uv.stamp
	$(call install,requirements/dev.txt)
	touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp ## install, simulate a shop, import it, derive every table, write the report
	$(BIN)/cart demo --dir data/demo --carts $(CARTS)

test: $(VENV)/dev.stamp ## install and run all tests
	$(PYTEST) -n auto

lint: $(VENV)/dev.stamp ## style and the walls between the parts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev.stamp ## the strict type checker
	$(BIN)/mypy

format: $(VENV)/dev.stamp ## put the code into its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header

lock: $(VENV)/dev.stamp ## resolve the requirements anew
	$(COMPILE) pyproject.toml requirements/build.in -o requirements/demo.txt
	$(COMPILE) pyproject.toml requirements/build.in $(EXTRAS:%=--extra %) -o requirements/dev.txt
	$(COMPILE) --constraints requirements/dev.txt pyproject.toml requirements/build.in $(DEPLOYED:%=--extra %) \
		-o requirements/deploy.txt
	echo uv | $(COMPILE) --no-annotate --constraints requirements/dev.txt - -o requirements/uv.txt

bench: $(VENV)/dev.stamp ## the benchmarks of the main job
	$(BIN)/python benchmarks/first.py

notebooks: $(VENV)/dev.stamp ## open the notebooks
	$(BIN)/jupyter lab notebooks

docs: $(VENV)/dev.stamp ## build the docs into site/; "mkdocs serve" shows them while you write
	$(BIN)/mkdocs build --clean

dashboard: $(VENV)/dev.stamp ## the dashboard of the demo shop (STORE names another), on 127.0.0.1
	$(BIN)/cart --store $(STORE) dashboard

dagster: $(VENV)/dev.stamp ## the Dagster UI and its schedules, on 127.0.0.1
	mkdir -p .dagster && cp dagster.yaml .dagster/
	CART_STORE=$(abspath $(STORE)) DAGSTER_HOME=$(CURDIR)/.dagster $(BIN)/dg dev --host 127.0.0.1

crash: $(VENV)/dev.stamp ## kill the store N times and check what is left
	CRASH_KILLS=$(N) $(PYTEST) -m crash -n0 -s

truth: $(VENV)/dev.stamp ## the statistics against simulated truth, whole
	TRUTH=whole $(PYTEST) tests/truth -n auto

clean: ## remove what was installed and built
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
