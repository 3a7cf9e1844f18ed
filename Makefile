# Two commands carry a newcomer: `make demo` and `make test`. Both make .venv by themselves.
PYTHON ?= python3
PORT   ?= 8080
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := $(VENV)/.installed-demo
DEV    := $(VENV)/.installed-dev
SERVED := $(VENV)/.servers
# Two for each processor, since tests wait for sockets and for other processes half of their time.
JOBS   ?= $(shell expr 2 \* $$(nproc 2>/dev/null || echo 1))

.PHONY: help demo test coverage test-slow test-plain test-deploy bare check bench format lock clean distclean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# A half-made environment has no stamp and is made again from nothing; a whole one is brought up to date. The demo needs
# a tenth of what the tests and tools need; the larger set includes the smaller one, and stamps both.
$(DEMO): pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv "$(PYTHON)" "$(VENV)" demo

$(DEV): pyproject.toml constraints.txt scripts/make-venv
	@scripts/make-venv "$(PYTHON)" "$(VENV)" dev

# Servers of other stacks for the tests. Without the stamp they are looked for again, and no make fails for their want.
$(SERVED): scripts/install-servers | $(DEV)
	@if scripts/install-servers; then touch $@; fi

demo: $(DEMO)  ## an election night on 127.0.0.1; PORT=8080 chooses where, ONCE=1 ends by itself
	@$(BIN)/python examples/election_night/demo.py --port="$(PORT)" $(if $(ONCE),--once)

test: $(DEV) $(SERVED)  ## every test, in parallel; ARGS=… goes to pytest
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

coverage: $(DEV) $(SERVED)  ## the same with branch coverage, which takes half as long again
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term $(ARGS)

test-slow: $(DEV) $(SERVED)  ## what make test shows in small, at length: long streams, large messages, the benchmarks
	@$(BIN)/python -m pytest -m slow $(ARGS)

test-plain: $(DEV) $(SERVED)  ## the same tests with every fast path off; those of the fast paths' own cost are left out
	@HMS_BRIDGE_FAST_PATHS=off $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-deploy: $(DEV)  ## the slow tests of deploy/: image, units, chart and wheel, by their own tools
	@scripts/install-deploy-tools "$(PYTHON)"
	@$(BIN)/python -m pytest deploy/tests $(ARGS)

bare:  ## demo and tests on a Debian with nothing installed, by debootstrap and as root; SUITE=trixie chooses which
	@scripts/bare-root $(or $(SUITE),trixie)

check: $(DEV)  ## formatter, linter, type checkers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/basedpyright

bench: $(DEV)  ## beside Envoy and others, then the codecs alone; ARGS=… goes to the first
	@$(BIN)/python -m benchmarks $(ARGS)

format: $(DEV)  ## rewrite the code in the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock:  ## write constraints.txt anew: the newest of everything
	@scripts/lock "$(PYTHON)"

clean:  ## remove everything that make made; .bridge (registered routes, keys, access log) stays
	rm -rf $(VENV) .deploy-tools .bench .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@if [ -e .bridge ]; then echo "kept: .bridge, with registered routes, keys and the access log (make distclean removes it)"; fi

distclean: clean  ## the same, and .bridge: what the gateway keeps in this folder
	@if [ -e .bridge ]; then \
	  echo "removing .bridge: registered routes, API keys, the key of the local issuer, the access log:"; \
	  ls -lA .bridge; rm -rf .bridge; fi
