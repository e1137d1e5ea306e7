# `make up` and `make test` need nothing but Python; everything else they bring along. `make help` lists the verbs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

INVENTORY ?= local
OPTIONS ?=
# Anything in FULL also runs the checks that take minutes.
override OPTIONS += $(if $(FULL),-e '{"component_full_checks": true}')
export MLOPS_PLATFORM_CACHE ?= $(HOME)/.cache/mlops-platform
export UV_CACHE_DIR ?= $(MLOPS_PLATFORM_CACHE)/uv-cache
export UV_PYTHON_DOWNLOADS := never
# Half a minute once; without it every run compiles what it imports.
export UV_COMPILE_BYTECODE := 1

# One environment for each content of the lock, outside the checkout: a second checkout finds it ready.
lock = $(shell sha256sum < uv.lock | cut -c1-12)
UV := $(MLOPS_PLATFORM_CACHE)/uv/bin/uv
ENV := $(MLOPS_PLATFORM_CACHE)/environments/$(lock)
DEV := $(ENV)-dev
PLATFORM = $(ENV)/bin/python tools/verbs.py
CHECK = PATH=$(DEV)/bin:$$PATH $(DEV)/bin/python tools/check.py

preflight: $(ENV)/.ready ## check inventory, machine and cluster, touch nothing: 0 all is well, 2 refused
	@$(PLATFORM) preflight --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
up: $(ENV)/.ready ## make the platform: cluster, images, components, a first model
	@$(PLATFORM) up --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
site: $(ENV)/.ready ## provision and validate the components of INVENTORY
	@$(PLATFORM) site --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
validate: $(ENV)/.ready ## run the checks, with FULL=yes also those of minutes: 0 healthy, 1 unhealthy, 2 could not check
	@$(PLATFORM) validate --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
dashboards: $(ENV)/.ready ## draw the dashboards from the live Prometheus into reports/latest/dashboards.html
	@$(PLATFORM) dashboards --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
images: $(ENV)/.ready ## build the images of the components and push them to the registry
	@$(PLATFORM) images --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
down: $(ENV)/.ready ## stop the embedded cluster and remove what it made, but no data
	@$(PLATFORM) down --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
clean: $(ENV)/.ready ## the same, and remove its data too (asks first, or CONFIRM=yes)
	@$(PLATFORM) clean --inventory $(INVENTORY) $(if $(OPTIONS),-- $(OPTIONS))
shell: $(ENV)/.ready ## a shell with kubectl, KUBECONFIG, MLFLOW_* and AWS_* set
	@$(PLATFORM) shell --inventory $(INVENTORY)
test: $(DEV)/.ready ## lint, unit, golden, rules and Molecule tests; starts and removes its own cluster
	@$(CHECK) all
lint unit golden rules molecule faults: $(DEV)/.ready ## one part of the tests; STEP=ruff for one step of it
	@$(CHECK) $@ --step=$(STEP)
bench: $(DEV)/.ready ## measure how fast the platform applies, beside kubectl; needs a cluster that is up
	@PYTHONPATH=tests $(DEV)/bin/python -m bench --inventory $(INVENTORY) $(OPTIONS)
bench-serving: $(DEV)/.ready ## measure how fast models answer, and how pods follow the load
	@PYTHONPATH=tests $(DEV)/bin/python -m bench.serving --inventory $(INVENTORY) $(OPTIONS)
dev: $(DEV)/.ready ## set up a contributor's checkout: environment and pre-commit's hook
	@$(DEV)/bin/pre-commit install
	@printf '%s\n' "Ready. Each commit is checked now; the programs are in $(DEV)/bin" \
	  "Next: make lint unit golden, then make up to try it; CONTRIBUTING.md says the rest"
docs: $(DEV)/.ready ## build the documentation's site into .ansible/docs/site
	@$(DEV)/bin/python tools/docs.py
release: $(DEV)/.ready ## build the archive of VERSION and its notes into .ansible/release
	@$(DEV)/bin/python tools/release.py $(VERSION)
environment: $(DEV)/.ready ## write the build context of the execution environment into .ansible/environment
	@$(DEV)/bin/python tools/execution_environment.py
help: ## this list
	@sed -nE 's/^([a-z -]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 30

$(UV):
	@echo "installing uv" && (python3 -m venv $(MLOPS_PLATFORM_CACHE)/uv >/dev/null 2>&1 \
	  || (apt-get update -q && apt-get install -qy python3-venv && python3 -m venv $(MLOPS_PLATFORM_CACHE)/uv))
	@$(MLOPS_PLATFORM_CACHE)/uv/bin/pip install -q --require-hashes -r tools/uv.txt
$(ENV)/.ready: $(UV)
	@echo "installing the locked Python packages (half a minute)" && UV_PROJECT_ENVIRONMENT=$(ENV) $(UV) sync -q --frozen --no-dev && touch $@
$(DEV)/.ready: $(UV)
	@echo "installing the locked Python packages (half a minute)" && UV_PROJECT_ENVIRONMENT=$(DEV) $(UV) sync -q --frozen && touch $@

.PHONY: preflight up site validate dashboards images down clean shell test lint unit golden rules molecule faults bench bench-serving dev docs release environment help
