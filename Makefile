# Every target sets itself up on a fresh machine: own virtual environments under build, compiler checked, package built.
#
#   make test             the tests, on the installed wheel            PYTHON=python3.12 make test
#   make slow             those that take a second or more each: whole programs, of the documentation too, with all their libraries
#   make test-tools       the tests of what the project is made with: rules of the sources, tools, runners, benchmarks
#   make run              the main job: the loader flow on a real MCP server, stock asyncio and aionest side by side
#   make cpython          CPython's own test_asyncio with aionest applied, compared with stock by test id;
#                         MODE=apply-close: with apply(close_loop=True)
#   make suites           other projects' own tests, on stock asyncio and with aionest applied, compared by test id (an hour);
#                         SUITES="anyio starlette" for some; make suites-ci for a choice that takes five minutes
#   make conformance      the protocol's official conformance suite, with the loader and the command line as its clients (needs npm)
#   make streamlit        the app on the oldest Streamlit that is supported
#   make sdk              the loader on the oldest, the first 2.x and the newest MCP SDK
#   make refs             references counted, with a debug build as PYTHON
#   make long             leak, soak and scale tests, the app in a browser (minutes); its pages are kept in build/screenshots
#   make asan             the tests under AddressSanitizer and UndefinedBehaviorSanitizer, and each call of CPython's that the engine
#                         makes failing once
#   make generic          the engine's tests on what other systems than Linux get: no C paths for epoll, eventfd and sockets
#   make kqueue           the engine's tests on its C path for kqueue, which macOS and the BSDs have, over a shim on Linux
#   make free-threaded    what the import says on a free-threaded CPython as PYTHON
#   make windows          the tests on Windows Pythons 3.10 and 3.13, by mingw-w64 and wine; make windows-3.13 for one;
#                         make windows-ci for a choice
#   make macos-check | bsd-check | musl-check   the C module compiled and linked for these, warnings as errors; nothing is run
#   make msvc-check       what MSVC would refuse in the C module, by clang; nothing is linked
#   make conda-check      the recipe for conda-forge, rendered by rattler-build for each Python; nothing is built
#   make wheels           release wheels for the CPythons found here, for glibc 2.28, each tried out alone; PYTHONS=... for others
#   make dist             source distribution and wheel, and the wheel tried out
#   make lint | docs | bench | bench-loader | bench-real | bench-app | bench-portal | clean

PYTHON ?= python3
TAG := $(shell $(PYTHON) -c 'import sys, sysconfig; print("%d.%d%s%s" % (*sys.version_info[:2], "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")), "d" if hasattr(sys, "gettotalrefcount") else ""))' 2>/dev/null)
ifeq ($(TAG),)
$(error PYTHON=$(PYTHON) does not run: name a CPython 3.10 to 3.15, for instance make test PYTHON=python3.13)
endif
# everything that is made is under build/; .venv is yours (uv sync, or make dev)
ENV := build/env-$(TAG)
PY := $(ENV)/bin/python
WHEEL := build/wheel-$(TAG)/.built
C_SOURCES := $(wildcard src/core/*.[ch]) src/core/meson.build meson.build meson.options
SOURCES := $(C_SOURCES) $(shell find src/_aionest_script.py src/aionest -name '*.py' -o -name '*.pyi' -o -name py.typed) pyproject.toml tools/backend.py
INSTALL := tools/install.sh
# where it is set, as in many images of containers, each process compiles every module that it imports: a test of the
# command line takes twice as long
unexport PYTHONDONTWRITEBYTECODE
# most tests wait more than they compute; but each worker collects all tests, which takes it seconds
WORKERS ?= $(shell n=$$(($$(getconf _NPROCESSORS_ONLN) * 3)); echo $$((n < 16 ? n : 16)))
XDIST = -n $(WORKERS) --dist worksteal
# seconds for a test; what shows the stacks of one that does not even end then looks at them while they run, which can crash any
# CPython: so not before
LIMIT = --timeout $(1) -o faulthandler_timeout=$(shell expr $(1) + 30)
PYTEST = $(CURDIR)/$(PY) -m pytest $(XDIST)

# these import the MCP SDK, Streamlit and others into the process: apart from those that watch every thread and descriptor
SDK_TESTS := tests/loader tests/mcp tests/cli tests/streamlit_app
SDK_RUN := $(SDK_TESTS)
TOOLS_TESTS := $(addprefix tests/,benchmarks cpython lint suites tools)
# MARKS="not long": those of make test and make slow in one run
MARKS := not long and not slow

.PHONY: test slow test-tools setup dev editable anyio streamlit sdk refs run cpython suites suites-ci conformance long asan generic kqueue free-threaded windows windows-ci macos-check bsd-check musl-check msvc-check conda-check lint dist wheels docs bench bench-loader bench-real bench-app bench-portal pictures clean

# both parts are run, also when the first fails: $(call TESTS,which by their marks)
define TESTS
@rc=0; set -x; $(PYTEST) tests -m "$(1)" $(addprefix --ignore=,$(SDK_TESTS) $(TOOLS_TESTS)) $(ARGS) || rc=1; \
	if $(PY) -c "import mcp" 2>/dev/null; then $(PYTEST) $(SDK_RUN) -m "$(1)" $(ARGS) || rc=1; \
	else echo "NOT RUN: tests of aionest.mcp, the command line and the app: the MCP SDK is not there for this Python"; fi; exit $$rc
endef

test: $(ENV)/.test
	$(call TESTS,$(MARKS))

slow: $(ENV)/.test
	$(call TESTS,slow and not long)

test-tools: $(ENV)/.test
	$(PYTEST) $(TOOLS_TESTS) -m "not long" $(ARGS)

# what the stages of one Python share, made before they run at the same time
setup: $(ENV)/.test

# an editable environment of your own, as uv sync makes it: edit a .py, and run its test with .venv/bin/pytest
dev:
	[ -x .venv/bin/python ] || tools/env.sh $(PYTHON) .venv
	$(INSTALL) .venv --group dev -e .
	@echo "Now: .venv/bin/pytest tests/apply"

# pip install -e . and uv sync, each in a fresh environment: import works, and an edit takes effect
editable:
	tools/check-editable.sh $(PYTHON)

# scopes and MCP sessions with one anyio: the oldest that is supported, or another, or the newest (ANYIO=newest)
ANYIO ?= 4.4.0
ANYIO_TESTS := tests/scopes
ANYIO_ENV := build/anyio-$(ANYIO)-$(TAG)
anyio: $(ANYIO_ENV)/.ready
	$(ANYIO_ENV)/bin/python -m pytest $(XDIST) $(ANYIO_TESTS) -m "not long" $(ARGS)

# the SDK asks for a newer anyio than its oldest sessions need: it is put in place afterwards
$(ANYIO_ENV)/.ready: $(WHEEL)
	$(call READY,--group pytest sniffio exceptiongroup "mcp>=1.24$(comma)<2" "langchain-mcp-adapters>=0.3")
	[ $(ANYIO) = newest ] || $(INSTALL) $(@D) --no-deps anyio==$(ANYIO)
	touch $@

# the MCP SDK's oldest supported release, the first of its 2.x line, the newest
SDKS := 1.24.0 2.0.0 2
# on the older releases only what depends on the SDK; on the newest all but configuration files; by make test all of it
SDK_NEWEST := $(filter-out tests/loader/test_config%.py,$(wildcard tests/loader/test_*.py))
SDK_PARTS := $(addprefix tests/loader/test_,loader.py bad_messages.py callbacks.py direct.py dispatcher.py http_faults.py modern.py oauth.py \
	pipes.py reload.py)
sdk: $(SDKS:%=build/mcp-%-$(TAG)/.ready)
	@rc=0; for v in $(SDKS); do echo "== mcp $$v"; build/mcp-$$v-$(TAG)/bin/python -m pytest $(XDIST) \
		$$(case $$v in *.*) echo $(SDK_PARTS);; *) echo $(SDK_NEWEST);; esac) tests/mcp -m "not long" $(ARGS) || rc=1; done; exit $$rc

build/mcp-%-$(TAG)/.ready: $(WHEEL)
	$(call READY,--group pytest "mcp==$*$(if $(findstring .,$*),,.*)" "$(WHEEL_FILE)[mcp]")
	touch $@

# the oldest Streamlit that is supported; uvloop is there, and must not be in the way
STREAMLIT := 1.40.0
streamlit: build/streamlit-$(STREAMLIT)-$(TAG)/.ready
	build/streamlit-$(STREAMLIT)-$(TAG)/bin/python -m pytest $(XDIST) \
		$(addprefix tests/streamlit_app/test_,app.py edit.py pages.py runtime.py) $(ARGS)

build/streamlit-$(STREAMLIT)-$(TAG)/.ready: $(WHEEL)
	$(call READY,--group pytest playwright websockets langchain-mcp-adapters uvloop "mcp<2" streamlit==$(STREAMLIT) "$(WHEEL_FILE)[app]")
	touch $@

refs: $(ENV)/.test
	$(PYTEST) tests/core tests/isolated tests/portal/test_gate.py tests/portal/test_relay.py -m "not long" $(call LIMIT,300) $(ARGS)

run: $(ENV)/.installed
	$(PY) tools/demo.py --cache build/demo

MODE := apply
cpython: $(ENV)/.installed
	$(PY) tests/cpython/run_suite.py --mode $(MODE) --compare --python $(PY) $(ARGS)

# the package alone, so that stock has nothing of it on its path; results are kept, and are the table in the docs
SUITES :=
SUITES_RUN = $(PY) -m tools.suites --python $(PYTHON) --aionest build/suites/aionest-$(TAG)
suites: build/suites/aionest-$(TAG)/.ready
	$(SUITES_RUN) $(SUITES) --page docs/tested-with.md $(ARGS)

suites-ci: build/suites/aionest-$(TAG)/.ready
	$(SUITES_RUN) --turn --budget 240 $(ARGS)

build/suites/aionest-$(TAG)/.ready: $(ENV)/.installed
	rm -rf $(@D)
	mkdir -p $(@D)
	cp -r $(ENV)/lib/python*/site-packages/aionest $(ENV)/lib/python*/site-packages/aionest-*.dist-info $(@D)
	$(PY) -c "import tomllib" 2>/dev/null || $(INSTALL) $(ENV) tomli
	touch $@

# the suite and the Node.js that it wants come from npm, into one folder for all Pythons
CONFORMANCE := 0.2.0-alpha.12
conformance: build/conformance/.ready-$(CONFORMANCE) build/conformance-1-$(TAG)/.ready build/conformance-2-$(TAG)/.ready
	@rc=0; for v in 1 2; do $(PY) -m tools.conformance --node build/conformance \
		--python build/conformance-$$v-$(TAG)/bin/python $(ARGS) || rc=1; done; exit $$rc

build/conformance/.ready-%:
	mkdir -p $(@D)
	npm install --no-audit --no-fund --silent --prefix $(@D) @modelcontextprotocol/conformance@$* node@22
	touch $@

build/conformance-%-$(TAG)/.ready: $(WHEEL)
	$(call READY,"mcp>=$*$(comma)<$(if $(filter 1,$*),2,3)" "$(WHEEL_FILE)[mcp$(comma)cli]")
	touch $@

# they measure memory and time: fewer at once
long: WORKERS = 2
long: $(ENV)/.test
	@[ -f build/servers/.ready ] || tools/get-servers.sh build/servers $(PYTHON) || [ $$? = 3 ]
	$(INSTALL) $(ENV) --group long
	@mkdir -p $(or $(AIONEST_SCREENSHOTS),build/screenshots)
	AIONEST_SCREENSHOTS=$(or $(AIONEST_SCREENSHOTS),$(CURDIR)/build/screenshots) \
	AIONEST_SERVERS=$(if $(shell command -v npm),$(CURDIR)/build/servers) $(PYTEST) tests -m long $(call LIMIT,900) $(ARGS)

asan: build/asan-$(TAG)/.asan
	tools/asan.sh build/asan-$(TAG)/bin/python -m pytest $(XDIST) tests/core tests/apply tests/oracle tests/isolated \
		tests/faults tests/portal/test_gate.py tests/portal/test_relay.py \
		-m "not long and not noasan" $(call LIMIT,600) $(ARGS)

GENERIC_TESTS := tests/core tests/oracle tests/scopes
generic: build/generic-$(TAG)/.generic
	$(<D)/bin/python -c "from aionest import _core; assert not _core.LINUX_PATHS"
	$(CURDIR)/build/generic-$(TAG)/bin/python -m pytest $(XDIST) $(GENERIC_TESTS) -m "not long" $(call LIMIT,300) $(ARGS)

# switched on; that it is off where nobody asks for it is tested there, too
KQUEUE_TESTS := tests/kqueue tests/core tests/oracle
kqueue: build/kqueue-$(TAG)/.kqueue
	AIONEST_KQUEUE=1 $(<D)/bin/python -c "from aionest import _core; assert _core.POLLED_SELECTOR == 'KqueueSelector'"
	AIONEST_KQUEUE=1 $(CURDIR)/$(<D)/bin/python -m pytest $(XDIST) $(KQUEUE_TESTS) -m "not long" $(call LIMIT,300) $(ARGS)

# That the import says what it must. The engine's tests crash there, which is for who works on it to mend:
#   make free-threaded FREE_THREADED_TESTS=tests/core
FREE_THREADED_TESTS := tests/isolated/test_free_threaded.py
free-threaded: build/free-threaded-$(TAG)/.ready
	$(<D)/bin/python -c "import sysconfig; assert sysconfig.get_config_var('Py_GIL_DISABLED'), 'PYTHON is not free-threaded'"
	AIONEST_FREE_THREADED=1 PYTHON_GIL=1 $(CURDIR)/$(<D)/bin/python -m pytest $(XDIST) $(FREE_THREADED_TESTS) -m "not long" $(call LIMIT,300) $(ARGS)

build/free-threaded-$(TAG)/.ready: $(WHEEL)
	$(call READY,--group pytest anyio sniffio $(GREENLET_FROM))
	touch $@

macos-check: $(PY)
	tools/cross.sh $(ENV) build/cross-$(TAG) aarch64-macos x86_64-macos

bsd-check: $(PY)
	tools/cross.sh $(ENV) build/cross-$(TAG) x86_64-freebsd x86_64-netbsd x86_64-openbsd

musl-check: $(PY)
	tools/cross.sh $(ENV) build/cross-$(TAG) x86_64-linux-musl aarch64-linux-musl

conda-check: $(PY)
	$(INSTALL) $(ENV) py-rattler-build
	$(PY) tools/render_recipe.py

WINE := build/wine
msvc-check:
	PYTHON=$(PYTHON) tools/get-windows.sh --headers 3.13 $(WINE)
	PYTHON=$(PYTHON) tools/msvc.sh $(abspath $(WINE))/3.13/py build/msvc

# What is not run there, and why: tests/helpers/windows.py. A thread for each test's timeout is one too many for those that count them.
WINDOWS_TESTS := tests/core tests/apply tests/scopes tests/portal tests/cli/test_systems.py $(addprefix tests/mcp/test_,naming.py parts.py) \
	$(addprefix tests/loader/test_,commands.py windows.py loader.py http_direct.py config.py config_hosts.py config_large.py \
	secrets.py oauth_clients.py)
windows: windows-3.13 windows-3.10

# a choice for each change: under wine what a program asks of the system goes through a server, one thing at a time
WINDOWS_CI := $(addprefix tests/core/test_,engine.py callers.py guests.py loop_classes.py runloop.py nested.py guest_kinds.py odd_loops.py bad_input.py) \
	$(addprefix tests/apply/test_,run_ends.py platform.py wakeups.py) $(addprefix tests/scopes/test_,generators.py left_elsewhere.py) \
	$(addprefix tests/portal/test_portal_,calls.py close.py enter.py process.py) \
	$(addprefix tests/loader/test_,commands.py windows.py) tests/cli/test_systems.py
windows-ci:
	$(MAKE) windows-3.13 PYTHON=$(PYTHON) WINE=$(WINE) WINDOWS_TESTS="$(WINDOWS_CI)"
	$(MAKE) windows-3.10 PYTHON=$(PYTHON) WINE=$(WINE) \
		WINDOWS_TESTS="$(filter %_kinds.py %_loops.py %_wakeups.py %_elsewhere.py %_enter.py %_systems.py,$(WINDOWS_CI))"

windows-%:
	PYTHON=$(PYTHON) tools/get-windows.sh $* $(WINE)
	tools/build-windows.sh $* $(WINE)
	$(abspath $(WINE))/$*/run -u -m pytest -p no:cacheprovider -o timeout=0 -o faulthandler_timeout=300 \
		-o faulthandler_exit_on_timeout=true $(WINDOWS_TESTS) -m "not long" $(ARGS)

lint: build/lint-$(TAG)/.ready
	$(<D)/bin/python -m ruff check src tests benchmarks tools examples docs_src
	$(<D)/bin/python -m ruff format --check src tests benchmarks tools examples docs_src
	$(<D)/bin/python -m mypy
	$(<D)/bin/python -m mypy.stubtest aionest._core
	$(<D)/bin/python -m mypy --warn-unused-ignores tests/typing
	$(<D)/bin/clang-format --dry-run -Werror src/core/*.c src/core/*.h
	tools/actionlint.sh
	@$(<D)/bin/codespell $(shell git ls-files ':!*.svg' ':!*.png' ':!*.json' 2>/dev/null || echo src tests docs tools benchmarks examples)

# sdist and wheel, and the wheel tried out in an environment of its own
dist:
	tools/check-build.sh $(PYTHON)
	tools/dist.sh $(PYTHON)

PYTHONS = $(foreach v,3.10 3.11 3.12 3.13 3.14 3.15,$(shell tools/find-python.sh $(v)))
wheels:
	tools/wheels.sh build/wheels $(PYTHONS)

docs: build/docs-$(TAG)/.ready
	$(<D)/bin/python -m sphinx -q -W -n -b html docs build/docs/html

BENCH := build/bench-$(TAG)
bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks $(ARGS)

# the MCP loader against the SDK's bare session, anyio's portal and a session per call
bench-loader: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.loader $(ARGS)

# ten real servers against fastmcp's client, a call on the command line against MCP Inspector's: both come from npm and PyPI
bench-real: build/bench-real-$(TAG)/.ready
	$(<D)/bin/python -m benchmarks.real --servers build/servers --inspector build/inspector $(ARGS)

build/bench-real-$(TAG)/.ready: $(WHEEL)
	$(call READY,"mcp>=2$(comma)<3" fastmcp "$(WHEEL_FILE)[mcp$(comma)cli]")
	[ -f build/servers/.ready ] || tools/get-servers.sh build/servers $(PYTHON)
	mkdir -p build/inspector
	npm install --no-audit --no-fund --silent --prefix build/inspector node@22
	PATH=$(CURDIR)/build/inspector/node_modules/.bin:$$PATH npm install --no-audit --no-fund --silent --prefix build/inspector \
		@modelcontextprotocol/inspector@2
	touch $@

# the app: start, reruns, many sessions at once
bench-app: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.app $(ARGS)

# the portal against other ways to wait for a coroutine, a kept session against one for each call
bench-portal: $(BENCH)/.ready
	$(BENCH)/bin/python benchmarks/portal_call.py $(ARGS)

# those of the documentation that are made by programs. Chromium is Debian's: apt-get install chromium
pictures: $(ENV)/.test
	$(PY) tools/bar_charts.py README.md docs/images/figures.svg
	$(PY) tools/terminal_picture.py docs/images/terminal.svg
	$(PY) tools/app_pictures.py docs/images --docs

clean:
	rm -rf build

# -- environments -----------------------------------------------------------------------------------------------------

# a release wheel of greenlet gives and takes references that a debug build does not see: there it is compiled
GREENLET_FROM := $(if $(filter %d,$(TAG)),--no-binary greenlet)
# its newest release does not compile on 3.13t, nor does Hypothesis', for which older ones have wheels
GREENLET_FROM := $(or $(GREENLET_FROM),$(if $(filter %t,$(TAG)),--only-binary :all:))

$(PY):
	tools/env.sh $(PYTHON) $(ENV)
	$(INSTALL) $(ENV) $(GREENLET_FROM) --group build

# One wheel for all environments of this Python. The C module is compiled in build/meson-*, what has changed only.
WHEEL_FILE = $$(ls build/wheel-$(TAG)/*.whl)
$(WHEEL): $(PY) $(SOURCES)
	rm -rf $(@D)
	tools/wheel.sh $(ENV) build/meson-$(TAG) $(@D) -Dstrict=$(if $(CI),true,false)
	touch $@

$(ENV)/.installed: $(WHEEL)
	$(INSTALL) $(ENV) --force-reinstall --no-deps $(WHEEL_FILE)
	touch $@

build/asan-$(TAG)/.asan: $(SOURCES)
	[ -x $(@D)/bin/python ] || { tools/env.sh $(PYTHON) $(@D) && $(INSTALL) $(@D) --group build --group test; }
	tools/wheel.sh $(@D) build/meson-asan-$(TAG) $(@D)/wheel -Dsanitize=true -Dfaults=true -Dbuildtype=debugoptimized
	$(INSTALL) $(@D) --force-reinstall --no-deps $$(ls $(@D)/wheel/*.whl)
	touch $@

build/generic-$(TAG)/.generic: $(SOURCES)
	[ -x $(@D)/bin/python ] || { tools/env.sh $(PYTHON) $(@D) && $(INSTALL) $(@D) --group build --group test; }
	tools/wheel.sh $(@D) build/meson-generic-$(TAG) $(@D)/wheel -Dgeneric=true -Dbuildtype=release -Dstrict=$(if $(CI),true,false)
	$(INSTALL) $(@D) --force-reinstall --no-deps $$(ls $(@D)/wheel/*.whl)
	touch $@

build/kqueue-$(TAG)/.kqueue: $(SOURCES) tools/kqueue.sh $(wildcard tests/kqueue/shim/*) tests/kqueue/shim/sys/event.h
	[ -x $(@D)/bin/python ] || { tools/env.sh $(PYTHON) $(@D) && $(INSTALL) $(@D) --group build --group pytest anyio; }
	tools/kqueue.sh $(@D) build/meson-kqueue-$(TAG)
	$(INSTALL) $(@D) --force-reinstall --no-deps $$(ls $(@D)/wheel/*.whl)
	touch $@

$(ENV)/.test: $(ENV)/.installed
	$(INSTALL) $(ENV) --group test
	touch $@

# an environment beside it: $(call READY,what else it has)
comma := ,
define READY
[ -x $(@D)/bin/python ] || tools/env.sh $(PYTHON) $(@D)
	$(INSTALL) $(@D) $(1) $(WHEEL_FILE)
	$(INSTALL) $(@D) --force-reinstall --no-deps $(WHEEL_FILE)
endef

build/lint-$(TAG)/.ready build/docs-$(TAG)/.ready: build/%-$(TAG)/.ready: $(WHEEL)
	$(call READY,--group $*)
	touch $@

$(BENCH)/.ready: $(WHEEL)
	$(call READY,--group bench --group test)
	touch $@
