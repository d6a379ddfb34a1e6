# `make serve` and `make test` work on a fresh clone with Python 3.11 or newer and a package index.
# `make serve ARGS="--port 9000"` passes options on.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests in parallel; `make test WORKERS=0` runs them one after another, `make test TESTS=tests/cli/test_cli.py` only some.
WORKERS ?= 2
TESTS ?=
ARGS ?=

.DEFAULT_GOAL := help
PROGRAMS ?=
.PHONY: help install clients programs serve browser test test-console bench soak everything flat schemas hostile engines-real rollouts install-check ray openapi check check-alone peers gpu-pack format docs docs-generated clean

help:
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $@

install: $(INSTALLED)

##@ Serve

serve: install ## serve the default model on http://127.0.0.1:8000 (ARGS=... passes options on)
	@exec $(BIN)/antiphon serve $(ARGS)

##@ Test

# Other generations of the official SDK, and the TypeScript one where there is npm, for the end-to-end tests.
CLIENTS := .clients
$(CLIENTS)/python-early/.installed: Makefile
	rm -rf $(@D)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --target $(@D) 'anthropic==0.93.0'
	touch $@

$(CLIENTS)/node/.installed: Makefile
	mkdir -p $(@D)
	if command -v npm > /dev/null; then npm install --silent --no-fund --no-audit --prefix $(@D) @anthropic-ai/sdk@1.14.0; fi
	touch $@

clients: install
	$(MAKE) --no-print-directory $(CLIENTS)/python-early/.installed $(CLIENTS)/node/.installed

check: install ## only the checks: ruff, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Debian's Chromium for the tests of the console, where there is none and root may install it.
browser:
	@sh tests/console/browser.sh

# The three wait for different things, so they go on together.
test: install ## check the code and run every test (TESTS=tests/cli for some of them)
	$(MAKE) --no-print-directory -j3 --output-sync=target check clients browser
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TESTS)

test-console: install browser ## the page at / in a real Chromium (CONSOLE_SHOTS=folder keeps pictures)
	$(BIN)/pytest -n 0 tests/console

# Nothing but Python is needed to run it, so it can be given to whoever runs another server.
check-alone: install ## the suite of `antiphon check` as one file, build/antiphon-check.pyz
	$(BIN)/python check/build.py build/antiphon-check.pyz

##@ Measure

# Peers side by side in one run of about ten minutes; the machine should have nothing else to do. ARGS="--only litellm"
# measures one part, ARGS=--vllm a real vLLM too, in the environment that `make engines-real` makes.
bench: install ## the server beside its peers, into docs/benchmarks.md
	$(BIN)/python -m bench.run --write docs/benchmarks.md $(ARGS)

# Five minutes, with nothing else to do. ARGS="--only keys" measures one part.
team: install ## models on demand, keys and usage under load and kills, into docs/team.md
	$(BIN)/python -m bench.team --write docs/team.md $(ARGS)

# Long: clients of every kind, some of them rude, and an engine that is killed now and then.
soak: install ## half an hour of mixed load and faults (ARGS="--minutes 5" for less)
	$(BIN)/python -m bench.soak $(ARGS)

everything: install ## all that a server can do at once, while its workers are killed
	$(BIN)/python -m bench.everything $(ARGS)

flat: install ## ten thousand requests and a thousand disconnects; then whether anything has grown
	$(BIN)/python -m bench.flat $(ARGS)

# Each in an environment of its own: gigabytes of packages, and an hour on a small machine. ARGS="vllm" for one of them.
peers: install ## `antiphon check` and timings over peers, into docs/peers.md, docs/comparison.md and the README
	$(BIN)/python -m bench.peers.run $(ARGS)

##@ Test against the real thing: slow, and installed where it is needed

# The real programs of tests/clients, each in an environment of its own; slow to install, so not a part of `make test`.
programs: install ## real programs and SDKs, unmodified, against a server (PROGRAMS="claude_code" for one of them)
	$(BIN)/python -m tests.clients.run $(PROGRAMS)

schemas: install
	$(BIN)/python -m bench.schemas $(DATA) --write docs/schemas.md $(ARGS)

hostile: install
	$(BIN)/python -m bench.hostile $(ARGS)

# Claude Code, opencode, and TRL with verl, each in an environment of its own; the last is gigabytes of packages.
rollouts: install ## coding assistants as recorded rollouts, exported and read by TRL and verl
	$(BIN)/python -m tests.clients.rollouts $(ARGS)

# Each server in an environment of its own under .engines, gigabytes of packages and slow to make; used again afterwards.
engines-real: install ## the engines' tests over real servers (ARGS="vllm" for one of them)
	$(BIN)/python -m tests.engines.real.run $(ARGS)

install-check: install ## a wheel, uvx, pipx and the Dockerfile's steps, each served; linters of deploy/ (ARGS="image")
	$(BIN)/python -m tests.install.run $(ARGS)

# What LMDeploy needs on a machine with a GPU and no network, some 50 MB. There: `sh bench/gpu/run.sh`.
gpu-pack: install ## pack .gpu/, to run LMDeploy's real engine where there is a GPU
	$(BIN)/python -m bench.gpu.prepare $(ARGS)

# Ray is larger than everything else together, so it has an environment of its own.
RAY := .ray
$(RAY)/.installed: pyproject.toml constraints.txt
	test -x $(RAY)/bin/python || $(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[ray]' \
		anthropic hypothesis pytest pytest-asyncio
	touch $@

ray: $(RAY)/.installed ## the Ray Serve application on a cluster of this machine
	$(RAY)/bin/pytest tests/ray $(ARGS)

# Long, and different every time. `make openapi EXAMPLES=1000` for still more.
EXAMPLES ?= 200
openapi: install ## draw very many requests from /openapi.json and check the answers against it
	OPENAPI_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -n 0 tests/openapi

##@ Write

format: install ## put the code into its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The variable turns a notice off that is about what comes after MkDocs.
docs: docs-generated ## the pages of docs/ as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-generated: install ## write the pages of docs/ that are made from the program
	$(BIN)/python -m antiphon.cli.reference docs
	$(BIN)/python -m tests.check.pages docs
	$(BIN)/python -m bench.peers.pages

##@ Clean up

clean: ## remove everything that was made, the environment too
	rm -rf $(VENV) .clients .engines .gpu .trainers .install $(RAY) build check/build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
