# Each target installs the environment that it needs. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3.11
ROOT := $(CURDIR)
ENV := .venv/.installed
export PATH := $(ROOT)/.venv/bin:$(PATH)

# Caches stay inside this folder; the tools' telemetry is off. The code sets the stores and the rest (paths.py).
export BENTOML_DO_NOT_TRACK := True
export DVC_NO_ANALYTICS := 1
export DVC_SITE_CACHE_DIR := $(ROOT)/.cache/dvc
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export UV_CACHE_DIR := $(ROOT)/.cache/uv

.PHONY: help install repro experiments kaggle own recipe test test-fast check coverage docs serve mlflow bench lock wheel
help:
	@echo "make repro      data to served model: the seven stages of dvc.yaml"
	@echo "make experiments  what 'dvc exp run' tried, in a table that fits 120 columns"
	@echo "make kaggle     train on the Kaggle set, after a login; prints the expected hours. PLAN=--plan only prints"
	@echo "make own        fine-tune the shipped model on own pictures: PICTURES=folder or zip, FAKES=synthetic or swap"
	@echo "make recipe     the same by RECIPE=, for example recipes/photographs.yaml, the recipe of the shipped model, or recipes/one_gpu.yaml"
	@echo "make serve      the packaged model on http://127.0.0.1:3000, or PORT=; MODEL=champion or MODEL=pretrained selects one"
	@echo "make mlflow     runs and registry on http://127.0.0.1:5000, or PORT="
	@echo "make install    the environment in .venv, from requirements.lock"
	@echo "make test       formatting, lint, types and all tests"
	@echo "make test-fast  the tests that need neither trainings, servers, stores nor a browser"
	@echo "make check      formatting, lint and types only"
	@echo "make coverage   the quick tests with line and branch coverage"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make bench      benchmarks, each against another way of doing the same"
	@echo "make wheel      the package with the shipped model, in dist/"
	@echo "make lock       resolve the dependencies again, to their newest versions"

install: $(ENV)

# The last two once more: DVC skips both stages when their inputs are unchanged, whatever happened to the stores.
repro: $(ENV)
	dvc repro
	python -m pipelines.register
	python -m pipelines.package

experiments: $(ENV)
	dvc exp show --drop '.*' --keep 'Experiment|Created|^State|train.network|train.epochs|accuracy$$|auc$$'

kaggle: $(ENV)
	@python -m pipelines.recipe recipes/kaggle.yaml $(PLAN)
	@test -n "$(PLAN)" || python -m pipelines.package

own: RECIPE ?= recipes/own_pictures.yaml
own: FAKES ?= synthetic
own: $(ENV)
	@test -n "$(PICTURES)" || { echo "name the pictures: make own PICTURES=/path/to/folder_or_zip (docs/own-pictures.md)"; exit 1; }
	@python -m pipelines.recipe "$(RECIPE)" --pictures "$(PICTURES)" --fakes "$(FAKES)" $(PLAN)
	@test -n "$(PLAN)" || python -m pipelines.package

recipe: RECIPE ?= recipes/photographs.yaml
recipe: $(ENV)
	@python -m pipelines.recipe "$(RECIPE)" $(PLAN)
	@test -n "$(PLAN)" || python -m pipelines.package

test: check
	pytest -n 2 --dist loadfile --max-worker-restart=0 --ignore tests/browser
	pytest tests/browser

test-fast: $(ENV)
	pytest -n 2 --dist loadfile --max-worker-restart=0 -m "not slow" --ignore tests/browser

check: $(ENV)
	ruff format --check .
	ruff check .
	mypy

coverage: $(ENV)
	pytest -n 2 --dist loadfile --max-worker-restart=0 -m "not slow" --ignore tests/browser \
	  --cov=deepfake_detector --cov-branch --cov-report=term:skip-covered --cov-report=html:site/coverage

docs: $(ENV)
	NO_MKDOCS_2_WARNING=1 mkdocs build

serve: PORT = 3000
serve: $(ENV)
	@python -m pipelines.port "$(PORT)"
	python -m pipelines.package
	python -m pipelines.serve $(MODEL) --port "$(PORT)"

mlflow: PORT = 5000
mlflow: $(ENV)
	python -m pipelines.mlflow_server --port "$(PORT)"

wheel: $(ENV)
	rm -rf dist
	uv build --python .venv/bin/python --out-dir dist

bench: $(ENV)
	python -m benchmarks

lock: $(ENV)
	uv pip compile pyproject.toml --extra train --extra dev --extra docs --extra s3 --extra cluster --universal --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock
	uv pip compile requirements-image.in --constraint requirements.lock --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade -o requirements-image.lock
	uv pip compile deploy/mlflow/requirements.in --constraint requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade -o deploy/mlflow/requirements.lock
	echo uv | uv pip compile - --universal --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade -o requirements-uv.lock

# From the locks, checked against their hashes. uv comes from the same package index as the rest.
# Byte code is compiled at install (half a minute): where PYTHONDONTWRITEBYTECODE is set, as in many containers, every
# start of every stage would compile its imports again (TensorFlow 13 s of processor time instead of 5).
$(ENV): requirements.lock pyproject.toml
	@echo "environment, step 1 of 3: .venv, and uv, which installs the rest"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
	  --require-hashes -r requirements-uv.lock
	@echo "environment, step 2 of 3: $$(grep -c == requirements.lock) packages of requirements.lock, then half a minute of byte code"
	@.venv/bin/uv pip install --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
	@echo "environment, step 3 of 3: this package"
	@.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --editable .
	test -e .git || .venv/bin/dvc config --local core.no_scm true
	touch $@
