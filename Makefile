# Everything a fresh machine needs beside python3 and a package index comes from here.
# PYTHON=python3.12 chooses another interpreter. On Linux the index's torch, which `make test`
# installs, may bring gigabytes of CUDA along; an index of CPU builds given to pip as an
# extra one (PIP_EXTRA_INDEX_URL) avoids that.

PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
PYTEST_OPTIONS := --numprocesses auto --maxprocesses 8 --dist worksteal

# Nothing but the wheels: no question to another registry about newer versions of pyright.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help quickstart docs test test-lowest clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

quickstart: $(VENV)/.default  ## Set up .venv and run the main job on the embedded digits
	$(VENV)/bin/symskip quickstart

docs: $(VENV)/.docs  ## Build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

test: $(VENV)/.dev  ## Set up .venv with the tools too; check style and types, run the tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/pyright
	$(VENV)/bin/pytest $(PYTEST_OPTIONS)

test-lowest: $(LOWEST)/.dev  ## Run the tests on the oldest versions that pyproject.toml allows
	$(LOWEST)/bin/pytest $(PYTEST_OPTIONS)

clean:  ## Remove environments, caches and build outputs; runs/ stays
	rm -rf $(VENV) $(LOWEST) .cache .hypothesis .pytest_cache .ruff_cache build dist

# The stamps are younger than the files that decide what is installed.
$(VENV)/.default: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing symskip_jax and what it needs (JAX, Flax, OpenCV, scikit-learn and more) into $(VENV):"
	@echo "some minutes, most of them downloads, in which pip says nothing"
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing symskip_jax and what builds its pages into $(VENV): some minutes, in which pip says nothing"
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(VENV)/.default $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing symskip_jax and the tools of its tests, torch among them, into $(VENV):"
	@echo "many minutes where torch brings CUDA along (see the top of Makefile), in which pip says nothing"
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,docs,interop]'
	touch $(VENV)/.default $(VENV)/.docs $@

$(LOWEST)/.dev: pyproject.toml | $(LOWEST)/bin/pip
	sed -En 's/^ +"([A-Za-z0-9_-]+)(\[[a-z]+\])?>=([0-9.]+)".*/\1==\3/p' pyproject.toml \
		> $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[dev,docs,interop]'
	touch $@

%/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11: name a newer one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $*
