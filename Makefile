# SPDX-License-Identifier: MIT
# All verbs of the project. `make help` explains them.

KERNEL ?= 6.1
# Number of tests that run at a time. Tests that measure time always run alone.
JOBS ?= 2
PYTEST_ARGS ?=
RUNS ?= 10000000
ZOO ?=

FUZZ_ARGS ?=
SIZE ?= full
SCENARIO ?=
PAIRS ?=
MUTANTS ?=
CLIENT ?=
INTERRUPTS ?=
# For `make torture`: test names, a number, minutes.
TEST ?=
SEED ?= 1
DURATION ?=

comma := ,
PYTHON := .venv/bin/python
SHIRQ := .venv/bin/shirq
DEPS := python3 harness/shirq_bench/provision/deps.py
PYTEST := $(PYTHON) -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist worksteal)
# pytest's options for a report called $(1), as XML and HTML.
reports = --junitxml=build/reports/$(1).xml --html=build/reports/$(1).html --self-contained-html

.DEFAULT_GOAL := help
.PHONY: help deps qemu kmod guest demo shell vm-test check test test-rest test-device coverage long smoke matrix examples sweep explore zoo mutants promises torture fast clients rewinds bench bench-guard packages docs lint format lock clean \
	fuzz-examples fuzz-program fuzz-device

help: ## Show this list.
	@awk 'BEGIN { FS = ":.*## "; print "make VERB [KERNEL=6.1]\n" } \
	     /^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2; next } \
	     /^## / { printf "  %-13s %s\n", "", substr($$0, 4) }' Makefile
	@echo
	@sed -n 's/^# \?//p' $(USER_SET)
	@echo
	@echo "Expensive builds are kept in $${SHIRQ_CACHE:-$${XDG_CACHE_HOME:-~/.cache}/shirq}; results go to build/."

deps: .venv/complete ## Install what the project needs: system packages and the virtual environment.
## Every verb installs what it needs itself; this installs everything in advance.
	@$(DEPS) python qemu guest debug-kernel browser bench lint packages

.venv/complete: requirements.lock pyproject.toml
	@$(DEPS) python
	python3 -m venv --clear .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: guest-deps
guest-deps: .venv/complete
	@$(DEPS) qemu guest $(if $(COMPILES)$(findstring debug,$(KERNEL))$(findstring kcsan,$(KERNEL))$(filter all,$(KERNEL)),debug-kernel)

# Some cases and mutants have an instrumented kernel of their own, whatever KERNEL is.
zoo mutants: COMPILES = $(filter full,$(SIZE))

qemu: guest-deps ## Build QEMU with the emulated device and the line probe in it.
	@$(SHIRQ) build qemu

kmod: guest-deps ## Build shirq.ko for KERNEL.
	@$(SHIRQ) build module $(KERNEL)

guest: guest-deps ## Build the guest's image for KERNEL.
	@$(SHIRQ) build image $(KERNEL)

demo: guest-deps ## Boot three functions on one shared line, drive them, kill a driver; show the line's activity.
## Prints a verdict; writes a page into build/demo/. The first run takes 4 to 11 minutes and 2.2 GiB, later runs 20 s.
	@$(SHIRQ) demo --kernel $(KERNEL)

shell: guest-deps ## Boot the demo's guest and attach this terminal to its console (Ctrl-] leaves).
	@$(SHIRQ) shell --kernel $(KERNEL)

.PHONY: browser-deps packages-deps
browser-deps: .venv/complete
	@$(DEPS) browser

packages-deps: .venv/complete
	@$(DEPS) packages

test: browser-deps ## Run the host's tests: no VM, no QEMU.
	@$(PYTEST) tests/host -m "not long" $(call reports,host) $(PYTEST_ARGS)

test-device: guest-deps ## Run the emulated device's tests through qtest: no guest is booted.
	@$(PYTEST) tests/device -m "not long" $(call reports,device) $(PYTEST_ARGS)

fuzz-device: guest-deps ## Fuzz the emulated device in a QEMU built with sanitizers: a million accesses.
## More: make fuzz-device FUZZ_ARGS="--accesses 10000000 --seed 7".
	@$(SHIRQ) fuzz $(FUZZ_ARGS)

# The instrumented kernel counts the lines of kmod/ that run.
COUNTING := $(if $(findstring debug,$(KERNEL))$(filter all,$(KERNEL)),yes)

# The tests of `make vm-test`: each line of this file, except comments, is one of pytest's node ids.
USER_SET := tests/vm-test
in_set := $(shell grep -v '^\#' $(USER_SET))

vm-test: guest-deps ## Run the tests that show whether this installation works, on KERNEL: the list is below.
## The first run takes 3 to 8 minutes and 1.8 GiB. JOBS=1 runs one test at a time. Reports go to build/reports/.
	@$(PYTEST) $(in_set) --shirq-kernel $(KERNEL) $(call reports,vm-test) $(PYTEST_ARGS)

check: ## Run every test on KERNEL: vm-test, test, test-rest and long, one after the other.
## 20 minutes on one kernel, 45 minutes on all (KERNEL=all), with warm caches; 3 GiB more than vm-test.
	@$(MAKE) --no-print-directory vm-test
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-rest
	@$(MAKE) --no-print-directory long

test-rest: guest-deps ## Run the device's and the guests' tests that vm-test leaves out, on KERNEL.
## KERNEL=debug also measures the line coverage of kmod/.
	@$(PYTEST) tests/device tests/guest tests/zoo -m "not long" $(in_set:%=--deselect=%) --shirq-kernel $(KERNEL) \
		$(if $(COUNTING),--shirq-coverage build/coverage) $(call reports,rest) $(PYTEST_ARGS)
	@$(if $(COUNTING),$(SHIRQ) coverage build/coverage)

coverage: ## Run the host's and the guests' tests on the debug kernel; at least 95 % of the lines of kmod/ must run.
	@$(MAKE) --no-print-directory KERNEL=debug guest-deps browser-deps packages-deps
	@$(PYTEST) tests/host tests/guest --shirq-kernel debug --shirq-coverage build/coverage \
		$(call reports,coverage) $(PYTEST_ARGS)
	@$(SHIRQ) coverage build/coverage --at-least 95

zoo: guest-deps ## Run every driver against bugs that really happened. Writes build/reports/zoo.json, zoo.html.
## SIZE=ci runs a few cases in minutes; `shirq zoo --help` explains how to run single cases.
	@$(SHIRQ) zoo all --size $(SIZE) --kernel $(KERNEL) $(ZOO)

# The figures of reliability need both kernels, so KERNEL's default does not apply here.
TORTURED := $(if $(filter command line environment,$(origin KERNEL)),$(KERNEL),6.1$(comma)debug)

torture: ## Kill owners, unbind devices, make random calls, thousands of times (docs/reliability.md): an hour per kernel.
## SIZE=tenth does a tenth, SIZE=ci takes minutes; TEST=kill runs one test; SEED=7 makes other choices; DURATION=600 continues for ten hours.
	@$(MAKE) --no-print-directory KERNEL=$(TORTURED) guest-deps
	@$(SHIRQ) torture --kernel $(TORTURED) --size $(SIZE) --seed $(SEED) $(if $(DURATION),--duration $(DURATION)) $(TEST)

fast: guest-deps ## Run the guest tests that are marked fast, on KERNEL: 5 s.
	@$(PYTHON) -m pytest tests/guest -m fast --shirq-kernel $(KERNEL) $(PYTEST_ARGS)

long: guest-deps browser-deps packages-deps ## Run the tests that take long, on KERNEL: torture, sweeps, suspends, statistics.
	@$(PYTEST) tests -m long --shirq-kernel $(KERNEL) $(call reports,long) $(PYTEST_ARGS)

bench: guest-deps ## Measure the cost of an interrupt and of a guest; writes build/reports/bench.json and bench.html.
## PART=cost, rate or guest measures only this part; KERNELS=6.1 only on this kernel. Use an idle machine.
	@$(DEPS) bench
	@$(SHIRQ) bench $(PART) $(if $(KERNELS),--kernel $(KERNELS))

bench-guard: guest-deps ## Compare shirq.ko's instructions per interrupt with the baseline; 2 % more is a failure.
## ACCEPT="the reason" makes the new counts the baseline.
	@$(SHIRQ) bench --guard $(if $(ACCEPT),--accept "$(ACCEPT)")

# All kernels, unless KERNEL names some.
matrix: guest-deps ## Run the smoke tests on each kernel of Debian, real-time ones included; write docs/matrix.md: 6 minutes.
	@$(SHIRQ) matrix --document $(if $(filter command line environment,$(origin KERNEL)),$(patsubst %,--kernel %,$(subst $(comma), ,$(KERNEL))))

smoke: guest-deps ## Run the few guest tests that every kernel must pass, on KERNEL (several with commas, or all).
	@$(PYTEST) tests/guest -m smoke --shirq-kernel $(KERNEL) $(call reports,smoke) $(PYTEST_ARGS)

examples: guest-deps ## Run the tests of the example projects, whose devices and drivers are not ours, on KERNEL.
	@cd examples/pci_serial && $(CURDIR)/$(PYTEST) --shirq-kernel $(KERNEL) --junitxml=$(CURDIR)/build/reports/examples.xml

sweep: guest-deps ## Inject an interrupt at every instruction while another is handled, on KERNEL; judge each point.
## SIZE=ci tries a few hundred instructions of each scenario. Findings are in build/sweep/ and can be replayed.
	@$(SHIRQ) sweep --kernel $(KERNEL) --size $(SIZE) $(SCENARIO)
## Then cross every operation with every stimulus; SCENARIO="close+dead" sweeps only one pair.
	@$(if $(SCENARIO),,$(SHIRQ) sweep --pairs --kernel $(KERNEL) --size $(SIZE))

clients: guest-deps ## Let UIO programs that were not written for shirq serve 10,000 interrupts each on a shared line.
## CLIENT="pynq devlib2" runs some; INTERRUPTS=100 is quick. The first run downloads PYNQ, 62 MB.
	@$(SHIRQ) clients $(CLIENT) --kernel $(KERNEL) $(if $(INTERRUPTS),--interrupts $(INTERRUPTS))

rewinds: guest-deps ## Measure rewinds of guests, and compare guests after a rewind with their beginning.
## CHECKS=10000 compares so many, 0.2 s each; by default 200.
	@$(SHIRQ) rewinds --kernel $(KERNEL) $(if $(CHECKS),--checks $(CHECKS))

explore: guest-deps ## Let one of two processors preempt the other at every instruction of an operation, on KERNEL.
## SIZE=ci takes minutes; PAIRS="arm~mask" explores one pair. Writes docs/explore.md if all pairs were explored.
	@$(SHIRQ) explore --kernel $(KERNEL) --size $(SIZE) $(if $(PAIRS),$(PAIRS),$(if $(filter full,$(SIZE)),--document))

determinism: guest-deps ## Replay runs of busy guests with two and four vCPUs, and compare log, registers and memory.
## REPLAYS=100 makes so many of each run, 2 s each; by default 8.
	@$(SHIRQ) determinism --kernel $(KERNEL) $(if $(REPLAYS),--replays $(REPLAYS))

fuzz-examples: browser-deps ## Run the host's property tests with new examples each time; make test uses fixed examples.
	@$(PYTEST) tests/host -m hypothesis --hypothesis-profile anew $(PYTEST_ARGS)

fuzz-program: .venv/complete ## Fuzz the program verifier and interpreter with sanitizers, RUNS=10000000 times.
	@$(DEPS) fuzz
	@$(MAKE) --no-print-directory -C tests/host/fuzz OUT=$(CURDIR)/build/fuzz RUNS=$(RUNS) PYTHON=$(CURDIR)/$(PYTHON)

mutants: guest-deps ## Put small bugs, one at a time, into copies of the product, and try whether the tests notice them.
## JOBS=2 tries two at a time; SIZE=ci a few that the commit selects; MUTANTS="stale-unmask two-owners" these two.
	@$(SHIRQ) mutants --kernel $(KERNEL) --jobs $(JOBS) --size $(SIZE) $(MUTANTS)

packages: .venv/complete ## Build sdists, wheels and Debian packages (shirq-dkms, python3-shirq) into build/packages/.
## The same commit and tools give the same bytes; SOURCE_DATE_EPOCH=SECONDS replaces the commit's time.
	@$(SHIRQ) build packages

promises: .venv/complete ## Check that each promise of kmod/'s documents has a test and a mutant; list the open points.
	@$(SHIRQ) promises

lint: guest-deps ## Check style, types, layers and licences: ruff, mypy, import-linter, reuse, checkpatch, sparse.
	@$(DEPS) lint
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@cd examples/pci_serial && $(CURDIR)/$(PYTHON) -m mypy
	@mkdir -p build && PYTHONPATH=guest .venv/bin/lint-imports --no-cache >build/imports || { cat build/imports; false; }
	@$(PYTHON) -m reuse lint --quiet || $(PYTHON) -m reuse lint --lines
	@$(SHIRQ) lint $(KERNEL)

# Both builds share the doctrees, so that the sources are read only once.
SPHINX := $(PYTHON) -m sphinx -W --keep-going -n -q -d build/doctrees

docs: .venv/complete ## Build the documentation as pages and manual pages into build/docs; every warning is an error.
	@rm -rf build/docs
	@$(SPHINX) -E -b html docs build/docs
	@$(SPHINX) -b man docs build/docs/man
	@echo "build/docs/index.html, build/docs/man"

format: .venv/complete ## Format the Python code.
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

lock: .venv/complete ## Resolve pyproject.toml's dependencies anew into requirements.lock.
	$(PYTHON) -m piptools compile --quiet --extra dev --generate-hashes --strip-extras --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-options -o requirements.lock pyproject.toml

clean: ## Delete everything that was built in the checkout; the cache is kept.
	rm -rf build .venv *.egg-info
