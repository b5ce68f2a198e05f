# What one types here, and what CI runs. `make help` says the words.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
COMPOSE := docker compose -f deploy/docker-compose.yml
CONFIG ?= mcp-servers.example.json
PORT ?= 7000

.PHONY: help setup run test check proto bench up down logs conformance matrix eval eval-answers eval-categories replay

help: ## Show these words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ .venv/.run

setup: .venv/.run ## Make .venv with the mcp-hub command

run: .venv/.run ## Start the hub on this machine (CONFIG=…, PORT=7000)
	@$(BIN)/mcp-hub serve --port $(PORT) --config $(CONFIG)

test: .venv/.dev ## Run every test; what needs Docker says so where no engine answers
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q redis-server; } || true
	$(BIN)/pytest $(ARGS)

check: .venv/.dev ## Format, lint, types, import layers, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest -q tests/guards

proto: .venv/.dev ## Generate the gRPC stubs from proto/
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=proto --grpc_python_out=proto \
	  --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto $$(cd proto && find hub -name '*.proto' | sort)

bench: .venv/.dev ## Measure calls through the hub beside nginx and others, in one run
	@for tool in wrk nginx; do command -v $$tool >/dev/null && continue; \
	  [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q wrk nginx-light && continue; \
	  echo "make bench needs $$tool (Debian: wrk, nginx-light)"; exit 1; done
	$(BIN)/python -m bench.run $(ARGS)

conformance: .venv/.dev ## Run the official MCP suite against the hub, with every kind of filtering
	$(BIN)/python -m tests.conformance.run $(ARGS)

matrix: .venv/.dev ## Print every feature in every combination of client and server, and what proves it
	@$(BIN)/python -m tests.journeys.matrix

eval: .venv/.dev ## Measure how well tools are found (DATA=folder of catalog.jsonl and queries.jsonl)
	$(BIN)/python -m bench.eval_ranking $(DATA)

eval-answers: .venv/.dev ## Measure what search answers cost and still hold (DATA as for eval)
	$(BIN)/python -m bench.eval_answers $(DATA)

replay: .venv/.dev ## Compute what a task costs when tools are listed, searched, or shown by mode auto (DATA=one set)
	$(BIN)/python -m bench.replay $(DATA)

eval-categories: .venv/.dev ## Measure how well entries are put into categories
	$(BIN)/python -m bench.eval_categories

up: ## Start the container stack and wait until it is healthy
	$(COMPOSE) up --build --wait --detach $(ARGS)
	@echo "MCP endpoint: http://$${HUB_PUBLISH:-127.0.0.1:7000}/mcp"

down: ## Stop the container stack
	$(COMPOSE) down --remove-orphans $(ARGS)

logs: ## Follow the container stack's logs
	$(COMPOSE) logs --follow --tail 100 $(ARGS)
