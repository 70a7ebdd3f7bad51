# `make` alone lists what there is to do. Everything installs itself into VENV on first use.

VENV    ?= .venv
PROFILE ?= default
# Threads of linear algebra in each process: one, so that results do not depend on the core count.
THREADS ?= 1
JOBS    ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
PYTHON3 ?= python3
ARGS    ?=

PYTHON    := $(VENV)/bin/python
INSTALLED := $(VENV)/.skmm-installed
BUILD     := build/$(PROFILE)
TOOLS     := build/tools
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb))
EXECUTED  := $(NOTEBOOKS:notebooks/%=$(BUILD)/%)
# Where other versions would show first: laws of selection, inputs of all kinds, solvers, training.
QUICK     := $(patsubst %,tests/test_%.py,properties inputs spectrum sketching simplex matching \
  design criteria rounding selection baselines ridge risk probing gradients rivals)
# What the site needs beside the lock: apart, so that nothing else is installed with it.
SITE_NEEDS := build/site-packages

# This checkout's modules win over those of whichever checkout the environment was installed for.
export PYTHONPATH := $(CURDIR)/lib
export OMP_NUM_THREADS := $(THREADS)
export OPENBLAS_NUM_THREADS := $(THREADS)
export MKL_NUM_THREADS := $(THREADS)
export VECLIB_MAXIMUM_THREADS := $(THREADS)
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env figures executed ledger verify test lowest newest resolved wheel guides dist audit lint types \
  bench data lock site site-check clean

help: ## list the targets and the settings
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Settings:  PROFILE=smoke|default|paper   size of the study        (now $(PROFILE))"
	@echo "             VENV=folder                   environment to use       (now $(VENV))"
	@echo "             JOBS=k                        processes side by side   (now $(JOBS))"
	@echo "             THREADS=k                     threads of each process  (now $(THREADS))"
	@echo '             ARGS="..."                    more arguments for pytest'

env: $(INSTALLED) ## install the exact versions of requirements.lock into VENV

# The stamp comes last, so an interrupted installation is taken up again.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "skmm needs Python 3.11 or newer, but $(PYTHON3) is $$($(PYTHON3) --version 2>&1);" \
	      "name another one with PYTHON3=..."; exit 1; }; \
	  $(PYTHON3) -m venv "$(VENV)"; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "skmm needs Python 3.11 or newer, but $(VENV) holds $$($(PYTHON) --version);" \
	    "remove it or name another folder with VENV=..."; exit 1; }
	@echo "Installing requirements.lock into $(VENV): 2 to 3 minutes the first time"
	@$(PYTHON) -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(PYTHON) -m pip install -qq --disable-pip-version-check \
	  --no-deps --no-build-isolation --editable .
	@touch $@

figures: $(INSTALLED) ## execute the notebooks whose sources changed; tables and figures of PROFILE
	@test -f notebooks/profiles/$(PROFILE).yaml || { \
	  echo "no profile $(PROFILE) among: $(notdir $(basename $(wildcard notebooks/profiles/*.yaml)))"; \
	  exit 2; }
	@test -n "$(NOTEBOOKS)" || { echo "no notebook notebooks/NN_name.ipynb to execute"; exit 2; }
	@mkdir -p $(BUILD) && rm -f $(BUILD)/*.failed
	@if $(MAKE) --question executed >/dev/null 2>&1; then \
	  echo "Nothing to execute: all $(words $(NOTEBOOKS)) notebooks are up to date (profile $(PROFILE))"; \
	else \
	  $(MAKE) --keep-going --jobs=$(JOBS) executed || { \
	    echo; cat $(BUILD)/*.failed 2>/dev/null; exit 1; }; \
	  echo "All $(words $(NOTEBOOKS)) notebooks are executed (profile $(PROFILE))"; \
	fi

# The longest ones first, so that the processes end together.
executed: $(filter $(BUILD)/05_% $(BUILD)/07_%,$(EXECUTED)) $(EXECUTED)

# An executed copy depends on its source, its parameters and the pinned versions, and by its
# dependency file on the modules and the data that the last run used.
$(BUILD)/%.ipynb: notebooks/%.ipynb notebooks/profiles/$(PROFILE).yaml requirements.lock | $(INSTALLED)
	@$(PYTHON) -m skmm_study.execution.runner $< --profile $(PROFILE)

# The ledger reads the committed tables of the others, which a run may just be writing anew.
$(BUILD)/00_ledger.ipynb: $(filter-out $(BUILD)/00_%,$(EXECUTED))

-include $(EXECUTED:.ipynb=.d)

ledger: $(INSTALLED) ## judge every statement by the tables as they lie: notebook 00 and README
	@$(PYTHON) -m skmm_study.execution.runner notebooks/00_ledger.ipynb
	@$(PYTHON) -m skmm_study.ledger.page

verify: $(INSTALLED) ## run PROFILE afresh and compare its tables with the committed ones
	@$(PYTHON) -m skmm_study.execution.verify --profile $(PROFILE) --jobs $(JOBS)

test: $(INSTALLED) ## run the tests on all cores, with line coverage
	@$(PYTHON) -m pytest -n $(JOBS) --dist worksteal --cov=skmm --cov=skmm_cli --cov=skmm_scale --cov=skmm_study $(ARGS)

lowest: ## run the quick tests with the lowest versions that pyproject.toml allows (needs uv)
	@$(MAKE) resolved RESOLUTION=lowest-direct ARGS="-W default $(ARGS)"

newest: ## run the quick tests with the newest versions there are, whatever the lock says (needs uv)
	@$(MAKE) resolved RESOLUTION=highest

# Warnings of versions that are years old are nothing to mend; those of the newest ones are.
resolved:
	@uv venv --quiet --clear --python 3.11 build/$(RESOLUTION)
	@uv pip install --quiet --python build/$(RESOLUTION)/bin/python --resolution $(RESOLUTION) ".[test]"
	@build/$(RESOLUTION)/bin/python -m pytest -n $(JOBS) $(QUICK) $(ARGS)

wheel: $(INSTALLED) ## build the wheel; run the documentation's examples where it alone is installed
	@SKMM_WHEEL=1 $(PYTHON) -m pytest tests/test_wheel.py $(ARGS)

guides: $(INSTALLED) ## follow the guides in clean environments, with a stopwatch (takes the network)
	@$(PYTHON) .ci/guides.py $(ARGS) --out figures/guides/times.md

dist: $(TOOLS)/.installed ## build wheel and sdist of a release in build/dist and check what they say
	@rm -rf build/dist
	@$(TOOLS)/bin/python -m build --outdir build/dist .
	@$(TOOLS)/bin/python -m twine check --strict build/dist/*

audit: $(INSTALLED) $(TOOLS)/.installed ## licences and known vulnerabilities of what the lock installs
	@$(TOOLS)/bin/python .ci/audit.py --python $(PYTHON) --out figures/audit/packages.md

$(TOOLS)/.installed: .ci/tools.txt
	@$(PYTHON3) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

lint: $(INSTALLED) types ## check style, format and types of modules, tests and notebooks
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: $(INSTALLED) ## check the types of the library
	@$(PYTHON) -m ty check --python $(VENV)

bench: $(INSTALLED) ## time selection and sketches; table and CSV in figures/bench
	@$(PYTHON) benchmarks/bench.py --out figures/bench

data: $(INSTALLED) ## fetch Stanford Cars from its pinned mirror into SKMM_DATA (or data/)
	@$(PYTHON) -m skmm_study.vision.mirror

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --extra test --extra study \
	  --upgrade --no-emit-index-url --no-annotate --no-header --output-file requirements.lock

site: $(SITE_NEEDS)/.installed ## build the site in build/site from the executed copies; runs no notebook
	@$(PYTHON) -m skmm_study.site.prepare --into build/site-source --copies build/default
	@PYTHONPATH="$(PYTHONPATH):$(SITE_NEEDS)" $(PYTHON) -m sphinx -q -W --keep-going \
	  -b html -c docs build/site-source build/site
	@echo "The site is built: open build/site/index.html"

site-check: site ## visit every page of the site in Chromium: links, formulas, phone, dark, search
	@PYTHONPATH="$(PYTHONPATH):$(SITE_NEEDS)" $(PYTHON) docs/check.py build/site

$(SITE_NEEDS)/.installed: docs/requirements.txt | $(INSTALLED)
	@echo "Installing docs/requirements.txt into $(SITE_NEEDS): about a minute"
	@rm -rf $(SITE_NEEDS)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps \
	  --target $(SITE_NEEDS) -r docs/requirements.txt
	@touch $@

clean: ## remove executed copies, logs and caches; keeps VENV, data and figures
	@rm -rf build .pytest_cache .ruff_cache .coverage .coverage.*
	@find lib tests -type d -name __pycache__ -prune -exec rm -rf {} +
