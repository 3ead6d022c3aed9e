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
TOOLS   := $(VENV)/.ready-dev
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo test check lint types licences bench bench-embed torture bench-tiny bench-refinement bench-clusters docs dataset wheel clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

help:
	@sed -n '1,5s/^# \{0,1\}//p' Makefile

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"error: Python 3.11 or later is needed, this is {v[0]}.{v[1]}\nhint: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable .
	touch $@

# What tests, checks and benchmarks need besides; `make demo` and `make dataset` do without.
$(TOOLS): $(READY)
	$(INSTALL) --editable '.[dev]'
	touch $@

demo: setup
	$(ANNOTATE) demo

# Two tests at a time; those that start a cluster of their own come after, by themselves.
test: $(TOOLS)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --ignore tests/engines
	$(BIN)/python -m pytest tests/engines

check: lint types licences test

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TOOLS)
	$(BIN)/mypy

licences: $(TOOLS)
	$(BIN)/python -m pytest tests/test_licences.py

bench: bench-embed
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.refinement
	$(BIN)/python -m benchmarks.dynamic --write

bench-embed: $(TOOLS)
	$(BIN)/python -m benchmarks.embed
	$(BIN)/python -m benchmarks.embed --images 300 --size 4000x3000 --model tiny
	$(BIN)/python -m benchmarks.fidelity --data "$(DATA)"

# What takes longest and breaks most: kills at every instant, much more than fits in memory.
torture: $(TOOLS)
	$(BIN)/python -m benchmarks.interrupted
	$(BIN)/python -m benchmarks.faults --minutes 3
	$(BIN)/python -m benchmarks.flat
	$(BIN)/python -m pytest -m '' tests/engines tests/stages/test_embed_once.py tests/test_faults.py

# The image sets that `tiny` is trained and measured on (training/README.md), and files of CLIP embeddings
# (benchmarks/cases.py).
DATA ?= ../shared/data

bench-tiny: $(TOOLS)
	$(BIN)/python training/evaluate.py --data "$(DATA)" --write

bench-refinement: $(TOOLS)
	$(BIN)/python -m benchmarks.refinement --data "$(DATA)" --write
	$(BIN)/python -m benchmarks.refinement --data "$(DATA)" --sensitivity --write
	$(BIN)/python -m benchmarks.confidence --data "$(DATA)"
	$(BIN)/python -m benchmarks.signs --data "$(DATA)"

bench-clusters: $(TOOLS)
	$(BIN)/python -m benchmarks.clusters --data "$(DATA)" --write
	$(BIN)/python -m benchmarks.clusters --times --write

docs: $(TOOLS)
	$(BIN)/python docs/reference.py

wheel: $(TOOLS)
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
MODEL     ?= auto
TRUTH     ?=

# Options for a stage, as you would type them in a shell: REFINE='--method direct'.
EMBED     ?=
REFINE    ?=
ORGANIZE  ?=
REPORT    ?=

# Names go to annotate as they are, by the environment: neither make nor the shell looks into them for its own signs.
NAMES     := IMAGES CLASSES OUTPUT WORKSPACE MODEL TRUTH
OPTIONS   := EMBED REFINE ORGANIZE REPORT
$(foreach name,$(NAMES) $(OPTIONS),$(eval override $(name) := $$(value $(name))))
export $(NAMES) $(OPTIONS)

define NEWLINE


endef
$(foreach name,$(NAMES) $(OPTIONS),$(if $(findstring $(NEWLINE),$($(name))),$(error $(name) has more than one line)))

ifeq ($(filter .project,$(MAKECMDGOALS)),)

# A path can hold what make has no way to spell. So the stages are made in the workspace, where they have plain names.
export HERE := $(CURDIR)

dataset: $(READY)
	@mkdir -p -- "$$WORKSPACE"
	@$(MAKE) --no-print-directory -C "$$WORKSPACE" -f "$$HERE/Makefile" .project

else

# Other classes or settings than last time, other images or another truth make the stages that they reach out of date.
# A listing with sizes and times tells whether images came, went or changed, in any folder below.
# What lies in such a file's place, a link perhaps, is taken away first: nothing is written through it.
remember = $(shell said=$$(cd "$$HERE" && { $(2); } 2>&1; echo .); printf '%s\n' "$$said" | cmp -s - $(1) || \
           { rm -f $(1) && set -C && printf '%s\n' "$$said" > $(1); })
values   = printf '%s\n' $(foreach name,$(1),"$$$(name)")
$(call remember,.make-refine,$(call values,MODEL CLASSES EMBED REFINE); cat annotate.yaml)
$(call remember,.make-images,$(call values,IMAGES); LC_ALL=C ls -lRL -- "$$IMAGES" | cksum)
$(call remember,.make-organize,$(call values,OUTPUT TRUTH ORGANIZE REPORT); LC_ALL=C ls -lL -- "$$TRUTH")

STAGE := cd "$$HERE" && $(ANNOTATE)
IN    := --workspace="$$WORKSPACE"
GONE  := $(if $(shell cd "$$HERE" && test -e "$$OUTPUT/manifest.json" && echo there),,again)

.PHONY: .project again
.project: organize/manifest.json report/manifest.json

embed/manifest.json: .make-images .make-refine
	$(STAGE) embed --model="$$MODEL" $(IN) $(EMBED) -- "$$IMAGES"

refine/manifest.json: embed/manifest.json .make-refine
	$(STAGE) refine $(if $(CLASSES),--classes="$$CLASSES") $(IN) $(REFINE)

organize/manifest.json: refine/manifest.json .make-organize $(GONE)
	$(STAGE) organize $(IN) $(ORGANIZE) -- "$$OUTPUT"

# After the dataset: one run at a time may use a workspace, also under `make -j`.
report/manifest.json: refine/manifest.json .make-organize | organize/manifest.json
	$(STAGE) report $(if $(TRUTH),--truth="$$TRUTH") $(IN) $(REPORT)

endif
