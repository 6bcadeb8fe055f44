# All set-up is done by the targets themselves; a second call skips it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := results/runs/quickstart

.PHONY: quickstart test lint bench tensorboard clean

# The main job: 24 dreams of a real network, about 2 minutes on 2 cores.
quickstart: $(VENV)/.ready
	$(BIN)/python -m experiments.visualize \
	    --config=configs/quickstart.py --workdir=$(RUN)

test: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 \
	    --dist loadgroup --no-loadscope-reorder

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Speed against PyTorch and Lucent, 40 minutes on 2 quiet cores: docs/performance.md.
bench: $(VENV)/.ready-bench
	$(BIN)/python -m benchmarks.all

$(VENV)/.ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -r requirements.txt
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt requirements-video.txt requirements-figures.txt requirements-hub.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -r requirements-dev.txt
	touch $@

$(VENV)/.ready-bench: $(VENV)/.ready requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -r requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --no-deps torch-lucent==0.1.8
	touch $@

# Needs TensorBoard, which dreamjax itself does not: pip install tensorboard
tensorboard:
	tensorboard --logdir $(RUN)/tb

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
