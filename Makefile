# Every target works from a fresh clone: it finds Python 3.13, creates .venv and installs what it
# needs from the lock files. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

RIDES ?= 5000
TLC_DATA ?=
FAULTS ?=
STACK ?=
PARAMETERS ?=
SAM_BUILD ?=
REPOSITORY ?=
RELEASE ?=
MODEL ?=
COST_MODEL ?=
EVENT ?= events/one-ride.json
PORT ?= 9696
FIRST_SEED ?= 1
SEEDS ?= 10000
PIPENV_VERSION := 2026.10.3
PY := .venv/bin/python
SAM := tools/sam/.venv/bin/sam
DATA := $(if $(TLC_DATA),--data "$(TLC_DATA)")
MODELS := build/model/MLmodel build/cost-model/MLmodel
IMAGES := onnx lambda batch web
TOOLS := sam checkov gunicorn clients

export PARAMETERS REPOSITORY RELEASE
export SAM_CLI_TELEMETRY := 0
# Property tests try twice as many examples in test-all.
export HYPOTHESIS_PROFILE ?= $(if $(filter test-all,$(MAKECMDGOALS)),thorough,quick)
# For the loops in template.yaml.
export SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS := 1

# The labels of an image.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION := $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)
BUILD = docker build --network host --force-rm --build-arg "MODEL=$(MODEL)" \
	--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)
SBOM = PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py pipenv --pyproject pyproject.toml --output-reproducible

# $(call pipenv,PIPFILE) runs pipenv; $(call sync,PIPFILE,NAME,OPTIONS) installs from its lock.
pipenv = env PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1 \
	PIPENV_PIPFILE=$(abspath $(1)) $(abspath .pipenv/bin/pipenv)
sync = @echo "Installing $(2) packages (a minute or two, once) ..."; \
	$(call pipenv,$(1)) sync $(3) >.pipenv/$(2).log 2>&1 || { tail -30 .pipenv/$(2).log; exit 1; }; \
	touch $@
# pipenv would write an index from pip's own settings into the lock.
lock = env -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null \
	$(call pipenv,$(1))

.PHONY: help docker install demo model web mlflow-ui bench bench-web bench-image bench-batch \
	bench-spark smoke stack image build push event invoke test test-slow test-all faults simulate image-test lint \
	check template sbom audit format schemas events pictures capacity lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

docker:
	@$(SHELL) tools/need_docker.sh

# --- environments ---------------------------------------------------------------------------

.venv/bin/python:
	@python="$$($(SHELL) tools/find_python.sh)"; "$$python" --version; "$$python" -m venv .venv

.pipenv/installed-$(PIPENV_VERSION): | .venv/bin/python
	@rm -rf .pipenv; .venv/bin/python -m venv .pipenv
	@.pipenv/bin/python -m pip install -qq --disable-pip-version-check pipenv==$(PIPENV_VERSION)
	@touch $@

# Two stamps, so that `make demo` does not wait for packages that only contributors need.
.venv/run-installed: .pipenv/installed-$(PIPENV_VERSION) Pipfile.lock
	$(call sync,Pipfile,run,--categories "packages pyfunc training local web batch")

.venv/dev-installed: .venv/run-installed
	$(call sync,Pipfile,dev,--categories "dev")

.venv/spark-installed: .venv/run-installed
	$(call sync,Pipfile,spark,--categories "spark")

tools/sam/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/sam/Pipfile.lock
	$(call sync,tools/sam/Pipfile,sam)

tools/checkov/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/checkov/Pipfile.lock
	$(call sync,tools/checkov/Pipfile,checkov)

tools/gunicorn/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/gunicorn/Pipfile.lock
	$(call sync,tools/gunicorn/Pipfile,gunicorn)

tools/clients/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/clients/Pipfile.lock
	$(call sync,tools/clients/Pipfile,clients)

node_modules/installed: package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error && touch $@

install: .venv/dev-installed  ## create .venv with all packages

# --- for users ------------------------------------------------------------------------------

demo: .venv/run-installed  ## train, stream RIDES rides (TLC_DATA=dir for real ones; FAULTS=1 makes invocations fail)
	$(PY) -m local.demo --rides "$(RIDES)" $(DATA) $(if $(FAULTS),--faults)

model: .venv/run-installed  ## train a small model of each target into build/
	$(PY) -m training train --rides 10000 $(DATA) --target duration --output build/model
	$(PY) -m training train --rides 10000 $(DATA) --target cost --output build/cost-model

$(MODELS):
	@$(MAKE) model

web: .venv/run-installed $(MODELS)  ## serve HTTP and the page on http://127.0.0.1:9696 (or PORT=...)
	MODEL_LOCATION=build/model COST_MODEL_LOCATION=build/cost-model \
	$(PY) serve.py --bind=127.0.0.1:$(PORT)

mlflow-ui: .venv/run-installed  ## show the runs of make model on http://127.0.0.1:5000
	@test -e build/mlflow.db || $(MAKE) model
	MLFLOW_DISABLE_TELEMETRY=true .venv/bin/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///build/mlflow.db

bench: .venv/run-installed build/model/MLmodel  ## compare the handler with a per-record baseline
	$(PY) -m benchmarks.handler
	$(PY) -m benchmarks.reading
	$(PY) -m benchmarks.archive

bench-web: .venv/run-installed $(MODELS)  ## load-test the web service (Debian packages wrk, hey)
	$(PY) -m benchmarks.web
	$(PY) -m benchmarks.workers
	$(PY) -m benchmarks.quote
	$(PY) -m benchmarks.memory

bench-image: docker .venv/dev-installed image build/model/MLmodel  ## compare the images with the tutorial's
	$(PY) -m benchmarks.image

bench-batch: .venv/run-installed build/model/MLmodel  ## compare batch scoring with a pandas script (TLC_DATA=dir)
	$(PY) -m benchmarks.batch $(DATA)

bench-spark: .venv/run-installed .venv/spark-installed build/model/MLmodel  ## compare one machine with Spark on it (TLC_DATA=dir)
	$(PY) -m benchmarks.spark $(DATA)

smoke: .venv/run-installed  ## send ten rides and a broken record through the deployed stack STACK=name
	@test -n "$(STACK)" || { echo "STACK is not set: run make smoke STACK=name" >&2; exit 2; }
	$(PY) -m operate.smoke --stack "$(STACK)"

stack: .venv/run-installed build/model/MLmodel  ## run the service on this machine until Ctrl-C, to try smoke and replay
	$(PY) -m local.stack

image: docker  ## build ride-predictions:onnx, :lambda, :batch, :web (MODEL=build/model, COST_MODEL=... bake models in)
	$(BUILD) --target onnx -t ride-predictions:onnx .
	$(BUILD) --target lambda -t ride-predictions:lambda .
	$(BUILD) --target batch -t ride-predictions:batch .
	$(BUILD) --target web --build-arg "COST_MODEL=$(COST_MODEL)" -t ride-predictions:web .
	@test -z "$$($(SHELL) tools/base_is_stand_in.sh ride-predictions:lambda)" \
	|| echo "The base image is a stand-in for AWS's: use these images for tests, do not deploy them."

build: docker tools/sam/.venv/installed  ## build with the SAM CLI (PARAMETERS="Name=value ..." of the template)
	set -f; $(SAM) build $(SAM_BUILD) --parameter-overrides $$PARAMETERS Version=$(VERSION) Revision=$(REVISION)

push:  ## push the built images to REPOSITORY as RELEASE, and write their digests into the built template
	@$(SHELL) tools/push.sh

event:
	@test -f "$(EVENT)" || { echo "There is no event $(EVENT); events/ has examples." >&2; exit 2; }

# SAM builds without the host's network, so docker build first fills the layer cache.
invoke: event docker tools/sam/.venv/installed build/model/MLmodel  ## invoke the image in Docker with EVENT=events/one-ride.json
	$(BUILD) --target lambda -t ride-predictions:lambda .
	$(SAM) build DurationScorer --parameter-overrides BakedModel=build/model Version=$(VERSION) Revision=$(REVISION)
	$(SAM) local invoke DurationScorer --event "$(EVENT)" --env-vars events/env.json --skip-pull-image \
	| $(PY) -m tools.check_invoke

# --- for contributors -----------------------------------------------------------------------

test: .venv/dev-installed  ## run the tests that need Python alone
	$(PY) -m pytest -m "not slow and not image"

test-slow: .venv/dev-installed .venv/spark-installed $(TOOLS:%=tools/%/.venv/installed) node_modules/installed
	$(PY) -m pytest -m "slow and not image"

faults: .venv/dev-installed  ## run the stream scorer under injected faults and audit it (build/faults/report.json)
	$(PY) -m pytest -m slow tests/faults

simulate: .venv/dev-installed  ## simulate SEEDS new runs of the stream scorer, from FIRST_SEED on
	$(PY) -m simulation --from "$(FIRST_SEED)" --count "$(SEEDS)"

test-all: test test-slow  ## run all tests except those of the images

image-test: docker .venv/dev-installed image build/model/MLmodel  ## run the tests of the images
	$(PY) -m pytest -m image

lint: .venv/dev-installed template
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PY) -m tools.schemas --check docs/events
	$(PY) -m tools.sample_events --check events

check: lint test  ## check format, lint, types, schemas, events and template, and run the tests

template: tools/sam/.venv/installed  ## lint template.yaml and bootstrap.yaml
	tools/sam/.venv/bin/cfn-lint --include-checks I --regions us-east-1 -- template.yaml bootstrap.yaml
	$(SAM) validate --lint --region us-east-1

sbom: docker .venv/dev-installed  ## list the packages of the images and of their base systems in build/sbom/ (CycloneDX)
	@mkdir -p build/sbom
	$(SBOM) --categories "packages" --output-file build/sbom/onnx.json
	$(SBOM) --categories "packages pyfunc" --output-file build/sbom/lambda.json
	$(SBOM) --categories "packages batch" --output-file build/sbom/batch.json
	$(SBOM) --categories "packages web" --output-file build/sbom/web.json
	@for image in $(IMAGES); do docker run --rm --interactive --network none --entrypoint sh \
	ride-predictions:$$image <tools/system_packages.sh \
	| $(PY) -m tools.system_bom ride-predictions:$$image $(VERSION) >build/sbom/$$image-system.json; done

audit: .venv/dev-installed  ## list known vulnerabilities of the Python packages in the images
	@mkdir -p build
	@$(call pipenv,Pipfile) requirements --categories "packages pyfunc batch web" > build/audited.txt
	.venv/bin/pip-audit --strict --no-deps --disable-pip --requirement build/audited.txt

format: .venv/dev-installed  ## format the code and sort imports
	.venv/bin/ruff check --fix --select I .
	.venv/bin/ruff format .

schemas: .venv/run-installed  ## generate docs/events/ from the code's types
	$(PY) -m tools.schemas docs/events

events: .venv/run-installed  ## generate the sample events in events/
	$(PY) -m tools.sample_events events

capacity: .venv/dev-installed  ## write the tables and plots of docs/capacity.md
	$(PY) -m tools.capacity_page docs

pictures: .venv/dev-installed $(MODELS)  ## generate the screenshots in docs/images/ (needs Chromium)
	$(PY) -m tests.support.page_pictures

lock: .pipenv/installed-$(PIPENV_VERSION)  ## resolve the Pipfiles again
	$(call lock,Pipfile) lock --categories "packages pyfunc training local web batch spark dev"
	for tool in $(TOOLS); do $(call lock,tools/$$tool/Pipfile) lock; done
	.pipenv/bin/python -m tools.check_lockfiles Pipfile.lock $(TOOLS:%=tools/%/Pipfile.lock)
	$(call lock,Pipfile) verify

clean:  ## remove build output, but not the environments
	rm -rf build .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
