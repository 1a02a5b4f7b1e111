# make demo: install, run the main job on mini-city, print the IoU table.   make test: linters, types, tests.
# Both make .venv on first use; PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types unit clean

demo: .venv/demo.stamp
	$(BIN)/uda iterate --pipeline minicity --out demo

test: lint types unit

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test.stamp
	$(BIN)/mypy

unit: .venv/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

.venv/bin/pip:
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/demo.stamp: setup.py | .venv/bin/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/test.stamp: setup.py | .venv/bin/pip
	$(BIN)/pip install --quiet --editable '.[test]'
	touch .venv/demo.stamp $@

clean:
	rm -rf .venv build dist *.egg-info demo
