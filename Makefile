# annotate: set-up, demo, tests; and a whole project chained by stage manifests.
#
#   make demo                                       the main job, offline
#   make test                                       the tests
#   make dataset IMAGES=photos CLASSES=cat,dog      your own images to a dataset, each stage a process

PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
ANNOTATE := $(BIN)/annotate
READY   := $(VENV)/.ready

.PHONY: help setup demo test check lint types licences bench bench-embed torture bench-tiny bench-refinement bench-clusters docs dataset wheel clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,5s/^# \{0,1\}//p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"error: Python 3.11 or later is needed, this is {v[0]}.{v[1]}\nhint: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(ANNOTATE) demo
	@echo
	@echo "look at  demo/artifacts/report/report.html   the report"
	@echo "         demo/dataset/                       the dataset: classes, splits, metadata.json"

test: setup
	$(BIN)/python -m pytest

check: lint types licences test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

licences: setup
	$(BIN)/python -m pytest tests/test_licences.py

bench: setup bench-embed
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.refinement
	$(BIN)/python -m benchmarks.dynamic --write

bench-embed: setup
	$(BIN)/python -m benchmarks.embed
	$(BIN)/python -m benchmarks.embed --images 300 --size 4000x3000 --model tiny
	$(BIN)/python -m benchmarks.fidelity --data "$(DATA)"

# What takes longest and breaks most: kills at every instant, much more than fits in memory.
torture: setup
	$(BIN)/python -m benchmarks.interrupted
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.flat
	$(BIN)/python -m pytest -m '' tests/engines tests/stages/test_embed_once.py tests/test_faults.py

# The image sets that `tiny` is trained and measured on (training/README.md), and files of CLIP embeddings
# (benchmarks/cases.py).
DATA ?= ../shared/data

bench-tiny: setup
	$(BIN)/python training/evaluate.py --data "$(DATA)" --write

bench-refinement: setup
	$(BIN)/python -m benchmarks.refinement --data "$(DATA)" --write
	$(BIN)/python -m benchmarks.refinement --data "$(DATA)" --sensitivity --write
	$(BIN)/python -m benchmarks.confidence --data "$(DATA)"
	$(BIN)/python -m benchmarks.signs --data "$(DATA)"

bench-clusters: setup
	$(BIN)/python -m benchmarks.clusters --data "$(DATA)" --write
	$(BIN)/python -m benchmarks.clusters --times --write

docs: setup
	$(BIN)/python docs/reference.py

wheel: setup
	$(BIN)/python -m build

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# -- a project of your own ----------------------------------------------------------------------------
# Every stage is its own process. A stage's manifest is what the next one depends on: it is written last, and
# touched when a stage finds itself fresh, so that a second `make` does nothing.

IMAGES    ?= photos
CLASSES   ?=
OUTPUT    ?= dataset
WORKSPACE ?= artifacts
MODEL     ?= tiny
TRUTH     ?=
EMBED     ?=
REFINE    ?=
ORGANIZE  ?=
REPORT    ?=

# Other classes or settings than last time make the stages that they reach out of date.
REFINED   := $(WORKSPACE)/.make-refine
ORGANIZED := $(WORKSPACE)/.make-organize
LISTED    := $(WORKSPACE)/.make-images
quoted   = '$(subst ','\'',$(1))'
remember = $(shell mkdir -p "$(WORKSPACE)"; printf '%s\n' $(call quoted,$(2)) | cmp -s - "$(1)" || \
           printf '%s\n' $(call quoted,$(2)) > "$(1)")
ifneq ($(filter dataset,$(MAKECMDGOALS)),)
$(call remember,$(REFINED),$(MODEL) $(CLASSES) $(EMBED) $(REFINE))
$(call remember,$(LISTED),$(shell LC_ALL=C ls -lRL "$(IMAGES)" | cksum))
$(call remember,$(ORGANIZED),$(OUTPUT) $(ORGANIZE) $(TRUTH) $(REPORT))
endif

IN := --workspace "$(WORKSPACE)"

dataset: $(OUTPUT)/manifest.json $(WORKSPACE)/report/manifest.json

# A listing with sizes and times tells whether images came, went or changed, in any folder below.
$(WORKSPACE)/embed/manifest.json: $(LISTED) $(REFINED) $(wildcard annotate.yaml) | $(READY)
	$(ANNOTATE) embed "$(IMAGES)" --model "$(MODEL)" $(IN) $(EMBED)

$(WORKSPACE)/refine/manifest.json: $(WORKSPACE)/embed/manifest.json $(REFINED)
	$(ANNOTATE) refine $(if $(CLASSES),--classes "$(CLASSES)") $(IN) $(REFINE)

$(OUTPUT)/manifest.json: $(WORKSPACE)/refine/manifest.json $(ORGANIZED)
	$(ANNOTATE) organize "$(OUTPUT)" $(IN) $(ORGANIZE)

# After the dataset: one run at a time may use a workspace, also under `make -j`.
$(WORKSPACE)/report/manifest.json: $(WORKSPACE)/refine/manifest.json $(ORGANIZED) $(wildcard $(TRUTH)) | $(OUTPUT)/manifest.json
	$(ANNOTATE) report $(if $(TRUTH),--truth "$(TRUTH)") $(IN) $(REPORT)
