.DEFAULT_GOAL := help
.PHONY: help setup up down status logs demo test lint bench clean lock

PYTHON := .venv/bin/python
STACK := $(PYTHON) -m deploy.native
IF_SET_UP := test -x $(PYTHON) || { echo 'Nothing is set up here: make setup'; exit 0; };
LOCK := .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

setup: .venv/.installed .cift/jars/kafka_2.13.jar ## make .venv and bring the servers' programs

up: setup ## start the whole stack and wait until it answers
	@$(STACK) up

down: ## stop the whole stack; the data stays
	@$(IF_SET_UP) $(STACK) down

status: ## show each process: state, pid, uptime, port, URL
	@$(IF_SET_UP) $(STACK) status

logs: ## show the end of every log; on a terminal, follow them
	@$(IF_SET_UP) $(STACK) logs

demo: up ## ingest real market data, run backtests, print the results
	@$(PYTHON) -m deploy.native.demo

test: setup ## run every test, in two processes with servers of their own; what failed runs once more, alone
	@.venv/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder || .venv/bin/pytest --lf --lfnf none

lint: setup ## check style, types and the contracts between packages
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup ## measure, and write bench/RESULTS.md
	@$(PYTHON) -m bench

clean: ## stop the stack; delete its data, .venv and all caches
	@test ! -x $(PYTHON) || $(STACK) clean
	@rm -rf .cift .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
	@find . -name __pycache__ -prune -exec rm -rf {} +

lock: setup ## resolve requirements*.in again into the hashed requirements*.txt
	$(LOCK) --upgrade requirements.in -o requirements.txt
	$(LOCK) --upgrade requirements-dev.in -o requirements-dev.txt

.venv/.installed: requirements.in requirements.txt requirements-dev.txt pyproject.toml
	@deploy/native/prerequisites.sh
	@deploy/native/venv.sh
	@touch $@

.cift/jars/kafka_2.13.jar: pom.xml
	@deploy/native/prerequisites.sh
	@mvn -q -B -C dependency:copy-dependencies -DoutputDirectory='$(CURDIR)/.cift/jars' -Dmdep.stripVersion=true
	@touch $@
