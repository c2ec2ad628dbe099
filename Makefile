# One word does each thing. `make load` and `make test` work on a fresh clone.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name '*.csv' -o -name Cargo.toml) Cargo.toml Cargo.lock

.PHONY: help load down test lint format bench golden docs pins clean

help:
	@echo "make load    build everything, start the local stack, load 100 customers into it"
	@echo "make test    run every test, against real PostgreSQL, Apache Kafka and Apicurio"
	@echo "make lint    check formats, lints and types of both languages"
	@echo "make bench   run the benchmarks"
	@echo "make golden  write the golden values anew (read CONTRIBUTING.md first)"
	@echo "make docs    write docs/data-catalog.md and .pt.md from the catalogue"
	@echo "make pins    write requirements/local.txt from the extra \`local\` of pyproject.toml"
	@echo "make down    stop the local stack"

# The virtual environment, and in it the extension built with optimisation.
$(VENV)/.installed: pyproject.toml requirements/local.txt $(RUST_SOURCES)
	@command -v cargo >/dev/null || { echo "datagen is built with Rust 1.88 or later: install rustup first"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/local.txt
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# The hashes of the extra `local`, written anew from pyproject.toml; needs uv.
LOCAL_EXTRA := import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["local"], sep="\n")
pins:
	$(PYTHON) -c '$(LOCAL_EXTRA)' | uv pip compile - --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --output-file requirements/local.txt

load: $(VENV)/.installed
	$(BIN)/datagen load --local --customers 100 --seed 42 --create-topics --truncate

down: $(VENV)/.installed
	$(BIN)/datagen local down

test: $(VENV)/.installed
	cargo test --quiet --package datagen-core --package datagen-pipeline --package datagen-producer
	$(BIN)/python -m pytest

lint: $(VENV)/.installed
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- --deny warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	cd python && ../$(BIN)/python -m mypy.stubtest datagen._core --mypy-config-file ../pyproject.toml \
		--allowlist ../rust/py/stubtest.allow --ignore-unused-allowlist

format: $(VENV)/.installed
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.installed
	cargo bench --package datagen-core
	$(BIN)/python -m pytest benches --benchmark-only

golden:
	rm -rf rust/core/tests/golden
	-cargo test --quiet --package datagen-core --test golden
	cargo test --quiet --package datagen-core --test golden

docs: $(VENV)/.installed
	$(BIN)/python scripts/data_catalog.py

clean:
	rm -rf $(VENV) target benches/java/target
