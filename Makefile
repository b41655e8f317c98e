# Two commands do everything: `make demo` and `make test`. Each sets up what it needs; a second call is fast.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Idle torch threads must sleep, not spin: beside any busy process spinning slows both several times.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types contracts unit readme wheel benchmarks real clean

demo: $(VENV)/.ready
	$(BIN)/operando demo

test: lint types contracts unit readme wheel

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

contracts: $(VENV)/.ready
	$(BIN)/lint-imports

unit: $(VENV)/.ready
	$(BIN)/pytest --numprocesses 2 --dist worksteal

readme: $(VENV)/.ready
	$(BIN)/python tests/run_readme.py README.md

wheel: $(VENV)/.ready
	$(BIN)/python tests/smoke_wheel.py

# Real images of the data folder (OPERANDO_DATA, or ../shared/data).
real: $(VENV)/.ready
	for recipe in cylindrical-cell micrograph cell-21700 stxm-fe2p salt-profiles-mri; do $(BIN)/operando run examples/$$recipe.yaml || exit 1; done

benchmarks: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[benchmarks]'
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist demo runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
