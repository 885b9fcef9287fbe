# dosetwin: two commands matter, `make demo` and `make test`. `make` alone lists the rest.
# Nothing is installed outside this folder (but Chromium for `make test`, where the system lets us).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint format types imports benchmark environment chromium clean distclean

UV := .tools/bin/uv
RUN := .venv/bin
ARGS ?=

help: ## this list
	@echo "dosetwin - digital twins for smart drug delivery, on a stream. Not a medical device."
	@echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'
	@echo
	@echo '  Pass options on with ARGS, for example: make demo ARGS="--patients 50 --speed 60"'

demo: environment ## everything on this machine: broker, twins, fleet, dashboard in the browser
	@exec $(RUN)/dosetwin demo $(ARGS)

test: ## lint, types, import arrows, unit, integration and browser tests (about 17 minutes on 2 cores)
	@infra/run_checks.sh $(ARGS)

test-slow: environment ## the tests that are too long for every change
	$(RUN)/pytest -m slow $(ARGS)

benchmark: environment ## updates a second, memory a twin, viewers a dashboard; wants a quiet machine
	@infra/run_benchmarks.sh $(ARGS)

lint: environment ## ruff: rules and format, as `make test` checks them
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

format: environment ## let ruff correct what it can
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

types: environment ## mypy, strict, over every room and the tests
	$(RUN)/mypy

imports: environment ## import-linter: who may import whom
	$(RUN)/lint-imports

environment: ## uv into .tools, the locked packages into .venv
	@infra/environment.sh

chromium: ## a headless Chromium for the browser tests
	@infra/install_chromium.sh

clean: ## caches, build and test output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist out ci-output
	find platform twins stream_jobs ml dashboards tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also the environment and everything a demo kept (.dosetwin: keys, topics, inboxes)
	rm -rf .venv .tools .dosetwin
