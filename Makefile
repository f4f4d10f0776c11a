# Everything runs in a virtual environment of its own, made on first use from setup.py's lists.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= python3

.PHONY: demo test test-all check clean

demo: $(READY)
	$(BIN)/semla demo -o out/demo

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade uv
	env -u PYTHONPYCACHEPREFIX $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --editable '.[ros,workshop,batch,view,dev]'
	env -u PYTHONPYCACHEPREFIX $(BIN)/python -m compileall -q semla_ros
	touch $@

clean:
	rm -rf $(VENV) out build install log *.egg-info
