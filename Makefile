# Everything works on a fresh machine with Python >= 3.11 and pip. Nothing here relies on what is already installed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# For CPU-only wheels of torch: make demo TORCH_INDEX=<the index of PyTorch's CPU wheels>
TORCH_INDEX ?=
# MMCV_WITH_OPS=0: mmcv without its compiled part, which cvtune.kernels stands in for. opencv-python-headless comes last:
# mmcv wants opencv-python, both write the same folder, and only the headless one imports where there is no libGL.
# compileall: pip compiles what it installs, but not a package that stays where it is.
PIP_INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
FAST := -m "not real and not train and not slow"
MINUTES ?= 10
DATA_TESTS := $(if $(CVTUNE_DATA),,and not real)

.PHONY: help demo test test-unit test-slow fuzz lint types results benchmarks clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	MMCV_WITH_OPS=0 $(PIP_INSTALL) --editable '.[torchvision,mmdet-zoo,detectron2,loggers,test]'
	$(BIN)/python tools/install_detectron2.py --constraint constraints.txt
	$(PIP_INSTALL) --force-reinstall --no-deps opencv-python-headless
	$(BIN)/python -m compileall -q cvtune
	touch $@

demo: $(VENV)/.installed ## synthetic data, a short fine-tuning, evaluation, a report
	$(BIN)/python datasets/shapes.py data/shapes --train 160 --val 40 --size 128 --seed 0
	$(BIN)/cvtune train configs/demo_shapes.yaml --overwrite
	@echo "The report: $(CURDIR)/runs/demo-shapes/report.html"

test: $(VENV)/.installed lint types ## lint, types, all tests
	$(BIN)/python -m pytest $(FAST) -n 2
	$(BIN)/python -m pytest -m "(real or train) and not slow $(DATA_TESTS)"

test-unit: $(VENV)/.installed ## the quick tests alone
	$(BIN)/python -m pytest $(FAST) -n 2

test-slow: $(VENV)/.installed ## tests of many minutes: overfitting of every family
	$(BIN)/python -m pytest -m "slow $(DATA_TESTS)"

fuzz: $(VENV)/.installed ## damaged files for every reader, MINUTES (10) for each format
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES)

lint: $(VENV)/.installed ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed ## mypy --strict
	$(BIN)/mypy

results: $(VENV)/.installed ## rerun the real-data results of the README (needs CVTUNE_DATA and CVTUNE_WEIGHTS)
	$(BIN)/python benchmarks/results.py

benchmarks: $(VENV)/.installed ## side-by-side measurements; each prints ratios
	$(BIN)/python benchmarks/train_torchvision.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/read_coco.py
	$(BIN)/python benchmarks/convert.py --peers
	$(BIN)/python benchmarks/startup.py

clean: ## remove what the targets made
	rm -rf $(VENV) runs/demo-shapes data/shapes .mypy_cache .ruff_cache .pytest_cache build *.egg-info
