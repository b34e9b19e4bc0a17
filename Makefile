# Every target sets itself up on a fresh machine: own virtual environments under .venv, compiler checked, package built.
#
#   make test             the tests, on the installed wheel            PYTHON=python3.12 make test
#   make run              the main job: the loader flow on a real MCP server, stock asyncio and aionest side by side
#   make cpython          CPython's own test_asyncio with aionest applied, compared with stock by test id;
#                         MODE=apply-close: with apply(close_loop=True)
#   make suites           other projects' own tests, on stock asyncio and with aionest applied, compared by test id (an hour);
#                         SUITES="anyio starlette" for some; make suites-ci for a choice that takes five minutes
#   make streamlit        the app on the oldest Streamlit that is supported
#   make sdk              the loader on the oldest, the first 2.x and the newest MCP SDK
#   make refs             references counted, with a debug build as PYTHON
#   make long             leak, soak and scale tests, the app in a browser (minutes); its pages are kept in .venv/screenshots
#   make asan             the tests under AddressSanitizer and UndefinedBehaviorSanitizer, and each call of CPython's that the engine
#                         makes failing once
#   make dist             source distribution and wheel, and the wheel tried out
#   make lint | docs | bench | bench-loader | bench-app | bench-portal | clean

PYTHON ?= python3
TAG := $(shell $(PYTHON) -c 'import sys, sysconfig; print("%d.%d%s" % (*sys.version_info[:2], "d" if hasattr(sys, "gettotalrefcount") else ""))' 2>/dev/null)
ifeq ($(TAG),)
$(error PYTHON=$(PYTHON) does not run: name a CPython 3.10 to 3.15, for instance make test PYTHON=python3.13)
endif
VENV := .venv/$(TAG)
PY := $(VENV)/bin/python
SOURCES := $(shell find src -name '*.c' -o -name '*.h' -o -name '*.py' -o -name '*.pyi' | grep -v _core.cpython) meson.build meson.options \
	src/core/meson.build pyproject.toml
PYTEST = $(CURDIR)/$(PY) -m pytest
# most tests wait more than they compute
WORKERS ?= 4
PYTEST += -n $(WORKERS) --dist worksteal
# asyncio in Python code of the tests is the installed one; the package is imported from the environment, not from src
export PYTHONDONTWRITEBYTECODE := 1


# these import the MCP SDK, Streamlit and others into the process: apart from those that watch every thread and descriptor
SDK_TESTS := tests/loader tests/mcp tests/cli tests/streamlit_app
SDK_RUN := $(SDK_TESTS)

.PHONY: test anyio streamlit sdk refs run cpython suites suites-ci long asan lint dist docs bench bench-loader bench-app bench-portal clean

test: $(VENV)/.test
	$(PYTEST) tests -m "not long" $(addprefix --ignore=,$(SDK_TESTS)) $(ARGS)
	@if $(PY) -c "import mcp" 2>/dev/null; then $(PYTEST) $(SDK_RUN) -m "not long" $(ARGS); \
	else echo "NOT RUN: tests of aionest.mcp, the command line and the app: the MCP SDK is not there for this Python"; fi

# scopes and MCP sessions with one anyio: the oldest that is supported, or another, or the newest (ANYIO=newest)
ANYIO ?= 4.4.0
ANYIO_VENV := .venv/anyio-$(ANYIO)-$(TAG)
anyio: $(ANYIO_VENV)/.ready
	$(ANYIO_VENV)/bin/python -m pytest tests/scopes -m "not long" -p no:langsmith_plugin $(ARGS)

# the SDK asks for a newer anyio than its oldest sessions need: it is put in place afterwards
$(ANYIO_VENV)/.ready: $(SOURCES)
	$(PYTHON) -m venv $(ANYIO_VENV)
	$(ANYIO_VENV)/bin/python -m pip install -q --disable-pip-version-check pytest pytest-timeout hypothesis psutil \
		sniffio exceptiongroup "mcp>=1.24,<2" "langchain-mcp-adapters>=0.3" .
	[ $(ANYIO) = newest ] || $(ANYIO_VENV)/bin/python -m pip install -q --disable-pip-version-check --no-deps anyio==$(ANYIO)
	touch $@

# the MCP SDK's oldest supported release, the first of its 2.x line, the newest
SDKS := 1.24.0 2.0.0 2
# on the older releases only what depends on the SDK; on the newest, and by make test, all of it
SDK_NEWEST := tests/loader
SDK_PARTS := $(addprefix tests/loader/test_,loader.py callbacks.py direct.py dispatcher.py http_faults.py modern.py oauth.py \
	pipes.py reload.py)
sdk: $(SDKS:%=.venv/mcp-%-$(TAG)/.ready)
	@set -e; for v in $(SDKS); do echo "== mcp $$v"; .venv/mcp-$$v-$(TAG)/bin/python -m pytest \
		$$(case $$v in *.*) echo $(SDK_PARTS);; *) echo $(SDK_NEWEST);; esac) tests/mcp -m "not long" $(ARGS); done

.venv/mcp-%-$(TAG)/.ready: $(SOURCES)
	$(PYTHON) -m venv .venv/mcp-$*-$(TAG)
	.venv/mcp-$*-$(TAG)/bin/python -m pip install -q --disable-pip-version-check pytest pytest-timeout hypothesis psutil \
		"mcp==$*$(if $(findstring .,$*),,.*)" ".[mcp]"
	touch $@

# the oldest Streamlit that is supported; uvloop is there, and must not be in the way
STREAMLIT := 1.40.0
streamlit: .venv/streamlit-$(STREAMLIT)-$(TAG)/.ready
	.venv/streamlit-$(STREAMLIT)-$(TAG)/bin/python -m pytest $(addprefix tests/streamlit_app/test_,app.py edit.py runtime.py) $(ARGS)

.venv/streamlit-$(STREAMLIT)-$(TAG)/.ready: $(SOURCES)
	$(PYTHON) -m venv .venv/streamlit-$(STREAMLIT)-$(TAG)
	.venv/streamlit-$(STREAMLIT)-$(TAG)/bin/python -m pip install -q --disable-pip-version-check pytest pytest-timeout hypothesis psutil \
		playwright websockets langchain-mcp-adapters uvloop "mcp<2" streamlit==$(STREAMLIT) ".[app]"
	touch $@

refs: $(VENV)/.test
	$(PYTEST) tests/core tests/isolated tests/portal/test_gate.py tests/portal/test_relay.py -m "not long" --timeout 300 $(ARGS)

run: $(VENV)/.installed
	$(PY) tools/demo.py --cache .venv/demo

MODE := apply
cpython: $(VENV)/.installed
	$(PY) tests/cpython/run_suite.py --mode $(MODE) --compare --python $(PY) $(ARGS)

# the package alone, so that stock has nothing of it on its path; results are kept, and are the table in the docs
SUITES :=
SUITES_RUN = $(PY) -m tools.suites --python $(PYTHON) --aionest .venv/suites/aionest-$(TAG)
suites: .venv/suites/aionest-$(TAG)/.ready
	$(SUITES_RUN) $(SUITES) --page docs/tested-with.md $(ARGS)

suites-ci: .venv/suites/aionest-$(TAG)/.ready
	$(SUITES_RUN) --turn --budget 240 $(ARGS)

.venv/suites/aionest-$(TAG)/.ready: $(VENV)/.installed
	rm -rf $(@D)
	mkdir -p $(@D)
	cp -r $(VENV)/lib/python*/site-packages/aionest $(VENV)/lib/python*/site-packages/aionest-*.dist-info $(@D)
	$(PY) -c "import tomllib" 2>/dev/null || $(PY) -m pip install -q --disable-pip-version-check tomli
	touch $@

long: $(VENV)/.test
	@[ -f .venv/servers/.ready ] || tools/get-servers.sh .venv/servers $(PYTHON) || [ $$? = 3 ]
	@mkdir -p $(or $(AIONEST_SCREENSHOTS),.venv/screenshots)
	AIONEST_SCREENSHOTS=$(or $(AIONEST_SCREENSHOTS),$(CURDIR)/.venv/screenshots) \
	AIONEST_SERVERS=$(if $(shell command -v npm),$(CURDIR)/.venv/servers) $(PYTEST) tests -m long --timeout 900 $(ARGS)

asan: .venv/asan-$(TAG)/.asan
	tools/asan.sh .venv/asan-$(TAG)/bin/python -m pytest tests/core tests/apply tests/oracle tests/isolated \
		tests/faults tests/portal/test_gate.py tests/portal/test_relay.py \
		-m "not long and not noasan" --timeout 600 $(ARGS)

lint: $(VENV)/.lint
	$(PY) -m ruff check src tests benchmarks tools
	$(PY) -m ruff format --check src tests benchmarks tools
	$(PY) -m mypy
	$(PY) -m mypy.stubtest aionest._core
	$(PY) -m mypy --warn-unused-ignores tests/typing

# sdist and wheel, and the wheel tried out in an environment of its own
dist:
	tools/check-build.sh $(PYTHON)
	tools/dist.sh $(PYTHON)

docs: $(VENV)/.docs
	$(PY) -m sphinx -q -W -n -b html docs .venv/docs

bench: $(VENV)/.bench
	$(PY) -m benchmarks $(ARGS)

# the MCP loader against the SDK's bare session, anyio's portal and a session per call
bench-loader: $(VENV)/.bench $(VENV)/.test
	$(PY) -m benchmarks.loader $(ARGS)

# the app: start, reruns, many sessions at once
bench-app: $(VENV)/.bench $(VENV)/.test
	$(PY) -m benchmarks.app $(ARGS)

# the portal against other ways to wait for a coroutine, a kept session against one for each call
bench-portal: $(VENV)/.bench $(VENV)/.test
	$(PY) benchmarks/portal_call.py $(ARGS)

clean:
	rm -rf .venv build

# -- environments -----------------------------------------------------------------------------------------------------

# a release wheel of greenlet gives and takes references that a debug build does not see: there it is compiled
GREENLET_FROM := $(if $(filter %d,$(TAG)),--no-binary greenlet)

.venv/%/bin/python:
	tools/check-build.sh $(PYTHON)
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/python -m pip install -q --disable-pip-version-check --upgrade pip

$(VENV)/.installed: $(PY) $(SOURCES)
	$(PY) -m pip install -q --disable-pip-version-check --force-reinstall --no-deps --no-cache-dir . -Csetup-args=-Dstrict=$(if $(CI),true,false)
	$(PY) -m pip install -q --disable-pip-version-check $(GREENLET_FROM) "greenlet>=3.2,<4"
	touch $@

.venv/asan-$(TAG)/.asan: .venv/asan-$(TAG)/bin/python $(SOURCES) tests/requirements.txt
	.venv/asan-$(TAG)/bin/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt "greenlet>=3.2,<4"
	.venv/asan-$(TAG)/bin/python -m pip install -q --disable-pip-version-check --force-reinstall --no-deps --no-cache-dir . \
		-Csetup-args=-Dsanitize=true -Csetup-args=-Dfaults=true -Csetup-args=-Dbuildtype=debugoptimized -Cinstall-args=--skip-subprojects
	touch $@

define REQUIREMENTS
$(VENV)/.$(1): $(VENV)/.installed $(2)
	$(PY) -m pip install -q --disable-pip-version-check -r $(2)
	touch $$@
endef
$(eval $(call REQUIREMENTS,test,tests/requirements.txt))
$(eval $(call REQUIREMENTS,lint,tools/requirements-lint.txt))
$(eval $(call REQUIREMENTS,docs,docs/requirements.txt))
$(eval $(call REQUIREMENTS,bench,benchmarks/requirements.txt))
