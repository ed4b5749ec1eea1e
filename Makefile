# Every target is a plain command; CI calls the same ones.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What `make perf` compares, see `python -m perf compare --help`: ours alone, or beside B. SCENARIOS, POINTS: several, by blanks.
A ?= own
B ?=
LRPS ?= 10000
ROUNDS ?= 2
SCENARIOS ?= all
POINTS ?=
RESULTS ?= perf/results
SEED ?=
SEEDS ?= 20
FAILURES ?= 20
ONLY ?=
SCHEDULES ?=
SCHEDULE ?=
# How many at a time. Tests wait for other processes and clocks a third of their time, so three keep two cores busy.
JOBS ?= 3
# Whatever is installed is in a lock, with the hash of each of its files. `--only-binary`: a package that had to be built
# here would fetch what it is built with, which no lock names.
INSTALL := -m pip install --quiet --quiet --no-input --disable-pip-version-check --root-user-action=ignore
LOCKED := $(INSTALL) --require-hashes --only-binary :all: -r
TOOLS := .venv-tools
# Patroni, for the tests of a cluster that fails over.
CLUSTER := .venv-cluster
# `make lock UPGRADE=--upgrade` for newer versions.
UPGRADE ?=
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' $(UPGRADE)
# What needs seconds.
QUICK := -m 'not postgres and not mariadb and not slow'

# The suite starts hundreds of servers: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup serve demo test test-packages test-fast test-interpreters check sim cluster cluster-packages format proto wheel lock audit perf docs clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(STAMP): pyproject.toml locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "this needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not: make PYTHON=python3.13 ..."; exit 1; }
	@echo "setting up $(VENV): a minute or so"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(LOCKED) locks/dev.txt
	@$(BIN)/python $(INSTALL) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# .git is a directory in a clone, a file in a worktree, and absent from a tarball (which may lie in somebody else's repository).
setup: $(STAMP)  ## virtual environment with the package in editable mode, and the hook before commits
	@if [ -e .git ]; then git config core.hooksPath .githooks || echo "no hook before commits: see above"; fi

serve: $(STAMP)  ## start a server on its embedded default (http://127.0.0.1:8889, data in ./bbs-data)
	@$(BIN)/bbs serve

demo: $(STAMP)  ## start a server with a simulated fleet to look at
	@$(BIN)/bbs demo

format: $(STAMP)  ## rewrite formatting
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(STAMP)  ## formatting, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(STAMP) check test-packages cluster-packages  ## everything, as CI runs it
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-fast: $(STAMP)  ## the suite that needs seconds: no Postgres, nothing slow
	$(BIN)/python -m pytest $(QUICK)

test-interpreters:  ## test-fast on every Python that is supported and found, each in a .venv-3.x of its own
	$(PYTHON) tools/interpreters.py $(QUICK)

sim: $(STAMP)  ## the simulated fleet with more seeds (SEEDS=50), one again (SEED=7 ONLY=chaos); schedules of faults (SCHEDULES=5000, SCHEDULE=file.json)
ifneq ($(SCHEDULES)$(SCHEDULE),)
	$(BIN)/python -m tests.simulation $(if $(SCHEDULE),--replay $(SCHEDULE) --shrink,--seeds $(SCHEDULES) --jobs $(JOBS))
else
	SIM_SEED=$(SEED) SIM_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/simulation $(if $(ONLY),-k $(ONLY))
endif

# MariaDB, etcd, PgBouncer, Ruby and the like are Debian's packages: installed if root may, else taken from where they are, if they
# are. What is missing then is said here, and by the tests that are skipped for it.
test-packages: $(STAMP)
	@$(BIN)/python -m tests.debian_packages --install

cluster-packages: $(STAMP) test-packages
	@$(MAKE) --no-print-directory $(CLUSTER)/.installed || echo "no Patroni: see above"

# Patroni's client for etcd and its ydiff come as source only. They are built from the files that the lock names, with what
# the other lock names.
$(CLUSTER)/.installed: locks/cluster.txt locks/cluster-build.txt
	@$(PYTHON) -m venv $(CLUSTER)
	@$(CLUSTER)/bin/python $(LOCKED) locks/cluster-build.txt
	@$(CLUSTER)/bin/python $(INSTALL) --require-hashes --only-binary :all: --no-binary python-etcd,ydiff --no-build-isolation \
	  -r locks/cluster.txt
	@touch $@

cluster: cluster-packages  ## a Patroni cluster that is failed over again and again under writes (FAILURES=20 SEED=7)
	$(BIN)/python -m tests.cluster --rounds $(FAILURES) $(if $(SEED),--seed $(SEED))

proto: $(STAMP)  ## regenerate bbs/models/pb from its .proto files, and docs/protocol-reference.md from these and the route table
	$(BIN)/python tools/generate_protos.py
	$(BIN)/python tools/protocol_page.py

wheel: $(STAMP)  ## the wheel and the sdist in dist, and beside the wheel the list of all that it needs (SBOM)
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/python tools/sbom.py dist

$(TOOLS)/.installed: locks/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python $(LOCKED) locks/tools.txt
	@touch $@

# The first is compiled on its own; what is installed beside or instead of it has the same versions.
lock: $(TOOLS)/.installed  ## write locks/ again after a change in pyproject.toml; UPGRADE=--upgrade for newer versions
	$(COMPILE) --extra dev --extra mysql --group build pyproject.toml -o locks/dev.txt
	$(COMPILE) -c locks/dev.txt pyproject.toml -o locks/server.txt
	$(COMPILE) -c locks/dev.txt --extra mysql pyproject.toml -o locks/mysql.txt
	$(COMPILE) -c locks/dev.txt --extra perf pyproject.toml -o locks/perf.txt
	$(COMPILE) --group tools -o locks/tools.txt
	$(COMPILE) --group cluster -o locks/cluster.txt
	$(COMPILE) --group cluster-build -o locks/cluster-build.txt

# AUDIT='--vulnerability-service osv' asks another source than the package index.
AUDIT ?=
audit: $(TOOLS)/.installed  ## known vulnerabilities of what the locks pin; needs the network
	@$(TOOLS)/bin/python tools/audit.py $(AUDIT)

$(STAMP)-perf: $(STAMP) locks/perf.txt
	@$(BIN)/python $(LOCKED) locks/perf.txt
	@touch $(STAMP)-perf

perf: $(STAMP)-perf  ## every figure of docs/performance.md again: a page and JSON in perf/results (15 minutes; B='https://…' beside ours)
	$(BIN)/python -m perf compare --a '$(A)' $(if $(B),--b '$(B)') $(SCENARIOS:%=--scenario %) $(POINTS:%=--points %) \
	  --lrps $(LRPS) --rounds $(ROUNDS) --html $(RESULTS)/page.html --json $(RESULTS)/figures.json
	@echo "$(RESULTS)/page.html has the plots, $(RESULTS)/figures.json each round"

# Material announces a successor at each start; nothing here hangs on that.
docs: $(STAMP)  ## the documentation as a site in ./site, with its links checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html is the first page"

clean:  ## remove the virtual environments and caches; ./bbs-data stays
	rm -rf $(VENV) $(VENV)-3.* $(TOOLS) $(CLUSTER) .mypy_cache .pytest_cache .ruff_cache .hypothesis site
