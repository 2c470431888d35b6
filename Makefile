# Every target has a help line; `make` alone prints them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .build
RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
CARGO_TEST_FLAGS ?=
PYTEST_FLAGS ?=
ARGS ?=
ROUTER_ARGS ?=
STORE_ARGS ?=
MEMORY_ARGS ?=
SOAK_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-node run test check lint-rust lint-python types stubs imports fmt test-rust test-python test-bench crash bench bench-router bench-store bench-hub bench-memory bench-connects bench-agent memory soak performance load lock settings conformance fuzz fuzz-seeds clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMPS)/venv: requirements/dev.lock requirements/data.lock
	@sh tools/preflight.sh
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --require-hashes -r requirements/dev.lock -r requirements/data.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/core: $(STAMPS)/venv $(RUST_SOURCES) pyproject.toml
	@echo "building the extension (some minutes the first time)"
	VIRTUAL_ENV=$(CURDIR)/$(VENV) PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/maturin develop --release --locked
	@touch $@

$(STAMPS)/agent: $(STAMPS)/venv agent/pyproject.toml
	$(PIP) install --no-deps --no-build-isolation --editable agent
	@touch $@

$(STAMPS)/node: tests/sdk/node/package-lock.json
	npm ci --prefix tests/sdk/node --no-audit --no-fund --loglevel=error
	@mkdir -p $(STAMPS) && touch $@

setup-node: $(STAMPS)/node ## Install the Node SDK, which the scenarios of tests/sdk command

setup: $(STAMPS)/core $(STAMPS)/agent ## Make the virtual environment and build the extension

run: $(STAMPS)/core ## Run the demo: devices -> edgehub -> iothub (ARGS="--seconds 20 --rate 100 --keep")
	@$(BIN)/edgehub demo $(ARGS)

test: check test-rust test-python test-bench ## All checks and tests; what CI runs

check: lint-rust lint-python types stubs imports ## Formatters, linters, types, stubs against the built extension, import directions

lint-rust: $(STAMPS)/venv
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

lint-python: $(STAMPS)/venv
	$(BIN)/ruff check --quiet python agent tests bench tools
	$(BIN)/ruff format --quiet --check python agent tests bench tools

types: $(STAMPS)/core $(STAMPS)/agent
	MYPYPATH=bench/micro:bench $(BIN)/mypy python agent/edgeagent tests
	MYPYPATH=bench/micro:bench:python $(BIN)/mypy bench/load bench/agent.py bench/soak.py bench/parent_restart.py bench/performance.py
	MYPYPATH=bench/micro $(BIN)/mypy bench/micro/callgrind.py bench/micro/router_report.py bench/micro/store_report.py bench/micro/write_numbers.py bench/micro/measuring bench/micro/tests

stubs: $(STAMPS)/core
	$(BIN)/python -m mypy.stubtest edgehub._core --concise --mypy-config-file pyproject.toml --allowlist tools/stubtest-allow.txt

imports: $(STAMPS)/venv
	$(BIN)/python -m pytest -q tests/unit/test_import_direction.py

fmt: $(STAMPS)/venv ## Format Rust and Python
	cargo fmt --all
	$(BIN)/ruff check --fix --quiet python agent tests bench tools || true
	$(BIN)/ruff format --quiet python agent tests bench tools

test-rust: ## Unit, property and crash tests of the crates
	cargo test --workspace --locked --quiet $(CARGO_TEST_FLAGS)

test-python: $(STAMPS)/core $(STAMPS)/agent $(if $(shell command -v npm),$(STAMPS)/node) ## Unit and integration tests of the Python side
	@sh tools/preflight.sh postgresql docker
	@# Real processes on a busy machine: what failed is run once more, alone, and must pass then.
	$(BIN)/python -m pytest -q $(PYTEST_FLAGS) || { \
		echo "some tests failed; running these once more"; \
		$(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none $(PYTEST_FLAGS); }

test-bench: $(STAMPS)/core ## Tests of the load tools, and whether docs/performance.md is of the newest results
	$(BIN)/python -m pytest -q bench/load

crash: $(STAMPS)/core ## Kill the store and the hub a hundred times under load: nothing acknowledged is lost (10 minutes)
	STORE_KILLS=100 cargo test --locked --quiet -p edgehub-store --test kill
	$(BIN)/python -m pytest -q tests/crash --crash-rounds 100

$(STAMPS)/bench: $(STAMPS)/core requirements/bench.lock
	$(PIP) install --no-deps --require-hashes -r requirements/bench.lock
	@touch $@

# Peers that are optional: what cannot be installed is left out of the comparison.
$(STAMPS)/peers: $(STAMPS)/bench bench/load/aedes/package-lock.json
	@if command -v npm >/dev/null 2>&1; then \
		npm ci --silent --ignore-scripts --no-audit --no-fund --prefix bench/load/aedes || echo "aedes is not installed"; \
	fi
	@touch $@

bench: bench-router bench-store bench-hub ## All benchmarks, one after the other

bench-router: $(STAMPS)/bench ## Time and count the router beside its bars; results to bench/results (ROUTER_ARGS="--skip callgrind")
	@sh tools/preflight.sh valgrind
	$(BIN)/python bench/micro/router_report.py $(ROUTER_ARGS)

bench-store: ## The store beside RocksDB, SQLite and its bars; results to bench/results (STORE_ARGS="--dir /data --repeats 5")
	@sh tools/preflight.sh rocksdb sqlite
	$(PYTHON) bench/micro/store_report.py $(STORE_ARGS)

bench-hub: $(STAMPS)/peers load ## Compare with mosquitto and other brokers in one run; results to bench/results (ARGS="--only idle")
	@sh tools/preflight.sh mosquitto
	$(BIN)/python bench/load/compare.py $(ARGS)

bench-memory: $(STAMPS)/core load ## Memory and CPU time with each pair of the memory settings; results to bench/results (MEMORY_ARGS="--repeats 3")
	$(BIN)/python bench/load/memory_settings.py $(MEMORY_ARGS)

bench-connects: $(STAMPS)/venv ## CPU time of Python for each CONNECT and each end of a connection, and its memory for each idle client
	@PYTHONPATH=python:tests $(BIN)/python bench/connect_path.py

bench-agent: $(STAMPS)/agent ## How fast edgeAgent brings modules up, on an engine of its own (ARGS="--output FILE")
	@sh tools/preflight.sh docker
	PYTHONPATH=tests $(BIN)/python bench/agent.py $(ARGS)

memory: $(STAMPS)/core ## Resident memory of an idle hub with its parent hub connected
	@$(BIN)/python bench/memory.py

soak: $(STAMPS)/core load ## Ten minutes of load while the link upstream is lost every minute (SOAK_ARGS="--hours 1")
	$(BIN)/python bench/soak.py $(SOAK_ARGS)

performance: ## Write docs/performance.md from the newest results
	$(PYTHON) bench/performance.py

load:
	cargo build --release --locked --quiet -p edgehub-bench-load

lock: $(STAMPS)/venv ## Renew the lock files of the Python side
	UV=$(BIN)/uv sh tools/lock.sh

settings: $(STAMPS)/core $(STAMPS)/agent ## Write docs/configuration.md and docs/agent-settings.md from the tables of settings
	$(BIN)/python -m edgehub.config.document docs/configuration.md
	$(BIN)/python -m edgeagent.config.document docs/agent-settings.md

conformance: ## Write docs/conformance.md from the vectors and the tests that run them
	$(PYTHON) tools/conformance.py

fuzz: ## Fuzz one target for a minute: make fuzz TARGET=mqtt_decode (needs nightly and cargo-fuzz)
	@mkdir -p fuzz/corpus/$(TARGET) fuzz/seeds/$(TARGET)
	cargo +nightly fuzz run --fuzz-dir fuzz $(TARGET) fuzz/corpus/$(TARGET) fuzz/seeds/$(TARGET) -- -max_total_time=60

fuzz-seeds: ## Write fuzz/seeds from the vectors; the tests of rust/engine replay them
	$(PYTHON) tools/fuzz_seeds.py

clean: ## Remove everything that was built
	rm -rf $(VENV) $(STAMPS) target python/edgehub/_core*.so
