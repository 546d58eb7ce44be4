# What one does with this project. `make help` lists it.
# SOURCE: what `make run` backs up; ARGS: what else the tests or benchmarks are given.
SOURCE ?= /etc
ARGS ?=
TOOLS = test/tools

.DEFAULT_GOAL := help
.PHONY: help venv run test test-debian soak fuzz lint format bench clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

venv: ## make .venv with everything in it: .venv/bin/guerillabackup works
	@sh $(TOOLS)/packages.sh run
	@sh $(TOOLS)/venv.sh

run: venv ## back up SOURCE (default /etc), fetch it to a second host, restore and compare
	@.venv/bin/python3 $(TOOLS)/demo.py "$(SOURCE)"

test: venv ## run the tests; ARGS goes to pytest
	@sh $(TOOLS)/packages.sh run test
	@sh $(TOOLS)/test.sh venv $(ARGS)

test-debian: ## run the tests with Debian's Python and libraries alone
	@sh $(TOOLS)/packages.sh run test debian
	@sh $(TOOLS)/test.sh debian $(ARGS)

soak: venv ## kill the generator 300 and a transfer 1000 times at random (SOAK_KILLS); SOAK_SEED repeats one
	@sh $(TOOLS)/packages.sh run test
	@SOAK_KILLS=$${SOAK_KILLS:-300} sh $(TOOLS)/test.sh venv -n 0 -s test/scenario/test_generator_killed.py $(ARGS)
	@SOAK_KILLS=$${SOAK_KILLS:-1000} sh $(TOOLS)/test.sh venv -n 0 -s test/scenario/test_transfer_kills.py $(ARGS)

fuzz: venv ## feed mutated messages to the transfer protocol for 60 s (FUZZ_SECONDS); ARGS goes to libFuzzer
	@.venv/bin/python3 -m pip --disable-pip-version-check --no-input --quiet install --editable '.[fuzz]'
	@mkdir -p fuzz-data/inputs
	@.venv/bin/python3 test/fuzz/fuzz_transfer.py fuzz-data/inputs test/fuzz/corpus \
		-artifact_prefix=fuzz-data/ -max_total_time=$${FUZZ_SECONDS:-60} $(ARGS)

lint: venv ## check style, types and scripts
	@sh $(TOOLS)/packages.sh lint
	@sh $(TOOLS)/lint.sh

format: venv ## put the sources into their form
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: venv ## measure against a shell pipeline, restic and borg; ARGS=--quick for a short run
	@sh $(TOOLS)/packages.sh run bench
	@.venv/bin/python3 test/bench/all.py $(ARGS)

clean: ## remove all that was made here, .venv too
	@rm -rf .venv build dist bench-data fuzz-data run .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
