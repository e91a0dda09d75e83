# Everything a person or a machine does with this repository. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help demo serve test test-by-hand test-fast coverage fuzz fuzz-files check format generate pictures bench constraints clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# Bytecode is kept, whatever the environment says: pytest rewrites each assertion, and tests start many processes.
export PYTHONDONTWRITEBYTECODE :=

help:             ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

demo: $(VENV)/.installed  ## explain bundled images with every lens: convscope-demo/report.html
	$(BIN)/convscope demo

serve: $(VENV)/.web  ## open the workbench on bundled networks and images
	$(BIN)/convscope serve

# Two workers share the machine: threads of the processes that tests start would wait for each other, spinning.
test test-by-hand test-fast coverage: export OMP_NUM_THREADS = 1

# Each worker takes one file after another, in the order of tests/marks.py.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
SLOW    := browser or server or process or peers or architectures or fuzz or trained or sweep or slow or by_hand

test: $(VENV)/.dev  ## run the test suite, all but make test-by-hand
	$(BIN)/python scripts/browser.py
	$(BIN)/python -m pytest $(WORKERS) -m 'not by_hand'

test-by-hand: $(VENV)/.dev  ## the networks that make test leaves out: keras.applications, timm
	$(BIN)/python -m pytest -m by_hand

test-fast: $(VENV)/.dev  ## after each change: no browser, processes or peers, two cases of each test
	$(BIN)/python -m pytest $(WORKERS) -m 'not ($(SLOW))'

coverage: $(VENV)/.dev  ## the whole suite; prints the least covered files and the total
	$(BIN)/python scripts/browser.py
	$(BIN)/python -m pytest $(WORKERS) -m 'not by_hand' --cov --cov-report=
	$(BIN)/coverage report --skip-covered --sort=cover | sed -n '1,22p'
	@echo "in all: $$($(BIN)/coverage report --format=total)%"

SEEDS ?= 2000

fuzz: $(VENV)/.dev  ## hold lenses to slow versions and to the peers on random networks: SEEDS=2000
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(SEEDS)

FILES ?= 20000

fuzz-files: $(VENV)/.dev  ## open mutated model files of all formats: FILES=20000
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.files $(FILES)

check: $(VENV)/.dev  ## format, lint, plain words, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python scripts/plain_words.py
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

format: $(VENV)/.dev  ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(VENV)/.dev  ## write what follows from the declarations: stub, README table, lens pages
	$(BIN)/python scripts/generate.py

pictures: $(VENV)/.dev  ## make the pictures of the README and the gallery
	$(BIN)/python scripts/pictures.py

bench: $(VENV)/.bench  ## ratios to a plain forward and to the peers: benchmarks/results.md
	$(BIN)/python -m benchmarks

# In an environment of its own, where no constraint holds back what pyproject.toml allows.
constraints:      ## pin the newest versions that pyproject.toml allows: constraints.txt; then run the tests
	$(PYTHON) -m venv --clear $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[bench]'
	$(VENV)-constraints/bin/python scripts/constraints.py
	rm -rf $(VENV)-constraints

clean:            ## remove the environment and what the demo wrote
	rm -rf $(VENV) .coverage convscope-demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# pip inside a venv, never uv: the build of torch that pip is pointed at may be a small one.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("ConvScope needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) .
	@touch $@

$(VENV)/.web: $(VENV)/.installed
	$(PIP) '.[web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) '.[bench]'
	@touch $@
