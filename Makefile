# Thin: each target is one or two commands that you could type yourself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
SOURCES := pyproject.toml CMakeLists.txt firmware/CMakeLists.txt $(wildcard firmware/core/* firmware/gen/*.[ch] firmware/hal/* firmware/include/* firmware/ports/host/* firmware/ports/sim/*)

.PHONY: help demo test check tools pairing images site bench soak example clean

help: ## What one can make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: $(SOURCES)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing edgelearn into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e . && touch $@

$(VENV)/.dev: $(VENV)/.installed
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]' && touch $@

demo: $(VENV)/.installed ## Watch a network learn on a simulated board (under 2 minutes, needs no apt)
	@$(BIN)/edgelearn demo

test: $(VENV)/.dev tools ## Every test, with emulators where they can be had
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/codespell
	$(BIN)/python firmware/gen/generate.py --check
	$(BIN)/lint-imports --no-cache > $(VENV)/layers.txt || { cat $(VENV)/layers.txt; exit 1; }
	$(BIN)/pytest -n $(JOBS) --dist worksteal

check: $(VENV)/.dev ## Before every commit: format, lint, types, layers, generated files, fast tests (under 90 s)
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/codespell
	$(BIN)/python firmware/gen/generate.py --check
	$(BIN)/lint-imports --no-cache > $(VENV)/layers.txt || { cat $(VENV)/layers.txt; exit 1; }
	$(BIN)/pyright
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "not slow and not qemu"

tools: ## Emulators and cross compilers through apt, where that is possible
	@sh tests/install_tools.sh

pairing: $(VENV)/.installed ## Fetch Monocypher, which paired boards check signatures with (docs/pairing.md)
	$(BIN)/python -m edgelearn.pairing.fetch

images: $(VENV)/.installed tools ## Build the firmware image of every board
	$(BIN)/python -m edgelearn.images

site: $(VENV)/.dev ## The documentation as a site, in build/site (needs no network to be read)
	@$(BIN)/python -m sphinx -q -W --keep-going -c docs -d build/site-cache . build/site
	@echo "Open build/site/index.html"

bench: $(VENV)/.dev ## The figures of docs/benchmarks.md (about 10 minutes; EDGELEARN_DATA names the folder with MNIST)
	$(BIN)/edgelearn bench instructions --board mps2-an386 --net 64-32-10 -o docs/benchmarks/instructions-64-32-10.json
	$(BIN)/edgelearn bench instructions --board mps2-an386 --net 64-32-32-10 -o docs/benchmarks/instructions-64-32-32-10.json
	$(BIN)/edgelearn bench instructions --board mps2-an386 --net 784-128-10 -o docs/benchmarks/instructions-784-128-10.json
	$(BIN)/edgelearn bench memory
	$(BIN)/edgelearn bench link
	$(BIN)/edgelearn bench accuracy --case digits-16-int8 --seeds 5 --again -o docs/benchmarks/digits-16-int8.json
	$(BIN)/edgelearn bench accuracy --case digits-32-32-int8 --seeds 5 --again -o docs/benchmarks/digits-32-32-int8.json
	$(BIN)/edgelearn bench accuracy --case mnist-100-50-int8-1pass --seeds 5 --again -o docs/benchmarks/mnist-100-50-int8-1pass.json
	$(BIN)/edgelearn bench accuracy --case mnist-100-50-int8 --seeds 5 --again -o docs/benchmarks/mnist-100-50-int8.json
	$(BIN)/edgelearn bench figures

soak: $(VENV)/.dev tools ## The long proofs: every format on 1,000 inputs and 100 steps, the fuzzers (some hours)
	$(BIN)/python -m edgelearn.testing.matrix --prove -o docs/benchmarks/formats.json
	$(BIN)/python -m tests.fuzz.soak
	$(BIN)/python -m tests.link.soak
	$(BIN)/python -m tests.attack.soak
	$(BIN)/python -m tests.attack.promises
	$(BIN)/python -m tests.fuzz.coverage
	$(BIN)/python -m tests.fuzz.mutation
	$(BIN)/python -m tests.fuzz.figures

BOARD ?= microbit
example: $(VENV)/.installed ## Build the application that learns from its own sensor, for BOARD
	$(BIN)/python -m edgelearn.images --app firmware/examples/sensor $(BOARD)

clean: ## Remove what make made
	rm -rf $(VENV) build
