# spectui: `make run` opens the app on this checkout, `make test` checks it.
# PIP_CONSTRAINT, when set, is honoured by every pip here (.ci/constraints.txt pins what CI runs with).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Cases of the chart fuzz: a short sample here, more with `make test SPECTUI_FUZZ_CASES=5000`.
SPECTUI_FUZZ_CASES ?= 100
PYTEST_ARGS ?=
# What pip says matters to a person who waits for it; a log needs only what went wrong.
PIP_INSTALL = if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
	$(BIN)/python -m pip install --disable-pip-version-check $$quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test slow lint bench bench-terminal soak clean

help:
	@echo "make run    install into $(VENV), make the demo data if there is none, open the app"
	@echo "            (without a terminal: train conf/demo.yaml and print the test errors)"
	@echo "make test   lint, types, imports and tests"
	@echo "make slow   the tests that take too long for every change (processes killed in every way)"
	@echo "make lint   only the first three"
	@echo "make bench  benchmarks against named baselines (half an hour, 6 GB of scratch space)"
	@echo "make bench-terminal  what the screen costs, beside W&B LEET where BENCH_LEET_PYTHON has wandb (20 min)"
	@echo "make soak   20,000 random keys over live data (an hour)"
	@echo "make clean  remove $(VENV) and caches; never dataset/, runs/, mlruns/ or mlflow.db"

# A recipe has make's own stdin and stdout, so these tests see whether there is a terminal.
run: $(VENV)/.installed-run
	@[ -n "$$(ls dataset/spectral 2>/dev/null)" ] || $(BIN)/spectui --root . data demo
	@if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then exec $(BIN)/spectui --root .; \
	else exec $(BIN)/spectui --root . train conf/demo.yaml; fi

# One thread a process: more wait for one another most of the time. Three workers on two cores: a third of the
# tests wait for processes of their own.
test: lint
	OMP_NUM_THREADS=1 SPECTUI_FUZZ_CASES=$(SPECTUI_FUZZ_CASES) $(BIN)/python -m pytest -n 3 --dist loadgroup -m "not slow" $(PYTEST_ARGS)

slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Ratios of medians, measured A B A B in one run; a short sample of each runs in `make test`, untimed.
bench: $(VENV)/.installed-dev
	@for file in tests/benchmarks/bench_*.py; do \
	  echo "== $$file"; PYTHONPATH=. $(BIN)/python $$file || failed="$$failed $$file"; \
	done; [ -z "$$failed" ] || { echo "bars missed:$$failed" >&2; exit 1; }

# The peer lives in an environment of its own: python -m venv X && X/bin/pip install wandb==0.31.0
bench-terminal: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python tests/benchmarks/terminal/bench_terminal.py

soak: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python tests/soak/soak_keys.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .cache
	find engine models tui tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- installing -----------------------------------------------------------------------------------------
# A stamp is newer than pyproject.toml when what is installed answers to it: a second run starts at once.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "spectui needs Python 3.11 or newer and '$(PYTHON)' is $$($(PYTHON) -V 2>&1 | head -n 1); try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed-run: pyproject.toml | $(BIN)/python
	@echo "installing spectui into $(VENV) (the first time takes some minutes: PyTorch and MLflow are large)" >&2
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing spectui and its checkers into $(VENV)" >&2
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.installed-run $@
