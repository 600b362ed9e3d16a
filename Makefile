# make demo         a small PSPNet with CE and with CE + EPL, compared (some minutes, no GPU);
#                   other losses: make demo LOSSES="ce epl boundary dt bf1"
# make study        the smallest study: eight losses, three seeds, on drawn shapes
# make test         the test suite of the stack; .ci/run runs it on both
# make quick        its units: losses, metrics, distances and what MMSegmentation sees of them, in one
#                   or two minutes; no process but pytest's two, nothing compiled, no tool is run
# make test-slow    what takes too long for it
# make mutants      breaks the losses and metrics in small ways: do the tests see it?
# make docs         the documentation as a site in build/site, its tour run and its links checked
# make benchmark    time and memory of losses, distances and metrics against other code (5 minutes)
# STACK=onedl|mmlab the OpenMMLab stack (see README); each has its own virtual environment
# PYTHON=...        the interpreter to build it from

PYTHON ?= python3.11
STACK ?= onedl
LOSSES ?= ce epl
ifeq ($(wildcard .ci/$(STACK).txt),)
$(error STACK is '$(STACK)'; choose onedl (default) or mmlab)
endif
VENV := .venv/$(STACK)
INSTALLED := $(VENV)/installed
DOCS := .venv/docs
UNITS := mmseg_boundary $(addprefix tests/, geometry losses metrics registered \
	test_architecture.py test_frozen_values.py test_labels.py test_mutants.py)

.PHONY: demo study quick test test-slow mutants benchmark docs lint clean

demo: $(INSTALLED)
	$(VENV)/bin/python tools/demo.py --losses $(LOSSES)

# In two processes of one thread each: half of the time goes to processes that tests start. Files in
# the order of tests/support/longest.py.
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

# The tour needs the package and its stack, which the generator's environment borrows.
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
