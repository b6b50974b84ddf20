# make demo   transcribe the example recordings, with the light install (no torch)
# make test   every test, with torch
# make check  format, lint, types and the fast tests: under two minutes
# make docs   compute and draw docs/ctc.md anew
# make clean  take away what these made

PYTHON = python3
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check docs clean
.DELETE_ON_ERROR:

demo: .venv-light/stamp
	.venv-light/bin/auricle transcribe examples/clips/*.flac

test: .venv/stamp
	.venv/bin/python -m pytest

check: .venv/stamp
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest --quiet -m "not slow" --numprocesses 2

docs: .venv/stamp
	.venv/bin/python docs/making/ctc_page.py

clean:
	rm -rf .venv .venv-light build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A stamp is as new as the last set-up: `make` sets up again when what it was made from changed.
.venv-light/stamp: pyproject.toml
	@echo "setting up .venv-light (once, a minute or two; some 240 MB) ..."
	test -x .venv-light/bin/python || $(PYTHON) -m venv .venv-light
	.venv-light/bin/python $(PIP) --editable .
	touch $@

# torch first and alone, under the pin: no later requirement can then ask for a build with CUDA.
.venv/stamp: pyproject.toml constraints.txt
	@echo "setting up .venv with torch (once, some minutes) ..."
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --constraint constraints.txt torch
	.venv/bin/python $(PIP) --constraint constraints.txt --editable '.[train,serve,dev]'
	touch $@
