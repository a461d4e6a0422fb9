# Few verbs; each brings the environment it needs. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
ROOT := $(CURDIR)
ENV := .venv/.installed
export PATH := $(ROOT)/.venv/bin:$(PATH)

# Stores and caches stay inside this folder; the tools' telemetry is off. The code sets the rest (workspace.py).
export BENTOML_DO_NOT_TRACK := True
export BENTOML_HOME := $(ROOT)/.bentoml
export DVC_NO_ANALYTICS := 1
export DVC_SITE_CACHE_DIR := $(ROOT)/.cache/dvc
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export UV_CACHE_DIR := $(ROOT)/.cache/uv

.PHONY: help repro test check serve mlflow bench lock
help:
	@echo "make repro   data to served model: the seven stages of dvc.yaml"
	@echo "make serve   the packaged model on http://127.0.0.1:3000; MODEL=champion or MODEL=pretrained asks for one"
	@echo "make mlflow  runs and registry on http://127.0.0.1:5000"
	@echo "make test    all checks and tests"
	@echo "make check   formatting, lint and types only"
	@echo "make bench   benchmarks, each against another way of doing the same"
	@echo "make lock    resolve the dependencies anew"

repro: $(ENV)
	dvc repro

test: check
	pytest -n 2 --dist loadfile --max-worker-restart=0 --ignore tests/browser
	pytest tests/browser

check: $(ENV)
	ruff format --check .
	ruff check .
	mypy

serve: $(ENV)
	python -m pipelines.package
	python -m pipelines.serve $(MODEL)

mlflow: $(ENV)
	mlflow server --backend-store-uri sqlite:///mlflow.db --artifacts-destination ./mlartifacts --host 127.0.0.1 --port 5000

bench: $(ENV)
	python -m benchmarks

lock: $(ENV)
	uv pip compile pyproject.toml --extra train --extra dev --universal --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade -o requirements.lock

# One resolver run, from the lock, checked against its hashes. uv comes from the same package index as the rest.
# Byte code at once, half a minute: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every start of every
# stage would compile its imports anew (TensorFlow 13 s of processor time instead of 5).
$(ENV): requirements.lock pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check "uv>=0.8"
	.venv/bin/uv pip install --python .venv/bin/python --quiet --compile-bytecode --require-hashes -r requirements.lock
	.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --editable .
	test -e .git || .venv/bin/dvc config --local core.no_scm true
	touch $@
