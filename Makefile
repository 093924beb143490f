# `make demo` and `make test` work on a bare checkout: each creates .venv, installs, and runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV_VERSION := 0.13.9

.PHONY: help install demo test fuzz docs lock clean

help:
	@echo "make demo    install, then run the whole way on synthetic faces (under 5 minutes on 2 cores)"
	@echo "make test    install, then ruff, mypy, import-linter and pytest (under 10 minutes on 2 cores)"
	@echo "make fuzz    ten thousand inputs for every text parser (about half an hour)"
	@echo "make docs    renew the generated pages under docs"
	@echo "make lock    renew requirements.lock"

install: $(INSTALLED)

# uv hard-links packages from its cache, so a second checkout costs seconds and no disk.
$(INSTALLED): pyproject.toml requirements.lock
	@test -x $(BIN)/pip || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); } || \
	    { rm -rf $(VENV); echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --constraint requirements.lock --editable '.[dev]'
	$(BIN)/python -c "from affectdata.installation import check_installation; check_installation()"
	touch $@

demo: $(INSTALLED)
	$(BIN)/affect demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

fuzz: $(INSTALLED)
	AFFECT_FUZZ=10000 $(BIN)/python -m pytest -m fuzz --timeout 0

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

lock: $(INSTALLED)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	    --no-emit-index-url --no-header --no-annotate --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
