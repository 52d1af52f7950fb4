# Two commands for a fresh machine: `make demo` and `make test`. Both install what they need into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file of tests goes to one process as a whole, in the order of tests/conftest.py. Four keep two cores busy: tests
# wait for servers, disks, browsers and processes most of their time.
WORKERS ?= -n 4 --dist loadfile --no-loadscope-reorder

COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --custom-compile-command "make lock" --upgrade

# Where it is set, each of the hundreds of processes that tests start would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-clients test-full check docs picture lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed  ## make samples, convert them, and serve them with a map page
	$(BIN)/kartotek demo

serve: $(VENV)/.installed  ## serve the catalog of this folder
	$(BIN)/kartotek serve

test: $(VENV)/.tested browser postgis clocks  ## all tests but the full counts
	@# Once, before four processes do it at the same time.
	$(BIN)/python -c 'import kartotek.kernels'
	$(BIN)/python -m pytest $(WORKERS) $(TESTS)

test-clients: $(VENV)/.tested postgis qgis datacube  ## what QGIS and the Open Data Cube make of tiles, files and items
	$(BIN)/python -m pytest -m clients $(TESTS)

test-full: $(VENV)/.tested browser postgis clocks  ## full counts and full-size products: some hours
	$(BIN)/python -m pytest -m full $(TESTS)

check: $(VENV)/.tested  ## formatting, lint, types, layers, then the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

docs: $(VENV)/.documented  ## the documentation as a site, in site/
	$(BIN)/mkdocs build --strict

picture: $(VENV)/.tested browser  ## the README's picture, by Chromium
	KARTOTEK_TEST_PICTURE=docs/images/page.png $(BIN)/python -m pytest -q tests/api/test_viewer.py -k picture

lock: $(VENV)/.tested  ## pin all dependencies again, by hash
	echo uv | $(COMPILE) - -o requirements-uv.txt
	# All of it first: what is run must also fit what tests bring.
	$(COMPILE) --group build --group dev --group docs --extra analysis pyproject.toml -o requirements-dev.txt
	$(COMPILE) --group build -c requirements-dev.txt pyproject.toml -o requirements.txt
	# An environment of its own, in which the Open Data Cube and `kartotek.datacube` meet.
	printf '%s\n' 'datacube==1.9.*' 'psycopg[binary]' odc-stac pystac-client | \
	    $(COMPILE) - -o requirements-datacube.txt

clean:  ## remove what was installed and built
	rm -rf $(VENV) site api/viewer/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@sh tools/bootstrap.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt requirements-uv.txt pyproject.toml | $(VENV)/bin/python
	@sh tools/install.sh $(VENV) $<
	@touch $@

$(VENV)/.tested: requirements-dev.txt requirements-uv.txt pyproject.toml | $(VENV)/bin/python
	@sh tools/install.sh $(VENV) $<
	@touch $@

$(VENV)/.documented: $(VENV)/.tested
	touch $@

.PHONY: browser postgis clocks qgis datacube
browser postgis clocks qgis:
	@sh tools/$@.sh

datacube: $(VENV)/.tested
	@sh tools/datacube.sh $(VENV) $(VENV)/datacube
