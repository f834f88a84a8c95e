# `make` lists the targets. Each makes its own environment in .venv and works twice in a row.
PYTHON ?= python3
BIN    := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
NBVAL  := --nbval --nbval-current-env --nbval-sanitize-with=tests/sanitize.cfg \
          --nbval-cell-timeout=120 --nbval-kernel-startup-timeout=120

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

.venv/pyvenv.cfg:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "minillm needs Python 3.10 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "(on Debian and Ubuntu: apt install python3-venv)"; exit 1; }

.venv/core .venv/lab .venv/test: pyproject.toml | .venv/pyvenv.cfg
	$(BIN)/python -m pip install -q -e '$(if $(filter core,$(@F)),.,.[$(EXTRAS_$(@F))])'
	@touch $@
EXTRAS_lab  := lab
EXTRAS_test := test,parity

tour: .venv/core ## the whole stack on your machine in three minutes (ARGS="--quick", ARGS='--ask "..."')
	$(BIN)/minillm tour $(ARGS)

study: .venv/lab ## your own copies of the lessons in JupyterLab (ARGS="02_1", ARGS="--solutions")
	$(BIN)/minillm study $(ARGS)

test: .venv/test ## unit, parity and strict notebook tests
	$(BIN)/python -m minillm.course.small --all # once, before two workers ask for them; four minutes the first time
	@$(BIN)/minillm fetch $(MODELS) || echo "(tests that need a real model are skipped until $(BIN)/minillm fetch works)"
	$(PYTEST) $(NBVAL) tests notebooks $(ARGS)
# 270 MB, once; without them `make test` does the rest
MODELS := smollm2 e5 minilm

paths: .venv/test ## the quick suite on the code path of a plain x86-64 processor
	$(BIN)/python -m tests.portable search nn inference training models --legs plain

portable: .venv/test ## the suite on every code path, and on every Python that is installed (ARGS="--list")
	$(BIN)/python -m tests.portable $(ARGS) -- $(NBVAL)

soak: .venv/test build/oldest ## the long runs: hours (ARGS="--only long", ARGS="--write")
	$(BIN)/python -m tests.soak.run $(ARGS)

kernels: .venv/test build/oldest build/common ## compile every kernel for sm_80, 90, 100, and for sm_90 by two older Tritons
	$(BIN)/python -m kernels.measure.compile_ahead
	PYTHONPATH=build/common $(BIN)/python -m kernels.measure.compile_ahead --target sm_90
	PYTHONPATH=build/oldest $(BIN)/python -m kernels.measure.compile_ahead --target sm_90

# the oldest Triton supported, and the one that torch 2.13 from PyPI brings to most users
TRITON_oldest := 3.6.*
TRITON_common := 3.7.*
build/oldest build/common: | .venv/test
	$(BIN)/python -m pip install -q --target $@ --no-deps --upgrade 'triton==$(TRITON_$(@F))' 'numpy<2.4' || { rm -rf $@; exit 1; }

bench: .venv/test ## measure against the real libraries (ARGS="bpe_train" for one)
	$(BIN)/minillm bench $(ARGS)

lint: .venv/test ## ruff, and the import contract of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean: ## remove the environment and caches
	rm -rf .venv build/oldest build/common build/portable .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help tour study test paths portable soak kernels bench lint clean
.DEFAULT_GOAL := help
