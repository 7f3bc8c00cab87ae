# make demo    fill a gappy sea surface height: score table, figure, Zarr store
# make test    style, types, doctests and tests
# make docs    the documentation, in docs/_build/html
#
# make test-oldest   tests with the oldest supported dependencies, in .venv-oldest
# make dist          wheel and sdist, in dist
# make smoke         try wheel and sdist, each in an empty environment
# make constraints-oldest   write constraints-oldest.txt from pyproject.toml
#
# The first three create a virtual environment in .venv on the first run. Settings:
#   PYTHON=python3.12   interpreter for .venv (3.11 or newer)
#   VENV=elsewhere      path of the virtual environment
#   OLDEST=elsewhere    path of that of test-oldest (needs PYTHON=python3.11)
#   PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#                       on Linux: PyTorch without CUDA, a tenth of the size
#   WORKERS=4           number of test processes

PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
PIP_ARGS ?=
WORKERS ?= 2

PY := $(VENV)/bin/python
PIP_VERSION := 26.3
PIP := $(PY) -m pip --disable-pip-version-check
BUILD_TOOLS := build/tools
INSTALL := $(PIP) install --quiet $(PIP_ARGS) \
	--constraint constraints.txt --build-constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test docs format clean test-oldest constraints-oldest dist smoke

help:
	@sed -n '/^$$/q;s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.demo
	$(PY) -m xinverse demo

# Run every check, even after one fails. The tests come last, so that their summary stays on
# the screen.
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

test-oldest: $(OLDEST)/.test
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) tests

# PyTorch pins the nvidia packages and triton itself; its builds without CUDA need none.
constraints-oldest: $(BUILD_TOOLS)/.done
	sed -n '/^#/p' constraints-oldest.txt > build/constraints-oldest.txt
	$(BUILD_TOOLS)/bin/uv pip compile pyproject.toml --quiet --no-header --no-annotate \
		--extra plot --extra distributed --extra train --group test \
		--resolution lowest-direct --python-version 3.11 \
		| grep -vE '^(nvidia-|triton)' >> build/constraints-oldest.txt
	mv build/constraints-oldest.txt constraints-oldest.txt

dist: $(BUILD_TOOLS)/.done
	rm -rf dist
	PIP_BUILD_CONSTRAINT=constraints.txt $(BUILD_TOOLS)/bin/python -m build --outdir dist .

# Run outside the source tree, to import the installed package.
smoke: dist
	@set -e; for file in dist/*.whl dist/*.tar.gz; do \
		rm -rf build/smoke; $(PYTHON) -m venv build/smoke; \
		build/smoke/bin/python -m pip install --quiet $(PIP_ARGS) \
			--constraint constraints.txt "$$file"; \
		echo "$$file"; \
		(cd build/smoke && bin/python -P ../../tests/smoke.py); \
	done; rm -rf build/smoke

format: $(VENV)/.test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) $(OLDEST) build dist docs/_build docs/api docs/tutorials
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One stamp per kind of installation, renewed when its inputs change.
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

$(OLDEST)/.test: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip==$(PIP_VERSION)
	$(OLDEST)/bin/python -m pip install --quiet $(PIP_ARGS) \
		--constraint constraints-oldest.txt --build-constraint constraints.txt \
		--editable '.[plot,distributed,train]' --group test
	@touch $@

$(BUILD_TOOLS)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BUILD_TOOLS)
	$(BUILD_TOOLS)/bin/python -m pip install --quiet --upgrade pip==$(PIP_VERSION)
	$(BUILD_TOOLS)/bin/python -m pip install --quiet --constraint constraints.txt --group build
	@touch $@
