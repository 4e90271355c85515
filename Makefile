# Wraps the scripts; each of them sets up what it needs. `make help` lists all.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
LAB := .venv/bin/tandem-lab
RUNS ?= 5
MOVES ?= 10
PROFILE ?= Default
SEQUENCES ?= 1..40
CONFORMANCE_DIR ?= /var/tmp/lab-conformance
COUNT ?= 20
JOBS ?= 2
SEEDS ?= 1..1000
DRBD ?= 8

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'

.PHONY: demo
demo: ## a site burns down, its guest goes on at the other: live, on real parts (root)
	@scripts/demo

.PHONY: test
test: ## everything: check, a real API server, the lab (root)
	@scripts/test

.PHONY: check
check: ## before every commit: lint, types, imports, sizes, unit tests, scenarios
	@scripts/check

.PHONY: model
model: ## explore the Spin models of the protocol (docs/model.md; installs Debian's spin)
	@scripts/model

.PHONY: lint
lint: ## only what needs no test run
	@scripts/lint

.PHONY: format
format: bootstrap ## let ruff lay out the code and fix what it can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

.PHONY: crds
crds: bootstrap ## write crds/*.yaml again from the types
	@$(PYTHON) -m tandem_api.crd.crdgen crds

.PHONY: policies
policies: bootstrap ## write manifests/policies/*.yaml again from the rules
	@$(PYTHON) -m tandem_api.crd.policygen

.PHONY: alerts
alerts: bootstrap ## write the Prometheus operator's rules again from the plain ones
	@$(PYTHON) manifests/monitoring/wrap_rules.py

.PHONY: fuzz
fuzz: bootstrap ## random faults in the simulator, checked at every step (SEEDS=1..1000 JOBS=2 DRBD=8)
	@.venv/bin/tandem-sim fuzz --seeds $(SEEDS) --jobs $(JOBS) --drbd $(DRBD)

.PHONY: fuzz-lasting
fuzz-lasting: bootstrap ## the same, and something stays broken: who can run must (SEEDS=1..1000 JOBS=2)
	@.venv/bin/tandem-sim fuzz --lasting --seeds $(SEEDS) --jobs $(JOBS) --drbd $(DRBD)

.PHONY: pods
pods: bootstrap ## the operator as pods, in a cluster with real nodes: losses, upgrade, rights (root)
	@$(PYTHON) -m tandem_lab.pods

.PHONY: lab-up
lab-up: bootstrap ## start the lab with Tandem in it and leave it running (root)
	@$(LAB) up --fresh

.PHONY: lab-down
lab-down: bootstrap ## stop the lab
	@$(LAB) down

.PHONY: live-moves
live-moves: bootstrap ## guests move as they run, on real kernels, and something breaks in the middle (root)
	@$(PYTHON) -m pytest -v tests/lab/test_live_moves.py

.PHONY: mutants
mutants: bootstrap ## break every safety rule in turn: the simulator must notice (COUNT=20 JOBS=2)
	@$(PYTHON) -m tandem_mutants --count $(COUNT) --jobs $(JOBS)

.PHONY: conformance
conformance: bootstrap ## simulated DRBD against two real kernels, random sequences (SEQUENCES=1..40) (root)
	@TANDEM_LAB_DIR=$(CONFORMANCE_DIR) TANDEM_LAB_NAMESPACE=lab-conformance \
		$(PYTHON) -m conformance random --seeds $(SEQUENCES)

.PHONY: drbd-upgrade
drbd-upgrade: bootstrap ## two hosts go to another DRBD, with a guest running (MODULES="FOLDER") (root)
	@$(PYTHON) -m tandem_lab.drbd_upgrade --back $(MODULES)

.PHONY: drbd-table
drbd-table: bootstrap ## what is proven on the lab's DRBD and on others, as a table (MODULES="FOLDER…") (root)
	@$(PYTHON) -m tandem_lab.drbd_table $(MODULES)

.PHONY: bench-takeover
bench-takeover: bootstrap ## from a site's death to the guest's first line (RUNS=5 PROFILE=Default)
	@$(PYTHON) -m tandem_lab.bench --runs $(RUNS) --profile $(PROFILE)

.PHONY: bench-move
bench-move: bootstrap ## how long a guest stands still as it moves while it runs, beside the bare parts (MOVES=10)
	@$(PYTHON) -m tandem_lab.bench_move --runs $(MOVES)

.PHONY: bench-idle
bench-idle: bootstrap ## what it costs when nothing happens: writes, memory, CPU
	@$(PYTHON) -m tandem_lab.bench_idle

.PHONY: bench-policies
bench-policies: bootstrap ## what the API server's own checks cost: one status patch, 1,000 takeovers
	@$(PYTHON) -m tandem_lab.bench_policies

.PHONY: bench-flood
bench-flood: bootstrap ## a host's heartbeats while a tenant floods the API server, with and without lanes
	@$(PYTHON) -m tandem_lab.bench_flood

.PHONY: bench-scale bench-scale-host bench-scale-controller
bench-scale: bench-scale-host bench-scale-controller ## both: hundreds of guests on a host, thousands in a cluster

bench-scale-host: bootstrap ## what hundreds of guests cost a host: idle, without the API, stopped, taken over (RUNS=5)
	@$(PYTHON) -m tandem_scale host --runs $(RUNS)

bench-scale-controller: bootstrap ## what thousands of guests cost the controller
	@$(PYTHON) -m tandem_lab.bench_scale controller

.PHONY: bootstrap
bootstrap:
	@scripts/bootstrap

.PHONY: kubernetes-matrix
kubernetes-matrix: bootstrap ## every supported Kubernetes: tests, takeover, upgrades (MINORS="1.36 1.37") (root)
	@$(PYTHON) -m tandem_lab.kubernetes_matrix $(MINORS)

.PHONY: play-upgrade
play-upgrade: bootstrap ## an upgrade from a revision and back, host by host, guests running (FROM="REVISION") (root)
	@$(PYTHON) -m tandem_lab.upgrade --back --from $(FROM)
