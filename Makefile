# make demo    a gappy sea surface height, filled: score table, figure, Zarr store
# make test    style, types, doctests and tests
# make docs    the documentation, in docs/_build/html
#
# Each makes its own virtual environment in .venv at the first run. Settings:
#   PYTHON=python3.12   the interpreter that .venv is made from (3.11 or newer)
#   VENV=elsewhere      where the virtual environment goes
#   PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#                       on Linux: PyTorch without CUDA, a tenth of the size
#   WORKERS=4           processes that share the tests

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
WORKERS ?= 2

PY := $(VENV)/bin/python
PIP_VERSION := 26.3
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet $(PIP_ARGS) \
	--constraint constraints.txt --build-constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test docs format clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: $(VENV)/.demo
	$(PY) -m xinverse demo

# Every check runs, whatever the one before it said; the tests come last, so that
# their summary is what is left on the screen.
test: $(VENV)/.test
	@failed=''; \
	$(PY) -m ruff check . || failed="$$failed ruff-check"; \
	$(PY) -m ruff format --check . || failed="$$failed ruff-format"; \
	$(PY) -m mypy || failed="$$failed mypy"; \
	test -z "$$failed" || echo "FAILED before the tests:$$failed"; \
	$(PY) -m pytest -n $(WORKERS) --doctest-modules xinverse tests \
		|| failed="$$failed pytest"; \
	test -z "$$failed" || { echo "FAILED:$$failed"; exit 1; }

docs: $(VENV)/.docs
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

format: $(VENV)/.test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) build dist docs/_build docs/api docs/tutorials
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One stamp per kind of installation: made again when what it was made from changes.
$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "xinverse needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip==$(PIP_VERSION)
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(INSTALL) --editable '.[plot]'
	@touch $@

$(VENV)/.test: $(VENV)/.pip pyproject.toml constraints.txt
	$(INSTALL) --editable '.[plot,distributed]' --group test
	@touch $@

$(VENV)/.docs: $(VENV)/.pip pyproject.toml constraints.txt
	$(INSTALL) --editable '.[docs]'
	@touch $@
