# Everything a person or a machine does with this repository. `make` alone tells what there is.
SHELL := /bin/bash
# uv and Go may have been put into the repository's own folder by tools/setup.
export PATH := $(CURDIR)/.forebay/uv/bin:$(CURDIR)/.forebay/go/bin:$(PATH)
# The machine's own Python, unless it is too old or another is asked for: distributions and container images compile it with
# profile-guided optimization; what pyenv compiles lacks that and takes a fifth more CPU.
UV_PYTHON := $(or $(UV_PYTHON),$(shell /usr/bin/python3 -c 'import sys; sys.version_info >= (3, 11) and print("/usr/bin/python3")' 2>/dev/null))
ifneq ($(UV_PYTHON),)
export UV_PYTHON
endif
RUN := uv run --locked --quiet

.DEFAULT_GOAL := help
.PHONY: help setup setup-bench setup-cluster images sbom demo test cluster-test lint fmt crds golden reference bench bench-verify bench-pace bench-claims bench-duplicates bench-operator faults fuzz clean

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: ## Install what this machine lacks (apt, uv) and the locked Python packages
	@tools/setup

setup-bench: ## The same, and Go, Java and Maven for the peers of the benchmarks
	@tools/setup bench

setup-cluster: ## The same, and containerd and Docker for images and for a Kubernetes node on this machine
	@tools/setup cluster

images: setup-cluster ## Build the images of operator, ingest and worker (BASE_IMAGE=…: on that, by this machine's Docker)
	@$(RUN) python -m tools.images

sbom: setup ## Write what each image has of Python packages, as CycloneDX, into dist/sbom
	@$(RUN) python -m tools.sbom

demo: setup ## Run the main job once, visibly: a burst, a failing destination, a killed broker; nothing lost
	@$(RUN) python -m demo

test: setup-bench ## Run every test: pure, real brokers (RabbitMQ 3.10, 4.0, 4.3), real processes
	@$(RUN) pytest --numprocesses=3 --dist=loadfile $(TESTS)

cluster-test: setup-cluster ## Bring up a Kubernetes node in a box and play whole stories on it (KUBECONFIG=…: on that cluster; KIND=1: on kind; LONG=1: kill for longer)
	@$(RUN) pytest -m cluster -o cache_dir=.forebay/pytest-cluster --durations=12 tests/cluster $(TESTS)

lint: setup ## ruff, mypy --strict, import contracts, generated files in step
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy core/src operator/src ingest/src worker/src cli/src
	$(RUN) mypy tests demo bench tools/*.py
	$(RUN) lint-imports
	$(RUN) python -m forebay.crd | diff -u crds/forebay.dev_webhooksources.yaml - || (echo "crds/ is out of step: run make crds"; exit 1)
	diff -u crds/forebay.dev_webhooksources.yaml charts/forebay/files/crds/forebay.dev_webhooksources.yaml || (echo "the chart's CRD is out of step: run make crds"; exit 1)

fmt: ## Format, and fix what ruff can fix
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

crds: ## Write crds/ from the typed model
	@$(RUN) python -m forebay.crd | tee crds/forebay.dev_webhooksources.yaml > charts/forebay/files/crds/forebay.dev_webhooksources.yaml

golden: ## Rewrite the golden files of the rendered objects; review the diff
	@GOLDEN=1 $(RUN) pytest -q tests/desired/test_goldens.py tests/manifests/test_rejected.py tests/chart/test_goldens.py

reference: ## Rewrite what is generated: docs/reference, docs/rbac.md, the chart's README, the figures of docs/failure-model.md
	@$(RUN) python -m forebay.reference > docs/reference/webhooksource.md
	@$(RUN) python tools/metrics_reference.py
	@$(RUN) python tools/cli_reference.py
	@$(RUN) python tools/chart_reference.py
	@$(RUN) python tools/rights_reference.py
	@$(RUN) python tools/providers_reference.py
	@$(RUN) python -m bench.faults.page

bench: setup-bench ## Measure ingest and worker against their peers, and verifying (25 min; QUICK=1: 5 min) into bench/results
	@failed=0; for part in verify ingest worker; do $(RUN) python -m bench.$$part $(if $(QUICK),--quick) || failed=1; done; exit $$failed

bench-verify: setup ## Measure what verifying one webhook costs, for each provider (20 s) into bench/results
	@$(RUN) python -m bench.verify $(if $(QUICK),--quick)

bench-pace: setup-bench ## Measure order under kills, fairness and importance (15 min; QUICK=1: 5 min) into bench/results
	@failed=0; for part in ordering fairness importance; do $(RUN) python -m bench.$$part $(if $(QUICK),--quick) || failed=1; done; exit $$failed

bench-operator: setup-bench ## Measure the operator at 1,000 sources (8 min; QUICK=1: 100 sources, 2 min) into bench/results
	@$(RUN) python -m bench.operator $(if $(QUICK),--quick)

bench-claims: setup-bench ## Measure twenty bodies of 100 MiB at once, and a storage that fails (3 min; QUICK=1: 8 MiB, 2 min) into bench/results
	@$(RUN) python -m bench.claims $(if $(QUICK),--quick)

bench-duplicates: setup ## Measure what dropping duplicates costs, beside a Valkey or Redis if there is one (30 s) into bench/results
	@$(RUN) python -m bench.duplicates $(if $(QUICK),--quick)

faults: setup-bench ## Kill everything under load and account for every webhook (LONG=1: half an hour, into bench/results)
	@$(RUN) python -m bench.faults $(if $(LONG),--long)

fuzz: setup ## Send an endpoint whatever strangers might, beside legitimate webhooks (3 min; QUICK=1: 30 s) into bench/results
	@$(RUN) python -m bench.fuzz $(if $(QUICK),--quick)

clean: ## Remove what was built in the tree (not the cache in ~/.cache/forebay)
	@rm -rf .venv .forebay .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
