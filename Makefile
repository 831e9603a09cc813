# Copyright: berth.django contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

SHELL := /bin/sh
.DEFAULT_GOAL := help

# What is installed for us comes first; nothing on this machine has to be activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

INVENTORY ?= inventories/lab
# More arguments for ansible-playbook, such as ARGS='--check --diff'.
ARGS ?=
# Backups, and the cluster's seven machines, come with the long tables alone.
SCENARIOS ?= host postgres django_uwsgi nginx haproxy single default release apart projects $(if $(FAULTS),pgbackrest postgres_cluster)
# The disk that the scenarios' builder keeps between them.
export BERTH_LAB_CACHE ?= berth-molecule

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: lab
lab: venv machine ## Make five hosts on this machine, with the example site on them, and print its addresses
	ansible-playbook site.yml -i $(INVENTORY) $(ARGS)
	@scripts/addresses $(INVENTORY)

.PHONY: lab-down
lab-down: venv machine ## Remove every trace of the lab
	ansible-playbook playbooks/lab_down.yml -i $(INVENTORY) $(ARGS)

.PHONY: test
test: ## Run lint, unit tests, tests with an engine, and the Molecule scenarios
	@set -e; for targets in "--jobs=2 --output-sync=target lint unit" integration scenarios; do \
	    began=$$(date +%s); \
	    $(MAKE) --no-print-directory $$targets; \
	    echo "The target $${targets##*=target } took $$(($$(date +%s) - began)) s."; \
	done

.PHONY: test-faults
test-faults: ## Run the scenarios with the long tables of faults
	$(MAKE) scenarios FAULTS=long

.PHONY: lint
lint: venv-dev ## Check style, types and Ansible's own rules
	ruff check .
	ruff format --check .
	mypy
	yamllint .
	antsibull-changelog lint
	ansible-lint

.PHONY: unit
unit: venv-dev ## Run the unit tests, and those of the sample project, which need no Docker
	pytest
	cd examples/music && LOG_LEVEL=CRITICAL HTTPS=false SECRET_KEY=only-for-its-own-tests DATABASE_URL=sqlite:///:memory: python manage.py test

.PHONY: integration
integration: venv-dev machine ## Run the tests of container_service with real containers
	pytest tests/integration

# Long faults are left out unless they are asked for.
.PHONY: scenarios
scenarios: venv-dev machine ## Run the Molecule scenarios: SCENARIOS='nginx haproxy' runs some of them
	set -e; for scenario in $(SCENARIOS); do \
	    began=$$(date +%s); \
	    PYTEST_ADDOPTS="$(if $(FAULTS),,-m 'not long')" molecule test -s $$scenario; \
	    echo "The scenario $$scenario took $$(($$(date +%s) - began)) s."; \
	done

.PHONY: bench
bench: venv-dev ## Time an unchanged run of the lab beside stock tasks for the same files and containers
	tests/bench/run --at-least 6

.PHONY: clean
clean: ## Remove what the scenarios keep between them
	-docker volume rm $(BERTH_LAB_CACHE)-docker $(BERTH_LAB_CACHE)-berth

.PHONY: venv
venv:
	@scripts/venv requirements.txt

.PHONY: venv-dev
venv-dev:
	@scripts/venv requirements-dev.txt

# What the lab needs of this machine: an engine, and what Ansible calls to reach the hosts.
.PHONY: machine
machine:
	@scripts/need 'command -v ssh && command -v ssh-keygen' openssh-client
	@scripts/engine
