# Two commands do everything on a fresh Debian 12 machine: `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:
# Debian's own interpreter: the unprivileged service user must be able to execute it.
PYTHON ?= $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)
VENV := .venv
BIN := $(VENV)/bin
PAGE := ingest/page
PAGE_SOURCES := $(PAGE)/index.html $(PAGE)/vite.config.ts $(shell find $(PAGE)/src examples -type f)

.PHONY: setup system browser test test-containers test-uml check unit integration system-tests bench-sandbox bench-dependencies lock clean

setup: $(VENV)/.installed $(VENV)/.kafka $(PAGE)/dist/index.html

system: ## what Debian must provide: packages, system users
	@infra/setup/system-packages.sh

browser: ## what the page is tested with
	@infra/setup/system-packages.sh chromium fonts-dejavu-core

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package.json $(PAGE)/package-lock.json | system
	@echo "setup: npm packages into $(PAGE)/node_modules"
	@cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(PAGE)/dist/index.html: $(PAGE)/node_modules/.package-lock.json $(PAGE_SOURCES)
	@echo "setup: the page into $(PAGE)/dist"
	@cd $(PAGE) && npm run --silent build -- --logLevel=warn
	@touch $@

$(VENV)/.installed: requirements-dev.txt pyproject.toml | system
	@echo "setup: Python packages into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.kafka: infra/kafka/pom.xml $(VENV)/.installed
	@$(BIN)/python -m infra.kafka.install
	@touch $@

.PHONY: demo up docs screenshots

demo: setup ## every example through a system of its own, which is stopped afterwards; needs root
	@$(BIN)/python -m infra.demo

up: setup ## the whole system in the foreground; Ctrl-C stops it; needs root
	@exec $(BIN)/envicutor up

docs: setup ## generate docs/settings.md, docs/cli.md and docs/schemas from the code
	@$(BIN)/python -m infra.documents

screenshots: setup browser ## docs/screenshots, of a system of their own; needs root
	@$(BIN)/python -m tests.system.page.screenshots

check: setup ## lint, format, types, layers
	@cd $(PAGE) && npm run --silent check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

CONTAINER_TESTS := $(if $(FULL),tests/integration --ignore=tests/integration/http,$(addprefix tests/integration/test_,transactions.py store_processor.py view.py replies.py))

test-containers: setup ## the broker's image, and how stores are kept on it; FULL=1 for all integration tests but HTTP's; says so where no Docker can be started
	@infra/setup/with-docker.sh infra/kafka/test-image.sh $(CONTAINER_TESTS) || { code=$$?; [ $$code = 69 ] && echo "test-containers: NOT RUN" || exit $$code; }

unit: setup ## pure tests, seconds
	$(BIN)/pytest -q -n 2 tests/unit

integration: setup ## against a real broker
	$(BIN)/pytest -q -n 8 --dist loadgroup --durations=15 tests/integration

system-tests: setup browser ## the whole system, real builds, real sandboxes, real kills; needs root
	$(BIN)/pytest -q -n 4 --dist loadgroup --durations=25 tests/system

UML_TESTS := tests/system/hostile $(if $(FULL),tests/system/sandbox,-k "heap or shm or sockets or connections or many or child-of or zombie or access-control or record-locks or datagrams-held or errors-of")

test-uml: setup ## attacks on a kernel with cgroup version 2, in User-Mode Linux; FULL=1 for all tests of the sandbox; needs root
	@tests/system/uml/run.sh -q $(UML_TESTS)

test: check unit integration system-tests ## everything but containers

DURATION_S ?= 60
SEED ?= 1
.PHONY: chaos
chaos: setup ## a running cluster under load, its processes killed, paused and ended at random; needs root
	@$(BIN)/python -m tests.chaos --duration $(DURATION_S) --seed $(SEED)

bench-sandbox: setup ## how quickly limits end a program, what the sandbox costs, what neighbours feel; needs root
	@$(BIN)/python -m infra.bench sandbox

.PHONY: bench
bench: setup ## speed, within ten minutes: answers, throughput, accepting, compiling, flame graphs, into bench/; needs root
	@$(BIN)/python -m infra.bench all

bench-answers: setup ## from POST to answer, beside the plain program and the bare sandbox, and hop by hop; needs root
	@$(BIN)/python -m infra.bench answers

bench-http: setup ## from print to who follows it, and 10,000 event streams at once; needs root
	@$(BIN)/python -m infra.bench http

STEPS ?= 100000
.PHONY: simulate soak soak-simulator soak-records soak-http soak-dependencies soak-courses soak-bench soak-chaos
simulate: setup ## the protocol in virtual time with faults at every step; STEPS=, SEED=
	@$(BIN)/python -m tests.simulator --steps $(STEPS) --seed $(SEED)

soak: soak-simulator soak-records soak-http soak-dependencies soak-courses soak-bench soak-chaos ## the long tests: what `make test` does a tenth of, or less; needs root

soak-simulator:
	@$(MAKE) simulate STEPS=1000000

soak-records: setup ## hostile records on the topic of requests
	HOSTILE_RECORDS=100000 $(BIN)/pytest -q --timeout 7200 tests/integration/test_hostile_records.py

soak-http: setup ## requests against the OpenAPI document; what those cost that are made to cost much
	HTTP_CASES=5000 $(BIN)/pytest -q tests/integration/http/test_document.py
	COSTLY_RATIO=5 $(BIN)/pytest -q tests/integration/http/test_costly_requests.py tests/unit/processors/test_request_handler.py

soak-dependencies: setup ## a hundred environments in a Cache with room for some; a thousand submissions, one build
	@$(BIN)/python -m tests.soak dependencies

soak-courses: setup ## the environments of tests/system/nix/environments.toml, built and run
	$(BIN)/pytest -q -m soak tests/system/nix

soak-bench: setup ## that what measures works
	$(BIN)/pytest -q -m soak tests/system/host

soak-chaos:
	@$(MAKE) chaos DURATION_S=600

.PHONY: bench-answers bench-throughput bench-http bench-kafka bench-dependencies bench-scale
bench-throughput: setup ## answers per second beside the plain program, and the CPU time of each role; needs root
	@$(BIN)/python -m infra.bench throughput

bench-kafka: setup ## requests and events per second, audits, how soon each role is back; needs root
	@$(BIN)/python -m infra.bench kafka

SUBMISSIONS ?= 100000
.PHONY: bench-store
bench-store: setup ## what 1,000, 10,000 … stored submissions cost ingest: memory, look-ups, restarts; SUBMISSIONS=
	@$(BIN)/python -m infra.bench store --submissions $(SUBMISSIONS)

bench-scale: setup ## what more workers add, how long short programs wait behind long ones; QUEUES=--every
	@$(BIN)/python -m infra.bench scale $(QUEUES)

bench-dependencies: setup ## how long environments take to build, to be found again, to come from another host; needs root
	@$(BIN)/python -m infra.bench dependencies

lock: ## renew the pinned, hashed requirements
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt

clean:
	rm -rf $(VENV) .build $(PAGE)/node_modules $(PAGE)/dist
