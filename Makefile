# Two commands matter: `make demo` and `make test`. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
CONSTRAINTS := $(wildcard constraints-$(VERSION).txt)
BIN := .venv/bin
WORKDIR ?= runs/digits
FIGURES ?= runs/figures

.PHONY: bench demo figures test test-slow test-cluster lint format clean

demo: .venv/installed-$(VERSION)
	$(BIN)/python -m launch.run --config=configs/rectified_flow_digits.py --workdir=$(WORKDIR)

figures: .venv/drawn-$(VERSION)
	$(BIN)/python -m launch.figures --out=$(FIGURES) --parallel=2

bench: .venv/benched-$(VERSION)
	$(BIN)/python -m launch.bench all --quick --results=benchmarks/results --summary=BENCHMARKS.md

test: .venv/tested-$(VERSION)
	$(BIN)/python -m pytest -n 2

test-slow: .venv/tested-$(VERSION)
	$(BIN)/python -m pytest -n 2 -m slow

test-cluster: .venv/clustered-$(VERSION)
	$(BIN)/python -m pytest -m cluster -rs

lint: .venv/tested-$(VERSION)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/tested-$(VERSION)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The interpreter's version is in the stamp's name, so that changing PYTHON makes the environment anew.
.venv/installed-$(VERSION): requirements.txt pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try PYTHON=python3.12 make" if sys.version_info < (3, 11) else 0)'
	test -e $@ || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e .
	touch $@

.venv/drawn-$(VERSION): .venv/installed-$(VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[figures]'
	touch $@

.venv/benched-$(VERSION): .venv/installed-$(VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[bench]'
	touch $@

.venv/tested-$(VERSION): .venv/installed-$(VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[test]'
	touch $@

.venv/clustered-$(VERSION): .venv/tested-$(VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) -e '.[test,cluster]'
	touch $@

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache *.egg-info build
