# Two commands for a fresh machine: `make demo` and `make test`. Both install what they need into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file of tests goes to one process as a whole, in the order of tests/conftest.py. Three keep two cores busy: tests
# wait for servers, disks and browsers half of their time.
WORKERS ?= -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-clients test-full check docs picture lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed  ## make samples, convert them, and serve them with a map page
	$(BIN)/kartotek demo

serve: $(VENV)/.installed  ## serve the catalog of this folder
	$(BIN)/kartotek serve

test: $(VENV)/.tested browser postgis  ## all tests but the full counts
	$(BIN)/python -m pytest $(WORKERS) $(TESTS)

test-clients: $(VENV)/.tested postgis qgis  ## what QGIS makes of tiles, files and items
	$(BIN)/python -m pytest -m clients $(TESTS)

test-full: $(VENV)/.tested browser postgis  ## full counts and full-size products: an hour
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

lock:  ## pin all dependencies again, by hash (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-annotate --custom-compile-command "make lock" --upgrade --group build pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-annotate --custom-compile-command "make lock" --upgrade --group build --group dev --group docs \
	    --extra analysis -c requirements.txt pyproject.toml -o requirements-dev.txt

clean:  ## remove what was installed and built
	rm -rf $(VENV) site api/viewer/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# pip checks every hash; the package itself is built with what has just been installed, so that nothing is unpinned.
define install
	$(BIN)/python -m pip install -q --require-hashes -r $(1)
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@
endef

$(VENV)/bin/python:
	@sh tools/bootstrap.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements.txt)

$(VENV)/.tested: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements-dev.txt)

$(VENV)/.documented: $(VENV)/.tested
	touch $@

.PHONY: browser postgis qgis
browser postgis qgis:
	@sh tools/$@.sh
