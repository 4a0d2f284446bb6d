# The commands that always work; each does all the set-up it needs. CONTRIBUTING.md says more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SERVICES_WANTED := $(or $(CI),$(SERVICES))

.DEFAULT_GOAL := help
.PHONY: help demo test unit conformance crash bench docs lint services samples clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): setup.py pyproject.toml
	@scripts/install $(PYTHON) $(VENV)
	@touch $(STAMP)

demo:  ## run a real job through a node on embedded defaults and show the result
	@scripts/demo

test: $(STAMP)  ## everything CI checks; SERVICES=1 installs and requires the real services
	@scripts/run-tests $(if $(SERVICES_WANTED),--services)

unit: $(STAMP)  ## unit and contract tests, a few seconds
	@$(BIN)/python -m pytest tests/unit tests/contract

lint: $(STAMP)  ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy

conformance: $(STAMP)  ## the real clients against this node
	@scripts/services
	@CI=1 $(BIN)/python -m pytest tests/conformance

crash: $(STAMP)  ## the long kill tests: 200 random moments, and after every kind of save
	@PULSAR_CRASH_KILLS=200 $(BIN)/python -m pytest tests/integration/test_crash.py

bench: $(STAMP)  ## measure against the peer; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

docs: $(STAMP)  ## build the documentation into docs/_build/html
	@$(BIN)/python -m pip install -q -e '.[docs]' && $(BIN)/python -m sphinx -W -q -b html docs docs/_build/html && echo "docs/_build/html/index.html"

services:  ## install the services that the tests use (root or sudo)
	@scripts/services

samples: $(STAMP)  ## write app.yml.sample, server.ini.sample and the option reference from the option table
	@$(BIN)/python scripts/write_samples.py

clean:  ## remove what the commands made
	@rm -rf $(VENV) .peers .services build docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
