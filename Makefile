# make help lists the targets. Everything goes into .venv and, below it, nothing else of the system is touched.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
# Without CUDA the CPU build of torch comes from this index, where it is reachable; an own mirror: make TORCH_INDEX=...
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^torch==//p' requirements.txt)
BIN := .venv/bin
TWO := -n 2 --dist loadfile --no-loadscope-reorder  # tests of one file, cells of one notebook, share a process
export JUPYTER_PREFER_ENV_PATH = 1
# Where it is set, as in many containers, each of the tests' hundred processes would compile the kit again.
unexport PYTHONDONTWRITEBYTECODE

# Files whose sha256 is in hashes/ and no others. torch has none there, for each index has builds of its own.
HASHED := $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-deps --no-build-isolation

# Without an NVIDIA driver, Linux takes the CPU build; that index is asked once, for torch alone. The general build
# of Linux brings CUDA.
define TORCH_HERE
if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then \
  echo "torch $(TORCH): no NVIDIA driver here, so the build for CPUs (0.2 GB to fetch)"; \
  $(BIN)/pip install -qq --no-deps torch==$(TORCH) --index-url $(TORCH_INDEX) --retries 0 --timeout 20 2>/dev/null && exit; \
  echo "$(TORCH_INDEX) gives no such build, so the general one, with CUDA (5.7 GB on disk, several minutes);"; \
  echo "  to name another index of CPU builds, interrupt and say: make setup TORCH_INDEX=https://..."; \
else echo "torch $(TORCH): the general build (with CUDA on Linux: 5.7 GB on disk, several minutes)"; fi; \
$(BIN)/pip install -q torch==$(TORCH)
endef

.PHONY: help setup cluster browser demo check test bench bench-compare notebooks site chess-models lab hashes clean

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */  make \1	/'

setup: .venv/whole  ## .venv with the locked versions, the kernel, the embedded model and texts

.venv/whole: requirements.txt hashes/requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up .venv (Python $$($(PYTHON) -c 'import platform; print(platform.python_version())'))"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(HASHED) -r <(sed -nE '/^(pip|setuptools)==/,/[^\\]$$/p' hashes/requirements.txt)  # setuptools builds chess
	@$(HASHED) -r hashes/requirements.txt
	@$(BIN)/python -c 'import torch' 2>/dev/null || { $(TORCH_HERE); }
	@$(BIN)/pip install -q -r requirements.txt  # what other systems need besides
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@$(BIN)/python -m ipykernel install --sys-prefix --name python3 >/dev/null
	@mkdir -p .venv/share/jupyter/lab/settings
	@echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
	  >.venv/share/jupyter/lab/settings/overrides.json
	@$(BIN)/python -m w2s_nb assets
	@touch $@

cluster: .venv/ray  ## Ray, for several machines and for models on several devices

.venv/ray: .venv/whole requirements-cluster.txt hashes/requirements-cluster.txt
	@$(HASHED) -r hashes/requirements-cluster.txt
	@$(BIN)/pip install -q -r requirements.txt -r requirements-cluster.txt
	@touch $@

browser: .venv/browser  ## Playwright and, where there is none, a Chromium: for the tests in a real JupyterLab

.venv/browser: .venv/whole requirements-browser.txt hashes/requirements-browser.txt
	@$(HASHED) -r hashes/requirements-browser.txt
	@$(BIN)/pip install -q -r requirements.txt -r requirements-browser.txt
	@command -v chromium chromium-browser google-chrome >/dev/null \
	  || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
	  || $(BIN)/playwright install chromium || echo "no Chromium could be had; tests in JupyterLab will be skipped"
	@touch $@

demo: setup  ## the main result on the embedded default: accuracy table, PGR, executed notebooks
	@$(BIN)/python -m w2s_nb demo

check: setup  ## style, types, and the tests that load no model
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not model"

test: cluster  ## unit tests, doctests, and every notebook under nbval
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO)
	@$(BIN)/python -m tests.small_notebooks .cache/notebooks
	@OMP_NUM_THREADS=1 W2S_HOME=$(CURDIR)/.cache/store TQDM_DISABLE=1 PLOTLY_RENDERER=plotly_mimetype $(BIN)/python \
	  -m pytest $(TWO) -p tests.forked_notebooks --nbval-lax --nbval-current-env --nbval-cell-timeout 900 .cache/notebooks

bench: setup  ## times, padding and memory as ratios, in about 15 minutes; a part: make bench SUBJECTS="padding startup"
	@$(BIN)/python -m tests.bench $(SUBJECTS)

bench-compare: setup  ## the last bench beside the committed one; fails where a ratio got worse by more than its margin
	@$(BIN)/python -m tests.bench.compare

notebooks: setup  ## executes every notebook in place: the copies in git, with their outputs
	@TQDM_DISABLE=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.timeout=1800 \
	  --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False \
	  notebooks/*.ipynb notebooks/solutions/*.ipynb

site: .venv/site  ## web pages of the notebooks as they are stored, of the library and the papers, into papermill_runs/site
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -c notebooks/pages -d .cache/site . papermill_runs/site
	@echo "papermill_runs/site/index.html"

.venv/site: .venv/whole requirements-site.txt hashes/requirements-site.txt
	@$(HASHED) -r hashes/requirements-site.txt
	@$(BIN)/pip install -q -r requirements.txt -r requirements-site.txt
	@touch $@

chess-models: setup  ## pretrains the chess models again, in about an hour on 2 cores, into papermill_runs/chess_models
	@$(BIN)/python -m w2s_nb.chess.pretraining --out papermill_runs/chess_models

lab: setup  ## JupyterLab at the tour; as root in a container: make lab LAB=--allow-root
	@test "$$(id -u)" != 0 || [[ " $(LAB) " == *" --allow-root "* ]] || { echo "JupyterLab does not start as root, since\
	 its pages would be root's shell: take another user, or in a container of your own make lab LAB=--allow-root"; exit 1; }
	@$(BIN)/jupyter lab $(LAB) notebooks/00_tour.ipynb

hashes:  ## the sha256 of every file of the locked versions, by uv, after requirements*.txt changed
	@command -v uv >/dev/null || { echo "needs uv: pip install uv"; exit 1; }
	@for lock in requirements*.txt; do uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-deps \
	  --no-annotate --no-emit-package torch $$lock -o hashes/$$lock || exit 1; done

clean:  ## removes .venv, caches and the store of fits; keeps downloaded assets
	rm -rf .venv .cache .pytest_cache papermill_runs/store papermill_runs/demo *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
