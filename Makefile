# README's two commands are `make demo` and `make test`; each makes its own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The CPU build of PyTorch, where this machine has one; any release from the extra's floor works.
TORCH ?= torch==2.13.0

.PHONY: demo test test-all test-peers test-quantus bench lint types docs pictures agreement clean

demo: $(VENV)/.installed-demo
	$(BIN)/pellucid demo --out demo-output
	@echo "Report: demo-output/report.html"

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or not slow"

# `make bench BENCH="P1 P2"` runs some; BENCH_VENV=... names an environment that has the peers.
BENCH ?=
BENCH_VENV ?= .venv-bench
bench: $(BENCH_VENV)/bin/python
	PYTHONPATH=src $(BENCH_VENV)/bin/python benchmarks/run.py $(BENCH)

.venv-bench/bin/python:
	$(PYTHON) -m venv .venv-bench
	$@ -m pip install --quiet torch==2.14.1 torchvision==0.29.1
	$@ -m pip install --quiet --requirement benchmarks/requirements.txt . \
	  || { rm -rf .venv-bench; exit 1; }
	$@ -m pip install --quiet --no-deps quantus==0.6.0 cachetools

agreement: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/agreement --agreement docs

# Slow tests against other libraries and model collections, in the environment of the benchmarks;
# torch and TensorFlow get processes of their own.
test-peers: $(BENCH_VENV)/bin/python
	$(BENCH_VENV)/bin/python -m pip install --quiet --requirement tests/external/requirements.txt
	PYTHONPATH=src $(BENCH_VENV)/bin/python -m pytest -m slow \
	  tests/external/test_architectures_torch.py tests/external/test_cam_peers.py \
	  tests/external/test_lrp_peers.py tests/external/test_silently_wrong.py
	PYTHONPATH=src $(BENCH_VENV)/bin/python -m pytest -m slow \
	  tests/external/test_backward_peers.py -k "not keras"
	PYTHONPATH=src $(BENCH_VENV)/bin/python -m pytest -m slow tests/external/test_keras_peers.py \
	  tests/external/test_looking_peers.py
	PYTHONPATH=src $(BENCH_VENV)/bin/python -m pytest -m slow \
	  tests/external/test_silently_wrong_keras.py tests/external/test_backward_peers.py -k keras

# Quantus asks for releases of other libraries that it runs without.
test-quantus: $(VENV)/.installed-test
	$(PIP) install --no-deps quantus==0.6.0 cachetools
	$(BIN)/python -m pytest -m slow tests/external/test_quantus.py

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

pictures: $(VENV)/.installed-test
	$(BIN)/python docs/pictures.py

clean:
	rm -rf $(VENV) .venv-bench demo-output site

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[tensorflow]'
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install '$(TORCH)'
	$(PIP) install --editable '.[tensorflow,torch,jax,sklearn,tensorlayer,onnx,test]'
	touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.installed-test
	$(PIP) install --editable '.[docs]'
	touch $@
