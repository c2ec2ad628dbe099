# One word does each thing. `make load` and `make test` work on a fresh clone.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# Modules stay compiled, and assertions of tests rewritten: a third of what the tests without servers take, if they do not.
unexport PYTHONDONTWRITEBYTECODE
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name '*.csv' -o -name Cargo.toml) Cargo.toml Cargo.lock
RUST_TESTS := --package datagen-core --package datagen-pipeline --package datagen-producer
EXTENSION := python/datagen/_core.abi3.so
TARGET := $(or $(CARGO_TARGET_DIR),target)
NO_SERVER := not browser and not kafka and not postgres and not registry and not slow and not timing
# What is released, and what tests run on: built once, for `load` as for `wheel`. On Linux zig links it, so that it runs
# with the C library of 2018 (2.28); elsewhere the system's own linker does.
BUILD_TOOLS := 'maturin>=1.9.4,<2'
ifneq ($(filter Linux-x86_64 Linux-aarch64,$(shell uname -s)-$(shell uname -m)),)
BUILD_TOOLS += 'ziglang>=0.15,<0.18'
RELEASE := --zig --compatibility manylinux_2_28
endif
EDITABLE := $(BIN)/python -m pip install --quiet --no-build-isolation --editable
# Tests that run at once: more than the machine has cores, since most of them wait for something.
WORKERS ?= 4

.PHONY: help load down dev wheel check test test-clients lint format deny bench golden docs pins clean \
	rust-format rust-fuzz rust-lint rust-test python-lint python-types python-stubs python-test

help:
	@echo "make load    build everything, start the local stack, load 100 customers into it"
	@echo "make dev     build the extension for a try, in seconds"
	@echo "make wheel   build a wheel and a source distribution into dist/"
	@echo "make check   check formats, lints and types, and run the tests that need no server"
	@echo "make test    run every test, against real PostgreSQL, Apache Kafka and Apicurio"
	@echo "make test-clients  read a load with Kafka Streams, Flink and Spark (needs a JDK and Maven)"
	@echo "make lint    check formats, lints and types of both languages"
	@echo "make deny    check licences, versions and sources of the crates"
	@echo "make bench   run the benchmarks"
	@echo "make golden  write the golden values anew (read CONTRIBUTING.md first)"
	@echo "make docs    write docs/data-catalog.md and .pt.md from the catalogue"
	@echo "make pins    write requirements/local.txt from the extra \`local\` of pyproject.toml"
	@echo "make down    stop the local stack"

# What builds: a virtual environment with maturin.
$(VENV)/.tools:
	@command -v cargo >/dev/null || { echo "datagen is built with Rust 1.88 or later: install rustup first"; exit 1; }
	@echo "Installing packages into $(VENV), and building datagen with optimisation: some minutes the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(BUILD_TOOLS)
	touch $@

# The same environment with all packages, and with the extension as it is released.
$(VENV)/.packages: pyproject.toml requirements/local.txt | $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/local.txt
	MATURIN_PEP517_ARGS="$(RELEASE)" $(EDITABLE) ".[dev]"
	touch $@ $(VENV)/.released $(EXTENSION)

# The same with what has changed since.
$(VENV)/.released: $(RUST_SOURCES) | $(VENV)/.packages
	@echo "Building datagen with optimisation: some minutes the first time"
	MATURIN_PEP517_ARGS="$(RELEASE)" $(EDITABLE) . --no-deps
	touch $@ $(EXTENSION)

# Whichever build was the last, if nothing has changed since; otherwise the one that takes seconds.
$(EXTENSION): $(RUST_SOURCES) | $(VENV)/.packages
	cargo build --quiet --package datagen-py --profile dev-fast
	rm -f $(VENV)/.released
	install $(TARGET)/dev-fast/lib_core.so $@

dev: $(EXTENSION)

# One wheel for every Python from 3.11 on, of the build that `load` has.
wheel: $(VENV)/.tools
	rm -rf dist
	$(BIN)/maturin build --quiet --release --locked $(RELEASE) --out dist
	$(BIN)/maturin sdist --out dist
	@ls dist/*

# The hashes of the extra `local`, written anew from pyproject.toml; needs uv.
LOCAL_EXTRA := import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["local"], sep="\n")
pins:
	$(PYTHON) -c '$(LOCAL_EXTRA)' | uv pip compile - --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --output-file requirements/local.txt

load: $(VENV)/.released
	@echo "Loading 100 customers into the local stack, which is started if need be; \`make down\` stops it"
	$(BIN)/datagen load --local --customers 100 --seed 42 --create-topics --truncate

down: $(VENV)/.packages
	$(BIN)/datagen local down

# Those that take longest come first.
check: $(EXTENSION)
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target python-test rust-lint rust-test \
		python-types python-stubs python-lint rust-fuzz rust-format

# Linking with optimisation takes one processor, and tests of Rust the other.
test:
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(VENV)/.released rust-test
	@$(MAKE) --no-print-directory wheel
	cd tests && $(abspath $(BIN))/python -m services
	$(BIN)/python -m pytest -m "not timing" -n $(WORKERS) --dist loadgroup
	$(BIN)/python -m pytest -m timing

# Stream processors and clients of others on what datagen writes; `test` does not run them.
test-clients: $(VENV)/.released
	$(BIN)/python -m pip install --quiet --requirement requirements/clients.txt
	$(BIN)/python -m pytest tests/clients -rP -o faulthandler_timeout=1600

# Packages first: they are installed while clippy compiles, where two run at once.
lint: python-lint python-types python-stubs rust-format rust-lint rust-fuzz

rust-format:
	cargo fmt --all --check

rust-lint:
	cargo clippy --quiet --workspace --all-targets -- --deny warnings

# Fuzz targets run with nightly, on demand. That they compile is seen without it, and without libFuzzer, which is C++;
# with the versions of crates that all else has.
rust-fuzz: export CUSTOM_LIBFUZZER_PATH := /nowhere/libfuzzer.a
rust-fuzz: export RUSTFLAGS := --cfg fuzzing --deny warnings
rust-fuzz: export CARGO_TARGET_DIR := $(abspath $(TARGET))/fuzz
rust-fuzz:
	cp Cargo.lock rust/core/fuzz/Cargo.lock
	cp Cargo.lock rust/producer/fuzz/Cargo.lock
	cargo check --quiet --manifest-path rust/core/fuzz/Cargo.toml
	cargo check --quiet --manifest-path rust/producer/fuzz/Cargo.toml

rust-test:
	cargo test --quiet $(RUST_TESTS)

python-lint: $(VENV)/.packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check

python-types: $(VENV)/.packages
	$(BIN)/mypy

python-stubs: $(EXTENSION)
	cd python && $(abspath $(BIN))/python -m mypy.stubtest datagen._core --mypy-config-file ../pyproject.toml \
		--allowlist ../rust/py/stubtest.allow --ignore-unused-allowlist

python-test: $(EXTENSION)
	$(BIN)/python -m pytest --quiet -m "$(NO_SERVER)" -n 2 --dist loadgroup

format: $(VENV)/.packages
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

deny:
	@command -v cargo-deny >/dev/null || { echo "cargo deny is not here: run \`cargo install --locked cargo-deny\` first"; exit 1; }
	cargo deny check --hide-inclusion-graph licenses bans sources

bench: $(VENV)/.released
	cargo bench --package datagen-core
	$(BIN)/python -m pytest benches --benchmark-only

golden:
	rm -rf rust/core/tests/golden
	-cargo test --quiet --package datagen-core --test golden
	cargo test --quiet --package datagen-core --test golden

docs: $(EXTENSION)
	$(BIN)/python scripts/data_catalog.py

clean:
	rm -rf $(VENV) dist target benches/java/target
