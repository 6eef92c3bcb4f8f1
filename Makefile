# Two commands do everything on a fresh machine with Python (>= 3.10) and a C++ compiler:
#   make demo    sets up .venv and runs AutoAL against random and its candidates on a real data set
#   make test    sets up .venv and passes the tests
# PYTHON names another interpreter; PIP_ARGS is passed to pip (e.g. an index of your own).
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find csrc autoal -name '*.py' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h')

.PHONY: demo test lint sanitize bench clean

demo: $(VENV)/installed
	PYTHONSAFEPATH=1 $(BIN)/autoal run --dataset digits --strategy autoal --strategy random \
	  --strategy entropy --strategy margin --strategy least_confidence --strategy kmeans --strategy bald \
	  --strategy variation_ratio --strategy mean_std \
	  --initial-size 20 --query-size 20 --rounds 10 --seeds 5 --out results/digits

test: $(VENV)/installed
	PYTHONSAFEPATH=1 $(BIN)/pytest

lint: $(VENV)/linters
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh')

# The kernels' tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.
sanitize: $(VENV)/installed
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet cmake ninja pybind11
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON=python tests/sanitize.sh

# requirements.txt pins torch, so that no newer and larger build is pulled in by a bare dependency.
$(VENV)/installed: requirements.txt pyproject.toml setup.py CMakeLists.txt $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet -r requirements.txt
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet '.[all,test]'
	touch $@

$(VENV)/linters: $(VENV)/installed requirements-dev.txt
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet -r requirements-dev.txt
	touch $@

# All benchmarks beside their peers, into OUT; BENCH_ARGS=--quick: small sizes, to see that it runs.
OUT ?= results/benchmarks
bench: $(VENV)/installed
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet -r benchmarks/requirements.txt
	for script in benchmarks/bench_*.py; do \
	  $(BIN)/python $$script $(BENCH_ARGS) --out $(OUT)/$$(basename $$script .py | cut -c7-).json || exit 1; done
	$(BIN)/python benchmarks/chart.py $(OUT) $(OUT)/kernels.png

clean:
	rm -rf $(VENV) build dist *.egg-info results
