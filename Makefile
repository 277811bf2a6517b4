# The ways in. `make` alone lists them. Nothing has to be installed before but Python 3.11+ and make.
#
# make itself leaves with 2 whatever a recipe left with ("Error 1" is in its last line): where the status
# matters, call `.venv/bin/tailrace run` (0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 could not run).

PROFILE ?= local
ARGS ?=
WORKERS ?= 2
BENCH ?=
BENCHES := $(patsubst tests/bench/bench_%.py,%,$(filter-out %/bench_peers.py,$(sort $(wildcard tests/bench/bench_*.py))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run report down test test-all lint lab bench engine lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv from the hashed lock

$(READY): requirements.lock pyproject.toml .ci/setup
	@.ci/setup

run: $(READY)  ## run the whole runbook (PROFILE=local)
	@$(BIN)/tailrace run --profile $(PROFILE) $(ARGS)

report: $(READY)  ## draw the report of the latest run again from its records
	@$(BIN)/tailrace report runs/latest

down: $(READY)  ## stop what a run left running (PROFILE=local)
	@$(BIN)/tailrace down --profile $(PROFILE)

test: $(READY)  ## the tests at quick depth, ten minutes (ARGS="-k switch" to choose)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-all: $(READY)  ## the tests at full depth, as CI runs them
	@TAILRACE_DEPTH=full $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lab: $(READY)  ## open JupyterLab on the notebooks, in the same environment
	@$(BIN)/jupyter lab --notebook-dir=. notebooks/README.md

bench: $(READY)  ## a benchmark (BENCH=load; without it, which there are)
ifeq ($(filter $(BENCH),$(BENCHES)),)
	@echo "which one? make bench BENCH=$(firstword $(BENCHES)); there are: $(BENCHES)"; exit 2
else
	@$(BIN)/python tests/bench/bench_$(BENCH).py $(ARGS)
endif

engine:  ## install a Docker Engine where apt can, and start it
	@.ci/engine

lock:  ## pin all dependencies of pyproject.toml again, with hashes and without addresses
	@.ci/lock

clean: ## remove the environment, caches and builds; runs/ and .tailrace/ stay
	@rm -rf $(VENV) build dist wheelhouse .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find lib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
