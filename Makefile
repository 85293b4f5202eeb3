# Two commands do everything on a fresh Debian 12 machine: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
# Debian's own interpreter: the unprivileged service user must be able to execute it.
PYTHON ?= $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)
VENV := .venv
BIN := $(VENV)/bin
PAGE := ingest/page
PAGE_SOURCES := $(PAGE)/index.html $(PAGE)/vite.config.ts $(shell find $(PAGE)/src examples -type f)

.PHONY: help setup system browser proxies demo up docs screenshots check unit integration system-tests test test-containers test-uml \
	chaos simulate soak soak-simulator soak-records soak-http soak-dependencies soak-courses soak-languages soak-upgrade soak-backup soak-client soak-bench soak-chaos bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed $(VENV)/.kafka $(PAGE)/dist/index.html ## make .venv, fetch Kafka, build the page

system: ## install Debian packages and add system users; needs root
	@infra/setup/system-packages.sh

browser: ## install what tests of the page need; needs root
	@infra/setup/system-packages.sh chromium fonts-dejavu-core

proxies: ## install nginx and Caddy for tests behind a proxy; needs root
	@infra/setup/system-packages.sh nginx caddy

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package.json $(PAGE)/package-lock.json | system
	@echo "setup: npm packages into $(PAGE)/node_modules"
	@cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(PAGE)/dist/index.html: $(PAGE)/node_modules/.package-lock.json $(PAGE_SOURCES)
	@echo "setup: the page into $(PAGE)/dist"
	@cd $(PAGE) && npm run --silent build -- --logLevel=warn
	@touch $@

$(VENV)/.installed: requirements-dev.txt pyproject.toml ingest/client/pyproject.toml | system
	@echo "setup: Python packages into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable ingest/client --editable .
	@touch $@

$(VENV)/.kafka: infra/kafka/pom.xml $(VENV)/.installed
	@$(BIN)/python -m infra.kafka.install
	@touch $@

demo: setup ## start a system of its own, run all examples, print a table, stop; needs root
	@$(BIN)/python -m infra.demo

up: setup ## run the whole system in the foreground until Ctrl-C; needs root
	@exec $(BIN)/envicutor up

docs: setup ## generate docs/settings.md, docs/cli.md, docs/schemas and the client's models
	@$(BIN)/python -m infra.documents

screenshots: setup browser ## take docs/screenshots of a system of its own; needs root
	@$(BIN)/python -m tests.system.page.screenshots

check: setup ## lint, check format, types and layers
	@cd $(PAGE) && npm run --silent check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --config-file ingest/client/pyproject.toml
	$(BIN)/lint-imports

CONTAINER_TESTS := $(if $(FULL),tests/integration --ignore=tests/integration/http,$(addprefix tests/integration/test_,transactions.py store_processor.py view.py replies.py))

test-containers: setup ## run some Kafka tests on the project's image of the broker; FULL=1: all of them
	@infra/setup/with-docker.sh infra/kafka/test-image.sh $(CONTAINER_TESTS) || { code=$$?; [ $$code = 69 ] && echo "test-containers: NOT RUN" || exit $$code; }

SIMULATOR_SEED ?= $(shell shuf --input-range=1-4294967295 --head-count=1)
unit: setup ## run tests without services, in less than a minute; SIMULATOR_SEED=
	SIMULATOR_SEED=$(SIMULATOR_SEED) $(BIN)/pytest -q -n 2 tests/unit

integration: setup ## run tests with a real broker
	$(BIN)/pytest -q -n 8 --dist loadgroup --durations=15 tests/integration

system-tests: setup browser proxies ## run tests of the whole system: real builds, sandboxes, kills; needs root
	$(BIN)/pytest -q -n 4 --dist loadgroup --durations=25 tests/system

UML_TESTS := tests/system/hostile $(if $(FULL),tests/system/sandbox,-k "heap or shm or sockets or connections or many or child-of or zombie or access-control or record-locks or datagrams-held or errors-of or keys-of or multicast or listings-of")

USER_NAMESPACE_TESTS := $(if $(FULL),tests/system/hostile tests/system/sandbox,$(addprefix tests/system/sandbox/test_,boxes.py isolation.py) -k "devices or side_by_side")

test-uml: setup ## run attacks on Linux 6.1 with cgroup version 2, in User-Mode Linux; FULL=1: all sandbox tests; needs root
	@tests/system/uml/run.sh -q $(UML_TESTS) --user-namespace -q $(USER_NAMESPACE_TESTS)

test: setup ## run check, unit, integration and system-tests; needs root
	@for suite in check unit integration system-tests; do tests/suite.sh $$suite || exit; done

DURATION_S ?= 60
SEED ?= 1
chaos: setup ## kill, pause and end processes of a loaded cluster at random; DURATION_S=, SEED=; needs root
	@$(BIN)/python -m tests.chaos --duration $(DURATION_S) --seed $(SEED) $(OPTIONS)

STEPS ?= 100000
simulate: setup ## run the protocol in virtual time with faults at every step; STEPS=, SEED=
	@$(BIN)/python -m tests.simulator --steps $(STEPS) --seed $(SEED)

soak: soak-simulator soak-records soak-http soak-dependencies soak-courses soak-languages soak-upgrade soak-backup soak-client soak-bench soak-chaos ## run the long tests, of which `make test` runs a tenth or less; needs root

SEEDS ?= 10
soak-simulator: setup ## simulate a million steps for each of SEEDS= random seeds
	@shuf --input-range=1-4294967295 --head-count=$(SEEDS) | \
	  xargs --max-procs=$$(nproc) --replace=SEED $(BIN)/python -m tests.simulator --steps 1000000 --seed SEED

soak-records: setup ## produce hostile records to submissions.requests
	HOSTILE_RECORDS=100000 $(BIN)/pytest -q --timeout 7200 tests/integration/test_hostile_records.py

soak-http: setup ## test HTTP against its OpenAPI document, and with costly requests, also those that a search finds
	HTTP_CASES=5000 $(BIN)/pytest -q tests/integration/http/test_document.py
	COSTLY_RATIO=5 $(BIN)/pytest -q tests/integration/http/test_costly_requests.py tests/unit/processors/test_request_handler.py
	COSTLY_RATIO=5 $(BIN)/pytest -q -m soak --timeout 3600 tests/integration/http/test_costly_requests.py
	$(BIN)/python -m tests.soak costly

soak-dependencies: setup ## build a hundred environments in a Cache with room for some; needs root
	@$(BIN)/python -m tests.soak dependencies

soak-courses: setup ## build and run tests/system/nix/environments.toml; needs root
	$(BIN)/pytest -q -m soak tests/system/nix

soak-languages: setup ## build and run every preset of topics/request/languages.toml; needs root
	$(BIN)/pytest -q -m soak tests/system/cluster/test_languages.py

soak-upgrade: setup ## upgrade a system under load, role by role, from the version before direct dispatch; needs root
	@$(BIN)/python -m tests.soak upgrade

soak-backup: setup ## copy systems with one and three brokers under load, and start others from the copies; needs root
	$(BIN)/pytest -q -m soak tests/system/cluster/test_backup.py

soak-client: setup ## run a thousand programs while ingest is killed, and check the types of the client's wheel; needs root
	CLIENT_RUNS=1000 $(BIN)/pytest -q tests/system/cluster/test_client_kills.py
	$(BIN)/pytest -q -m soak tests/unit/client

soak-bench: setup ## test the benchmarks, and how soon roles log; needs root
	$(BIN)/pytest -q -m soak tests/system/host

soak-chaos: ## run chaos for ten minutes twice, with kills of ingest within dispatches; needs root
	@$(MAKE) chaos DURATION_S=600
	@$(MAKE) chaos DURATION_S=600 SEED=2 OPTIONS=--between

PART ?= all
bench: setup ## measure speed within fifteen minutes, into bench/; PART=: one part, as bench-PART; needs root
	@$(BIN)/python -m tests.benchmarks $(PART) $(OPTIONS)

SUBMISSIONS ?= 100000
bench-store: OPTIONS = --submissions $(SUBMISSIONS)
bench-scale: OPTIONS = $(QUEUES)
bench-%: ## measure ratios, answers, throughput, accepting, compiling, flames, http, kafka, dependencies, memory, sandbox, scale or store
	@$(MAKE) --no-print-directory bench PART=$* OPTIONS="$(OPTIONS)"

lock: ## update the pinned, hashed requirements
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-emit-package envicutor-client --python-version 3.11 pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-emit-package envicutor-client --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt

clean: ## delete what setup made
	rm -rf $(VENV) .build $(PAGE)/node_modules $(PAGE)/dist
