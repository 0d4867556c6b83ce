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

.PHONY: demo test quick lint format types bench docs sanitize setup clean

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

# The engine and codec tests on extensions that are built with address and undefined-behaviour sanitizers, beside the tree.
# CPython keeps memory at its exit, so leaks are not looked for.
SANITIZED := build/sanitized
SANITIZERS = $(shell cc -print-file-name=libasan.so) $(shell cc -print-file-name=libubsan.so)

sanitize: $(VENV)/.with-test
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	git ls-files --cached --others --exclude-standard | tar -cf - -T - | tar -xf - -C $(SANITIZED)
	cd $(SANITIZED) && BB_SANITIZE=1 $(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd $(SANITIZED) && LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		PYTHONMALLOC=malloc $(abspath $(BIN))/python -m pytest -p no:cacheprovider $(SANITIZE_TESTS)

# Not the churn of Frames: it looks at memory, and a sanitizer keeps what is freed.
SANITIZE_TESTS ?= tests/core/engine tests/core/wire tests/core/node tests/scenarios/test_engine_stateful.py -k "not leave_nothing"

clean:
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bb_core bb_plugins \( -name '*.so' -o -name __pycache__ \) -exec rm -rf {} +
