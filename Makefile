# On a fresh machine `make demo` and `make test` need Python 3.11 or later, a C compiler and this folder; the rest they install into .venv.
#
# The install is editable: the compiled modules are built beside their sources, so that the tests, which run in this folder, import
# the same files that they were collected with. A plain install would be hidden by the folder's own, uncompiled bb_core.
# A changed .pyx, .pxd, .c or .h file makes `make` install, and so compile, again.

PYTHON ?= python3
VENV ?= .venv
TEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
COMPILED := setup.py pyproject.toml $(shell find bb_core csrc -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]')

# Extras that an extra includes, so that what is there is not installed twice.
INCLUDED_bench := demo
INCLUDED_test := bench demo
INCLUDED_dev := test bench demo

# cython-lint starts pycodestyle by name.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo test quick lint format types bench docs setup clean

demo: $(VENV)/.with-demo
	$(BIN)/bb demo

test: $(VENV)/.with-test
	$(BIN)/python -m pytest $(TEST_ARGS)

quick: $(VENV)/.with-test
	$(BIN)/python -m pytest -x -q tests/core tests/meta $(TEST_ARGS)

setup: $(VENV)/.with-dev

lint: $(VENV)/.with-dev
	ruff check .
	ruff format --check .
	cython-lint bb_core
	codespell

format: $(VENV)/.with-dev
	ruff check --fix .
	ruff format .

types: $(VENV)/.with-dev
	mypy
	$(BIN)/python -m mypy.stubtest --ignore-disjoint-bases --ignore-unused-allowlist --allowlist tests/meta/stubtest.txt \
		bb_core.engine._dispatch bb_core.wire._codec

bench: $(VENV)/.with-bench
	$(BIN)/bb bench $(BENCH_ARGS)

docs: $(VENV)/.with-demo
	$(BIN)/python docs/make_reference.py

$(VENV)/.with-%: $(COMPILED)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $(addprefix $(VENV)/.with-,$* $(INCLUDED_$*))

clean:
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bb_core bb_plugins \( -name '*.so' -o -name __pycache__ \) -exec rm -rf {} +
