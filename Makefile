# Everything here makes its own environment and needs nothing but a Python >= 3.11 with venv.
#   make test PYTHON=python3.13     uses that Python, in an environment of its own
# Repeat runs start at once: an environment is made again only when pyproject.toml or the build hook has changed.

ifdef PYTHON
  PYTHONS := $(PYTHON)
  VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
else
  PYTHONS := python3 python python3.14 python3.13 python3.12 python3.11
  VENV := .venv
endif

CMD ?=
ARGS ?=
SEED ?=
COUNT ?=
PY := $(VENV)/bin/python
LOWEST := .venv-lowest
SOURCES := pyproject.toml $(wildcard hatch_build.py supervisor/host/_launch.c supervisor/host/_sentry.c)
PIP := -m pip install --quiet --quiet --disable-pip-version-check --no-input

# An environment whose Python is gone, or that was made for another place, is made again.
current = $(if $(filter-out $(CURDIR),$(shell test -x $(1)/bin/python && cat $(1)/.made 2>/dev/null || echo none)),$(shell rm -f $(1)/.made))
$(call current,$(VENV))
$(call current,$(LOWEST))

.DEFAULT_GOAL := help
.PHONY: help run test test-lowest check bench oracle chaos endurance mutation clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1	\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: $(VENV)/.ready-run ## Run the demo; make run CMD="claude" runs a command, ARGS="--warning 2GiB" adds options
ifeq ($(strip $(CMD)),)
	@$(PY) -m supervisor demo $(ARGS)
else
	@$(PY) -m supervisor run $(ARGS) -- $(CMD)
endif

test: $(VENV)/.ready-dev ## Run the tests; ARGS="-k pressure" chooses some
	$(PY) -m pytest $(ARGS)

test-lowest: $(LOWEST)/.ready-dev ## Run the tests with the oldest dependencies that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider $(ARGS)

check: $(VENV)/.ready-dev ## Check format, style, types and layers, and build the package
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m mypy --platform darwin --cache-dir .mypy_cache/darwin supervisor workers
	$(PY) -m mypy --platform win32 --cache-dir .mypy_cache/win32 supervisor workers
	$(VENV)/bin/lint-imports
	$(PY) -m hatchling build -d build/check

bench: $(VENV)/.ready-run ## Measure, and print each figure beside its floor; ARGS goes to the suite
	$(PY) -m benchmarks $(ARGS)

oracle: $(VENV)/.ready-dev ## Compare with the real Erlang supervisor; SEED=7 COUNT=500 choose the scenarios
	@tools/install-optional.sh erlang
	@$(PY) -m tests.conformance.fresh $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(ARGS)

chaos: $(VENV)/.ready-dev ## Random faults to random trees of real processes, for ten minutes; ARGS="--seed 7 --seconds 60"
	$(PY) -m tests.chaos $(ARGS)

endurance: $(VENV)/.ready-dev ## An hour of work of Claude Code with a server that leaks, a turn each ten seconds, and fifty restarts; in some ten minutes
	@tools/install-optional.sh claude
	CLAUDE_TURNS=360 CLAUDE_RESTARTS=50 $(PY) -m pytest tests/e2e/test_claude_long.py -s -v --durations=0 -o faulthandler_timeout=7200 $(ARGS)

mutation: $(VENV)/.ready-dev ## Change the pure core in every small way, and see whether its tests notice
	$(PY) tools/mutation.py $(ARGS)

clean: ## Remove environments, caches and build results
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python of $(PYTHONS) that is new enough makes the environment.
define make_environment
	@chosen=; seen=; \
	for python in $(PYTHONS); do \
	  version=$$($$python -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
	  seen="$$seen $$python is $$version;"; \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then chosen=$$python; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "memory-guardian needs Python 3.11 or newer.$${seen:- None of these runs: $(PYTHONS).}" >&2; \
	  echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	if ! $$chosen -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$chosen ($$version) lacks venv or pip. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "making $(@D) with $$chosen ($$version)"; \
	$$chosen -m venv --clear $(@D)
endef

define install
	@$(1)/bin/python $(PIP) $(2) || { \
	  echo "The dependencies could not be installed: is a package index reachable?" >&2; exit 1; }
	@touch $@
endef

$(VENV)/.made:
	$(make_environment)
	@echo '$(CURDIR)' > $@

$(VENV)/.ready-run: $(VENV)/.made $(SOURCES)
	$(call install,$(VENV),--editable .)

# The package is built without isolation below, so that `make check` works offline.
$(VENV)/.ready-dev: $(VENV)/.made $(SOURCES)
	$(call install,$(VENV),--editable '.[dev]')
	@touch $(VENV)/.ready-run

$(LOWEST)/.made:
	$(make_environment)
	@echo '$(CURDIR)' > $@

$(LOWEST)/.ready-dev: $(LOWEST)/.made $(SOURCES)
	@$(LOWEST)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
	  | sed 's/>=/==/' > $(LOWEST)/constraints.txt
	$(call install,$(LOWEST),--constraint $(LOWEST)/constraints.txt --editable '.[dev]')
