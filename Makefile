# Every target works from a fresh clone: it finds Python 3.13, makes .venv and installs what it
# needs from the lock. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

RIDES ?= 5000
TLC_DATA ?=
STACK ?=
PARAMETERS ?=
SAM_BUILD ?=
REPOSITORY ?=
RELEASE ?=
BUILT := archivefunction:lambda batchfunction:batch
MODEL ?=
COST_MODEL ?=
EVENT ?= events/one-ride.json
PORT ?= 9696
PIPENV_VERSION := 2026.10.3
PY := .venv/bin/python
DATA := $(if $(TLC_DATA),--data "$(TLC_DATA)")

export PARAMETERS REPOSITORY RELEASE

# Sent nowhere; and the loops of template.yaml are read.
export SAM_CLI_TELEMETRY := 0
export SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS := 1

# What an image says of itself.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION := $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)
BUILD = docker build --network host --force-rm --build-arg "MODEL=$(MODEL)" \
	--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)
# Empty where an image was built on what its registry has; .ci/base-images says what a stand-in is.
STAND_IN = docker image inspect --format '{{index .Config.Labels "ride-predictions.stand-in"}}'

SBOM = PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py pipenv --pyproject pyproject.toml --output-reproducible

# What the base image's own system has: Amazon Linux, or Debian.
SYSTEM_PACKAGES = if command -v rpm >/dev/null; \
	then rpm --query --all --queryformat "%{NAME} %{VERSION}-%{RELEASE}\n"; \
	else dpkg-query --show --showformat "\$${Package} \$${Version}\n"; fi
IMAGES := onnx lambda batch web

# A pyenv shim answers to python3.13 even where it cannot run, hence -c.
FIND_PYTHON = for python in python3.13 "$$(pyenv prefix 3.13 2>/dev/null)/bin/python3.13" \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
	"$$(uv python find 3.13 2>/dev/null)"; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1 \
	&& echo "$$python" && exit; done; \
	echo "No Python 3.13 found. Install it (apt install python3.13-venv, pyenv install 3.13," \
	"or uv python install 3.13) and run make again." >&2; exit 1

PIPENV = env PIPENV_IGNORE_VIRTUALENVS=1 PIPENV_VENV_IN_PROJECT=1 PIPENV_NOSPIN=1 \
	PIPENV_PIPFILE=$(abspath $(1)) $(abspath .pipenv/bin/pipenv)
# Where pip's own settings name an index, pipenv would write it into the lock.
PLAIN_PIP = env -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null

.PHONY: docker
docker:
	@command -v docker >/dev/null || { echo "This needs Docker, which is not installed: see" \
	"https://docs.docker.com/engine/install, or apt install docker.io." >&2; exit 2; }
	@docker info >/dev/null 2>&1 || { echo "This needs Docker, whose engine does not answer: start it" \
	"(Docker Desktop, or systemctl start docker), or join the group docker." >&2; exit 2; }

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --- environments ---------------------------------------------------------------------------

.venv/bin/python:
	@python="$$($(FIND_PYTHON))"; "$$python" --version; "$$python" -m venv .venv

.pipenv/installed-$(PIPENV_VERSION): | .venv/bin/python
	@rm -rf .pipenv; .venv/bin/python -m venv .pipenv
	@.pipenv/bin/python -m pip install -qq --disable-pip-version-check pipenv==$(PIPENV_VERSION)
	@touch $@

# Two stamps, so that `make demo` need not wait for what only contributors need.
.venv/run-installed: .pipenv/installed-$(PIPENV_VERSION) Pipfile.lock
	@echo "Installing from Pipfile.lock (a minute or two, once) ..."
	@$(call PIPENV,Pipfile) sync --categories "packages pyfunc training local web batch" >.pipenv/run.log 2>&1 \
	|| { tail -30 .pipenv/run.log; exit 1; }
	@touch $@

.venv/dev-installed: .venv/run-installed
	@echo "Installing the tools of contributors ..."
	@$(call PIPENV,Pipfile) sync --categories "dev" >.pipenv/dev.log 2>&1 \
	|| { tail -30 .pipenv/dev.log; exit 1; }
	@touch $@

.venv/spark-installed: .venv/run-installed
	@echo "Installing Spark ..."
	@$(call PIPENV,Pipfile) sync --categories "spark" >.pipenv/spark.log 2>&1 \
	|| { tail -30 .pipenv/spark.log; exit 1; }
	@touch $@

tools/sam/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/sam/Pipfile.lock
	@echo "Installing the SAM command line ..."
	@$(call PIPENV,tools/sam/Pipfile) sync >.pipenv/sam.log 2>&1 || { tail -30 .pipenv/sam.log; exit 1; }
	@touch $@

tools/checkov/.venv/installed: .pipenv/installed-$(PIPENV_VERSION) tools/checkov/Pipfile.lock
	@echo "Installing checkov ..."
	@$(call PIPENV,tools/checkov/Pipfile) sync >.pipenv/checkov.log 2>&1 || { tail -30 .pipenv/checkov.log; exit 1; }
	@touch $@

node_modules/installed: package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error && touch $@

.PHONY: install
install: .venv/dev-installed  ## make .venv with everything

# --- what users run -------------------------------------------------------------------------

.PHONY: demo
demo: .venv/run-installed  ## train, stream RIDES rides (TLC_DATA=dir for real ones), report
	$(PY) -m local.demo --rides "$(RIDES)" $(DATA)

.PHONY: model
model: .venv/run-installed  ## a small trained model of each target into build/
	$(PY) -m training train --rides 10000 $(DATA) --target duration --output build/model
	$(PY) -m training train --rides 10000 $(DATA) --target cost --output build/cost-model

.PHONY: web
web: .venv/run-installed  ## the web service and its page, on http://127.0.0.1:9696 (or PORT=…)
	@test -e build/model/MLmodel -a -e build/cost-model/MLmodel || $(MAKE) model
	MODEL_LOCATION=build/model COST_MODEL_LOCATION=build/cost-model \
	$(PY) serve.py --bind=127.0.0.1:$(PORT)

.PHONY: mlflow-ui
mlflow-ui: .venv/run-installed  ## the training runs of make model, on http://127.0.0.1:5000
	@test -e build/mlflow.db || $(MAKE) model
	MLFLOW_DISABLE_TELEMETRY=true .venv/bin/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///build/mlflow.db

.PHONY: bench
bench: .venv/run-installed  ## the handler beside the usual loop, into build/bench/results.json
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m benchmarks.handler

.PHONY: bench-web
bench-web: .venv/run-installed  ## the web service under load, beside other ways (Debian packages wrk, hey)
	@test -e build/model/MLmodel -a -e build/cost-model/MLmodel || $(MAKE) model
	$(PY) -m benchmarks.web
	$(PY) -m benchmarks.memory
	$(PY) -m benchmarks.quote

.PHONY: bench-image
bench-image: docker .venv/dev-installed image  ## the images beside the tutorial's
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m benchmarks.image

.PHONY: bench-batch
bench-batch: .venv/run-installed  ## months of rides beside the usual script (TLC_DATA=dir of months)
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m benchmarks.batch $(DATA)

.PHONY: bench-spark
bench-spark: .venv/run-installed .venv/spark-installed  ## one machine beside Spark on it (TLC_DATA=dir of months)
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m benchmarks.spark $(DATA)

.PHONY: smoke
smoke: .venv/run-installed  ## ten rides and a broken record through the deployed stack STACK=name
	@test -n "$(STACK)" || { echo "Name the stack: make smoke STACK=name" >&2; exit 2; }
	$(PY) -m operate.smoke --stack "$(STACK)"

.PHONY: stack
stack: .venv/run-installed  ## the service on this machine until Ctrl-C, for make smoke and replay to be tried on
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m local.stack

.PHONY: image
image: docker  ## ride-predictions:onnx, :lambda, :batch and :web (MODEL=build/model, COST_MODEL=... bake models in)
	$(BUILD) --target onnx -t ride-predictions:onnx .
	$(BUILD) --target lambda -t ride-predictions:lambda .
	$(BUILD) --target batch -t ride-predictions:batch .
	$(BUILD) --target web --build-arg "COST_MODEL=$(COST_MODEL)" -t ride-predictions:web .
	@test -z "$$($(STAND_IN) ride-predictions:lambda)" \
	|| echo "Built on a stand-in for AWS's base image: to try and to test, not to deploy."

.PHONY: build
build: docker tools/sam/.venv/installed  ## what is deployed, by the SAM CLI (PARAMETERS="Name=value ..." of the template)
	set -f; tools/sam/.venv/bin/sam build $(SAM_BUILD) --parameter-overrides $$PARAMETERS \
	Version=$(VERSION) Revision=$(REVISION)

# SAM puts no image that it pushes into a loop over a parameter; an image by its digest serves all
# functions of its target. That of batches is RELEASE-batch.
.PHONY: named
named:
	@test -n "$$REPOSITORY" -a -n "$$RELEASE" \
	|| { echo "Say where to, and as what: make push REPOSITORY=... RELEASE=..." >&2; exit 2; }

.PHONY: push
push: named docker  ## what was built, to REPOSITORY of ECR as RELEASE; the digests go into the built template
	@command -v aws >/dev/null || { echo "This needs the AWS command line (version 2), which is not" \
	"installed: see https://docs.aws.amazon.com/cli." >&2; exit 2; }
	@for built in $(BUILT); do stand_in="$$($(STAND_IN) $$built)" \
	|| { echo "There is no image $$built to push: run make build first." >&2; exit 2; }; test -z "$$stand_in" \
	|| { echo "$$built was built on a stand-in for AWS's base image: it is not to be deployed." >&2; exit 1; }; done
	aws ecr get-login-password | docker login --username AWS --password-stdin "$${REPOSITORY%%/*}"
	for built in $(BUILT); do \
	target="$${built#*:}"; tag="$$RELEASE-$$target"; tag="$${tag%-lambda}"; \
	docker tag "$$built" "$$REPOSITORY:$$tag"; \
	docker push "$$REPOSITORY:$$tag"; \
	digest="$$(aws ecr describe-images --repository-name "$${REPOSITORY#*/}" \
	--image-ids "imageTag=$$tag" --query 'imageDetails[0].imageDigest' --output text)"; \
	sed -i.local -E "s|^( +ImageUri: )[a-z0-9]+:$$target$$|\1$$REPOSITORY@$$digest|" .aws-sam/build/template.yaml; \
	done

.PHONY: event
event:
	@test -f "$(EVENT)" || { echo "There is no event $(EVENT): events/ has some" >&2; exit 2; }

# SAM builds without the host's network: what needs one is in Docker's cache by then.
.PHONY: invoke
invoke: event docker tools/sam/.venv/installed  ## the image, with EVENT=events/one-ride.json, in Docker
	@test -e build/model/MLmodel || $(MAKE) model
	$(BUILD) --target lambda -t ride-predictions:lambda .
	tools/sam/.venv/bin/sam build DurationScorer --parameter-overrides BakedModel=build/model \
	Version=$(VERSION) Revision=$(REVISION)
	tools/sam/.venv/bin/sam local invoke DurationScorer --event "$(EVENT)" --env-vars events/env.json --skip-pull-image \
	| $(PY) -m tools.check_invoke

# --- what contributors run ------------------------------------------------------------------

.PHONY: test
test: .venv/dev-installed  ## the tests that need Python alone
	$(PY) -m pytest -m "not slow and not image"

.PHONY: test-slow
test-slow: .venv/dev-installed .venv/spark-installed tools/sam/.venv/installed tools/checkov/.venv/installed node_modules/installed
	$(PY) -m pytest -m "slow and not image"

.PHONY: test-all
test-all: test test-slow  ## all tests but the images'

.PHONY: image-test
image-test: docker .venv/dev-installed image  ## the tests that run the images
	@test -e build/model/MLmodel || $(MAKE) model
	$(PY) -m pytest -m image

.PHONY: lint
lint: .venv/dev-installed template
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PY) -m tools.schemas --check docs/events
	$(PY) -m tools.sample_events --check events

.PHONY: check
check: lint test  ## format, lint, types, schemas, events, template, tests

.PHONY: template
template: tools/sam/.venv/installed  ## lint the template of what runs on AWS
	tools/sam/.venv/bin/cfn-lint --include-checks I --regions us-east-1 -- template.yaml
	tools/sam/.venv/bin/sam validate --lint --region us-east-1

.PHONY: sbom
sbom: docker .venv/dev-installed  ## what is in the images, and in what they stand on, into build/sbom/
	@mkdir -p build/sbom
	$(SBOM) --categories "packages" --output-file build/sbom/onnx.json
	$(SBOM) --categories "packages pyfunc" --output-file build/sbom/lambda.json
	$(SBOM) --categories "packages batch" --output-file build/sbom/batch.json
	$(SBOM) --categories "packages web" --output-file build/sbom/web.json
	@for image in $(IMAGES); do docker run --rm --network none --entrypoint sh ride-predictions:$$image \
	-c '$(SYSTEM_PACKAGES)' | sort >build/sbom/$$image-system.txt; done

.PHONY: audit
audit: .venv/dev-installed  ## known weaknesses of the Python packages in the images
	@mkdir -p build
	@$(call PIPENV,Pipfile) requirements --categories "packages pyfunc batch web" > build/audited.txt
	.venv/bin/pip-audit --strict --no-deps --disable-pip --requirement build/audited.txt

.PHONY: format
format: .venv/dev-installed  ## format and sort imports
	.venv/bin/ruff check --fix --select I .
	.venv/bin/ruff format .

.PHONY: schemas
schemas: .venv/run-installed  ## write docs/events/ from the code's own types
	$(PY) -m tools.schemas docs/events

.PHONY: events
events: .venv/run-installed  ## write events/ to invoke the function with
	$(PY) -m tools.sample_events events

.PHONY: pictures
pictures: .venv/dev-installed  ## write the pictures of the page in docs/images/ (needs Chromium)
	@test -e build/model/MLmodel -a -e build/cost-model/MLmodel || $(MAKE) model
	$(PY) -m tests.support.page_pictures

.PHONY: lock
lock: .pipenv/installed-$(PIPENV_VERSION)  ## resolve the Pipfiles anew
	$(PLAIN_PIP) $(call PIPENV,Pipfile) lock --categories "packages pyfunc training local web batch spark dev"
	$(PLAIN_PIP) $(call PIPENV,tools/sam/Pipfile) lock
	$(PLAIN_PIP) $(call PIPENV,tools/checkov/Pipfile) lock
	.pipenv/bin/python -m tools.check_lockfiles Pipfile.lock tools/sam/Pipfile.lock tools/checkov/Pipfile.lock
	$(PLAIN_PIP) $(call PIPENV,Pipfile) verify

.PHONY: clean
clean:  ## remove what was built, but not the environments
	rm -rf build .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
