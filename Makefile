# make demo         trains a small PSPNet with CE and with CE + EPL and compares them (no GPU);
#                   other losses: make demo LOSSES="ce epl boundary dt bf1"
# make study        runs the smallest study: eight losses, three seeds, on drawn shapes
# make test         runs the test suite on the stack; .ci/run runs it on both
# make quick        runs its unit tests (losses, metrics, distances, registered) in a minute or two,
#                   without other processes, compilation or tools
# make test-slow    runs the tests that take too long for it
# make mutants      makes small mistakes in losses and metrics, which the tests have to detect
# make docs         builds the documentation as a site in build/site, runs its tour, checks its links
# make benchmark    compares losses, distances and metrics with other code (time and memory, 5 minutes)
# STACK=onedl|mmlab the OpenMMLab stack (see README); each has its own virtual environment
# PYTHON=...        the interpreter to build it from

HERE := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))
ifneq ($(HERE),$(CURDIR))
$(error This Makefile works in its own folder, not in $(CURDIR); call make -C $(HERE) $(MAKECMDGOALS))
endif

PYTHON ?= python3.11
STACK ?= onedl
LOSSES ?=
ifneq ($(STACK),onedl)
ifneq ($(STACK),mmlab)
$(error STACK is '$(STACK)'; choose onedl (default) or mmlab)
endif
endif
VENV := .venv/$(STACK)
INSTALLED := $(VENV)/installed
DOCS := .venv/docs
UNITS := mmseg_boundary $(addprefix tests/, geometry losses metrics registered \
	test_architecture.py test_frozen_values.py test_labels.py test_mutants.py)

.PHONY: demo study quick test test-slow mutants benchmark docs lint clean

demo: $(INSTALLED)
	$(VENV)/bin/python tools/demo.py $(if $(LOSSES),--losses $(LOSSES))

# Two processes of one thread each, since half of the time goes to processes that tests start. The
# files run in the order of tests/support/longest.py.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: $(INSTALLED)
	$(PYTEST) $(UNITS) -m "not slow" -k "not compile"

study: $(INSTALLED)
	$(VENV)/bin/python tools/study.py run configs/studies/shapes.py --workers 2
	$(VENV)/bin/python tools/study.py report configs/studies/shapes.py

test: $(INSTALLED)
	$(PYTEST)

test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow

mutants: $(INSTALLED)
	$(VENV)/bin/python tests/mutate.py

benchmark: $(INSTALLED)
	$(VENV)/bin/python tools/benchmark.py losses distances metrics

docs: $(DOCS)/installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict
	@echo "Open build/site/index.html; to search in it: python -m http.server -d build/site"

lint:
	$(MAKE) STACK=onedl .venv/onedl/installed
	.venv/onedl/bin/ruff check .
	.venv/onedl/bin/ruff format --check .
	.venv/onedl/bin/basedpyright --pythonpath .venv/onedl/bin/python

$(INSTALLED): .ci/install .ci/$(STACK).txt setup.py
	PYTHON=$(PYTHON) bash .ci/install $(STACK) $(VENV)
	touch $@

# The tour needs the package and its stack, which the generator's environment takes from the stack's.
$(DOCS)/installed: .ci/docs.txt
	$(MAKE) STACK=onedl .venv/onedl/installed
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/pip install --quiet --requirement .ci/docs.txt
	$(DOCS)/bin/python -c "import sys, sysconfig; \
		open(sysconfig.get_path('purelib') + '/stack.pth', 'w') \
		.write(f'import site; site.addsitedir({sys.argv[1]!r})')" \
		"$$(.venv/onedl/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	touch $@

clean:
	rm -rf .venv build *.egg-info mmseg_boundary/.mim
