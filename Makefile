# `make` alone lists the targets. Each sets up what it needs in .venv, and CI runs the same recipes.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs lock setup release format clean

BIN := .venv/bin
# An environment that forbids bytecode would recompile every module at each start.
export PYTHONDONTWRITEBYTECODE :=

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo:  ## live one model's year: train, serve, decay, retrain, canary, roll back
	@scripts/setup demo
	@$(BIN)/mainspring demo

test:  ## run all tests
	@scripts/setup dev
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 2

check:  ## format, lint, strict types, floors, file sizes, docs
	@scripts/setup dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples/flights/loop.py
	$(BIN)/mypy examples/minimal/loop.py
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_tree.py

bench:  ## run the benchmarks and print ratios
	@scripts/setup dev
	$(BIN)/python benchmarks/glue.py
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/pipelines.py

docs:  ## refresh the generated blocks of the docs
	@scripts/setup dev
	$(BIN)/python scripts/check_tree.py --write

lock:  ## resolve the requirements anew and lock them with hashes
	@scripts/setup dev
	scripts/lock

setup:  ## only make the environment
	@scripts/setup dev

format:  ## format the code and mend what the linter can
	@scripts/setup dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

release:  ## build the wheel and the source package into dist/
	@scripts/setup dev
	$(BIN)/python -m hatchling build

clean:  ## remove the environments and caches
	rm -rf .venv .bootstrap build dist .mypy_cache .ruff_cache .pytest_cache
