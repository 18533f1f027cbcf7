# Two commands for a machine with Python >= 3.11, pip, git and make:
#   make demo    the main job, with a picture
#   make test    the whole test suite, style and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
.DEFAULT_GOAL := help
.PHONY: help demo test docs benchmark benchmarks benchmark-peers clean

help:
	@echo "make demo   run the main job: run, snapshot, branch, save, resume; writes a picture to out/"
	@echo "make test   run all tests, style and type checks"
	@echo "make docs   build the documentation site; the first page is out/site/index.html"
	@echo "make clean  remove the virtual environments and caches"
	@echo "make benchmark        Lorenz RK4 against C, a few seconds; needs gcc"
	@echo "make benchmark-peers  install the packages that are compared (a minute or two, 2 GB)"
	@echo "make benchmarks       everything against everybody; writes docs/benchmarks.md"

$(VENV)/ready-demo: requirements/demo.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit('dynlib needs Python 3.11 or newer, this is ' + sys.version.split()[0] if sys.version_info < (3, 11) else 0)"
	@echo "setting up $(VENV) (first time: a minute or so)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -r requirements/demo.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-test: $(VENV)/ready-demo requirements/test.txt requirements/docs.txt tests/explore/install_chromium.sh
	@$(PIP) install -r requirements/test.txt
	@sh tests/explore/install_chromium.sh
	@touch $@

$(VENV)/ready-docs: $(VENV)/ready-demo requirements/docs.txt
	@$(PIP) install -r requirements/docs.txt
	@touch $@

demo: $(VENV)/ready-demo
	@$(BIN)/python examples/hold_a_neuron.py out

test: $(VENV)/ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2

docs: $(VENV)/ready-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs out/site

benchmark: $(VENV)/ready-test
	$(BIN)/python -m benchmarks.suite --only lorenz-rk4 --peers c,dynlib --json out/benchmark.json

benchmark-peers: $(VENV)/ready-test
	$(BIN)/python -m benchmarks.suite.environments

benchmarks: $(VENV)/ready-test
	$(BIN)/python -m benchmarks.suite --keep --docs docs --pictures

clean:
	rm -rf $(VENV) .venv-peers out build .pytest_cache .mypy_cache .ruff_cache .hypothesis
