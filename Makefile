# README's two commands are `make demo` and `make test`; each makes its own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The CPU build of PyTorch, where this machine has one; any release from the extra's floor works.
TORCH ?= torch==2.13.0

.PHONY: demo test test-all bench lint types docs agreement clean

demo: $(VENV)/.installed-demo
	$(BIN)/pellucid demo --out demo-output
	@echo "Report: demo-output/report.html"

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or not slow"

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/run.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) demo-output site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[tensorflow]'
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install '$(TORCH)'
	$(PIP) install --editable '.[tensorflow,torch,sklearn,test]'
	touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.installed-test
	$(PIP) install --editable '.[docs]'
	touch $@
