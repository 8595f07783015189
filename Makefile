# Everything a newcomer or CI needs. `make demo` and `make test` set up what they need themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out

.PHONY: setup demo test test-slow test-browser lint format bench clean help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 14

setup: $(VENV)/.base   ## virtual environment with the package
demo: setup      ## recover the people of a real photo and say where to look
	$(BIN)/metrichmsr recover examples/photos/street.jpg --out $(DEMO_OUT)

test: $(VENV)/.dev     ## fast tests (CPU, offline)
	$(BIN)/python -m pytest -m "not slow and not browser"

test-slow: $(VENV)/.parity   ## parity with the upstream runtimes, full-size runs
	$(BIN)/python -m pytest -m slow

test-browser: $(VENV)/.browser   ## viewer and app in headless Chromium; skipped where there is none
	$(BIN)/python -m pytest tests/viewer tests/app -m browser

lint: $(VENV)/.dev     ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(VENV)/.dev   ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev    ## speed and memory, as tables for RESULTS.md
	$(BIN)/python benchmarks/bench_rendering.py
	$(BIN)/python benchmarks/bench_bodies.py
	$(BIN)/python benchmarks/bench_people.py
	$(BIN)/python benchmarks/bench_recover.py

.PHONY: docs
docs: $(VENV)/.docs    ## the documentation as a site: site/index.html
	$(BIN)/python scripts/make_docs_pictures.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:           ## remove the virtual environment, the site and the demo's output
	rm -rf $(VENV) $(DEMO_OUT) site

# The constraints name the torch build our own machines test with; see constraints.txt.
$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,app,browser]'
	@touch $@

$(VENV)/.parity: $(VENV)/.dev
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,parity,docs,notebook]'
	@touch $@

$(VENV)/.docs: $(VENV)/.base
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $@
