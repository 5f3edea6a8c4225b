# Two commands matter: `make serve` runs a server, `make test` runs the tests. Both set up what they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# How many tests run at a time.
JOBS ?= 2
CFG ?=
FUZZ_PACKETS ?= 1000000
FUZZ_SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help serve test fuzz check format bench test-kazoo compiled test-compiled wheel clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Says in one sentence what a machine lacks; a trace or a half-made .venv would not.
define CHECK
import sys
wanted, have = (3, 11), sys.version_info[:3]
if have < wanted:
    sys.exit("Corral needs Python 3.11 or later, and $(PYTHON) is %d.%d.%d: name another, such as "
             "make PYTHON=python3.12" % have)
try:
    from ensurepip import version
    from venv import EnvBuilder
except ImportError as missing:
    sys.exit("$(PYTHON) cannot make virtual environments, it has no module %s: install it "
             "(on Debian and Ubuntu: apt install python3-venv)" % missing.name)
endef
export CHECK

# Stamps: made anew only when the project's metadata changes, so a second call costs nothing.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or later, or name it, such as make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK"
	@echo "Setting up $(VENV), once; this takes a moment and the network."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.made
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

serve: $(VENV)/.installed ## Run a server on 127.0.0.1:2181 with its data in ./data; CFG=zoo.cfg for another.
	@if [ -n "$(CFG)" ]; then exec $(BIN)/corral serve "$(CFG)"; else exec $(BIN)/corral serve --data-dir ./data; fi

test: $(VENV)/.installed-dev ## Run the tests, JOBS at a time; PYTEST_ARGS='-k multi' for some of them.
	$(BIN)/pytest -n $(JOBS) $(PYTEST_ARGS)

fuzz: $(VENV)/.installed-dev ## Send FUZZ_PACKETS spoilt packets, drawn with FUZZ_SEED, to the core and to a server.
	FUZZ_PACKETS=$(FUZZ_PACKETS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/pytest -s tests/unit/test_fuzz_core.py tests/shell/test_fuzz.py

check: $(VENV)/.installed-dev ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports
	$(BIN)/python tools/generate_blocking.py --check

format: $(VENV)/.installed-dev ## Bring the code into its form.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure beside Apache ZooKeeper.
	$(BIN)/python bench/run.py

test-kazoo: wheel ## Run kazoo's own tests against the server, installed from its wheel; takes minutes.
	PYTHON="$(abspath $(BIN))/python" bash tests/interop/kazoo_suite.sh dist/corral-*.whl $(PYTEST_ARGS)

compiled: $(VENV)/.installed-dev ## Compile the hot modules with mypyc into build/compiled.
	$(BIN)/python tools/compile.py

test-compiled: compiled ## Run the tests against the compiled modules.
	PYTHONPATH="$(CURDIR)/build/compiled" $(BIN)/pytest -n $(JOBS) $(PYTEST_ARGS)

wheel: $(VENV)/.made ## Build a wheel into dist.
	@rm -f dist/corral-*.whl
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## Remove what was made, but no data.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
