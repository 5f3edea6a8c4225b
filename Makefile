# Two commands matter: `make serve` runs a server, `make test` runs the tests. Both set up what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
CFG ?=
FUZZ_PACKETS ?= 1000000
FUZZ_SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help serve test fuzz check format bench test-kazoo compiled test-compiled wheel clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Stamps: made anew only when the project's metadata changes, so a second call costs nothing.
$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

serve: $(VENV)/.installed ## Run a server on 127.0.0.1:2181 with its data in ./data; CFG=zoo.cfg for another.
	@if [ -n "$(CFG)" ]; then exec $(BIN)/corral serve "$(CFG)"; else exec $(BIN)/corral serve --data-dir ./data; fi

test: $(VENV)/.installed-dev ## Run the tests; PYTEST_ARGS='-k multi' for some of them.
	$(BIN)/pytest $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev ## Send FUZZ_PACKETS spoilt packets, drawn with FUZZ_SEED, to the core and to a server.
	FUZZ_PACKETS=$(FUZZ_PACKETS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/pytest -s tests/unit/test_fuzz_core.py tests/shell/test_fuzz.py

check: $(VENV)/.installed-dev ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Bring the code into its form.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure beside Apache ZooKeeper.
	$(BIN)/python bench/run.py

test-kazoo: $(VENV)/.installed-dev ## Run kazoo's own tests against the server.
	PATH="$(abspath $(BIN)):$$PATH" bash tests/interop/kazoo_suite.sh

compiled: $(VENV)/.installed-dev ## Compile the hot modules with mypyc into build/compiled.
	$(BIN)/python tools/compile.py

test-compiled: compiled ## Run the tests against the compiled modules.
	PYTHONPATH="$(CURDIR)/build/compiled" $(BIN)/pytest $(PYTEST_ARGS)

wheel: $(VENV)/.made ## Build a wheel into dist.
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## Remove what was made, but no data.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
