# make demo   caption a real photo (PHOTO=path for your own) into out/demo.jpg and out/demo.json
# make test   ruff, mypy --strict, pytest
# make check  ruff and mypy only
# Each does its own set-up: it needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
PHOTO ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.demo-installed

.PHONY: demo test check

demo: $(DEMO_STAMP)
	$(BIN)/python examples/demo.py $(if $(PHOTO),"$(PHOTO)")

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --strict

# Touched last, so that an installation that was cut off is done again.
$(STAMP): pyproject.toml constraints.txt
	$(prepare)
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet -e ".[dev]" -c constraints.txt
	# The judge of the page's accessibility; its tests are skipped without it.
	@! command -v npm >/dev/null || npm install --silent --no-save --no-audit --no-fund --prefix .node axe-core@4 || true
	@touch $(STAMP) $(DEMO_STAMP)

# The demo needs the package alone, without torch, and photos to look at.
$(DEMO_STAMP): pyproject.toml constraints.txt
	$(prepare)
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet -e . scikit-image -c constraints.txt
	@touch $(DEMO_STAMP)

define prepare
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "RegionTalk needs Python 3.11 or newer; make PYTHON=python3.12 names another one" >&2; exit 1; }
test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
endef
