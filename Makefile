# The entry points; `make` alone lists them. They need Python 3.11+ and make, nothing else.
#
# make exits with 2 whenever a recipe fails, whatever its status ("Error 1" is in the last line). Where the status
# matters, call `.venv/bin/tailrace run` (0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 could not run).

# WORKERS: how many processes run the tests; 0 runs them in one, as a debugger needs (WORKERS=0 ARGS=--pdb).
PROFILE ?= local
ARGS ?=
WORKERS ?= 2
BENCH ?=
MINUTES ?= 30
BENCHES := $(patsubst tests/bench/bench_%.py,%,$(filter-out %/bench_peers.py,$(sort $(wildcard tests/bench/bench_*.py))))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run report down test test-all lint lab bench series soak bench-llm engine servers lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv from the hashed lock

$(READY): requirements.lock pyproject.toml .ci/setup
	@.ci/setup

run: $(READY)  ## run the whole runbook (PROFILE=local chooses the profile)
	@$(BIN)/tailrace run --profile $(PROFILE) $(ARGS)

report: $(READY)  ## redraw the report of the latest run from its records
	@$(BIN)/tailrace report runs/latest

down: $(READY)  ## stop the deployment that a run left running (PROFILE=local)
	@$(BIN)/tailrace down --profile $(PROFILE)

test: $(READY)  ## the tests at quick depth, at most ten minutes (ARGS="-k switch" chooses, ARGS=tests/unit takes three minutes)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-all: $(READY)  ## the tests at full depth, with Docker and a browser where there are any; CI runs these
	@TAILRACE_DEPTH=full $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: $(READY)  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lab: $(READY)  ## open JupyterLab on the notebooks, in the same environment
	@$(BIN)/jupyter lab --notebook-dir=. notebooks/README.md

bench: $(READY)  ## run one benchmark (BENCH=load; without it, list them)
ifeq ($(filter $(BENCH),$(BENCHES)),)
	@echo "choose one, as in make bench BENCH=$(firstword $(BENCHES)): $(BENCHES)"; exit 2
else
	@$(BIN)/python tests/bench/bench_$(BENCH).py $(ARGS)
endif

series: $(READY)  ## a hundred switches of two deployments under HTTP, WebSockets, gRPC and TLS, in ten minutes
	@$(BIN)/python tests/bench/bench_switch.py --mix --bad-every 10 $(ARGS)

soak: $(READY)  ## half an hour of load, a switch a minute, a fault every two; nothing lost, nothing grows (MINUTES=3)
	@$(BIN)/python tests/bench/bench_soak.py --minutes $(MINUTES) $(ARGS)

bench-llm: $(READY)  ## a small grid of loads and lengths on two simulators, in two minutes
	@$(BIN)/tailrace bench --plan runbook/benchmarks/quick.yaml

engine:  ## install a Docker Engine where apt can, and start it
	@.ci/engine

servers: $(READY)  ## make the servers that tests run, below .tailrace/servers: LiteLLM's proxy, llama.cpp and a tiny model
	@.ci/servers

lock:  ## pin the dependencies of pyproject.toml again, with hashes and without index addresses
	@.ci/lock

clean: ## remove the environment, caches and builds; runs/ and .tailrace/ stay
	@rm -rf $(VENV) build dist wheelhouse .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find lib tests notebooks -name __pycache__ -prune -exec rm -rf {} +
