# Everything a developer does. Each target but help and clean first sees to it that .venv is up to date: the demo needs
# the library alone, the others its development tools, too.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LIBRARY := .venv/.library
VENV := .venv/.made
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full test test-slow test-alone test-kernel experiment-smoke chaos bench bench-full fidelity gpu-kit gpu-acceptance lowest docs check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with the library and its development tools, pinned by constraints.txt

demo: $(LIBRARY) ## find heads, score real texts with a small model, select, report: minutes; see demo-output/report.html
	$(BIN)/attention-influence demo --out demo-output

demo-full: $(LIBRARY) ## the same with five times the texts and probes (20 minutes on two slow cores), for benchmarks
	$(BIN)/attention-influence demo --out demo-output --size full

test: setup ## run the tests that take seconds each, on two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: setup ## run the longer tests: the real model (fetched once), kills, clusters of Ray, a browser, memory
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not alone"

test-alone: setup ## run the tests that count seconds, one after another
	$(BIN)/python -m pytest -m alone

test-kernel: setup ## install Triton into build/triton (1 GB) and run the kernel of the losses in its interpreter
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade --target build/triton triton==3.9.0
	PYTHONPATH=build/triton $(BIN)/python -m pytest tests/model/test_token_losses.py

experiment-smoke: setup ## train on a corpus with a planted effect (2 minutes); fails unless `experiment` finds it
	$(BIN)/python benchmarks/experiment_smoke.py

chaos: setup ## kill scoring runs 30 times on a disk and on a failing S3, and compare what is left
	$(BIN)/python tests/chaos/chaos.py --kills 30

bench: setup ## the scorer against plain transformers and the processor's limit (after make demo-full; half an hour where products are float32)
	$(BIN)/python benchmarks/bench.py --heads demo-output/heads.json --json bench.json

bench-full: setup ## the same with 60,000 tokens and five rounds
	$(BIN)/python benchmarks/bench.py --heads demo-output/heads.json --tokens 60000 --rounds 5 --json bench.json

fidelity: setup ## what each precision does to scores, against fp32 (after make demo-full; about 10 minutes)
	$(BIN)/python benchmarks/fidelity.py

gpu-kit: setup ## fill the folders that benchmarks/gpu needs on a machine with a GPU (after make demo-full)
	PYTHON=$(BIN)/python bash benchmarks/gpu/prepare.sh

gpu-acceptance: setup ## is this machine's GPU fit for a run: rates, memory, fidelity and peers against floors (after make demo-full)
	$(BIN)/python benchmarks/gpu/acceptance.py "$${MODEL:-$$($(BIN)/python -c 'from attention_influence.demo.assets import fetch; print(fetch().model)')}" \
	  $${HEADS:-demo-output/heads.json} $${CORPUS:-demo-output/corpus}

lowest: setup ## install the lowest versions that pyproject.toml allows into .venv-lowest, and run some tests with them
	$(BIN)/python tests/lowest.py

docs: setup ## the documentation as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

check: setup ## lint, formatting, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean: ## remove .venv, caches and the demo's output
	rm -rf .venv demo-output build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: '$(PYTHON)' is missing or older than Python 3.11; name another: make PYTHON=/path/to/python3.11 setup" >&2; \
	  exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

$(LIBRARY): pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) -e .
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) -e '.[dev]'
	@touch $@ $(LIBRARY)
