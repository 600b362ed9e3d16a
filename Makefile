# make demo         a small PSPNet with CE and with CE + EPL, compared (some minutes, no GPU);
#                   other losses: make demo LOSSES="ce epl boundary dt bf1"
# make test         the test suite of the stack; .ci/run runs it on both
# make test-slow    what takes too long for it
# make mutants      breaks the losses and metrics in small ways: do the tests see it?
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

.PHONY: demo test test-slow mutants benchmark lint clean

demo: $(INSTALLED)
	$(VENV)/bin/python tools/demo.py --losses $(LOSSES)

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest

test-slow: $(INSTALLED)
	$(VENV)/bin/python -m pytest -m slow

mutants: $(INSTALLED)
	$(VENV)/bin/python tests/mutate.py

benchmark: $(INSTALLED)
	$(VENV)/bin/python tools/benchmark.py losses distances metrics

lint:
	$(MAKE) STACK=onedl .venv/onedl/installed
	.venv/onedl/bin/ruff check .
	.venv/onedl/bin/ruff format --check .
	.venv/onedl/bin/basedpyright --pythonpath .venv/onedl/bin/python

$(INSTALLED): .ci/install .ci/$(STACK).txt setup.py
	PYTHON=$(PYTHON) bash .ci/install $(STACK) $(VENV)
	touch $@

clean:
	rm -rf .venv build *.egg-info mmseg_boundary/.mim
