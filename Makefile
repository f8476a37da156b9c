# make demo   caption a real photo (PHOTO=path for your own) into out/demo.jpg and out/demo.json
# make test   ruff, mypy --strict, pytest
# make check  ruff and mypy only
# make docs     the documentation site into out/site; a broken link is an error
# make package  build wheel and sdist, check them, caption a photo with the wheel in an environment of its own
# make oldest   the quick tests with the oldest versions that pyproject.toml allows
# Each does its own set-up: it needs Python 3.11 or newer, make and a package index.

PYTHON ?= python3
PHOTO ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.demo-installed
PACKAGE := out/package
OLDEST := out/oldest
# Tests that read files beside the package: they show what an sdist lacks.
SDIST_TESTS := tests/test_paper_map.py tests/test_layers.py tests/test_files.py tests/images tests/docs -k 'not test_it_runs'
# Tests that touch every dependency and take a minute or two.
QUICK := tests/images tests/text tests/regions tests/align tests/generate tests/model tests/cli/test_info.py tests/test_captioner.py

.PHONY: demo test check docs package oldest

demo: $(DEMO_STAMP)
	$(BIN)/python examples/demo.py $(if $(PHOTO),"$(PHOTO)")

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy --strict

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "out/site/index.html; with its search: $(BIN)/python -m http.server -d out/site"

# What a user gets: the wheel alone, far from the checkout, and the sdist with tests that find all they need in it.
package: $(STAMP)
	rm -rf $(PACKAGE)
	$(BIN)/uv build --quiet --out-dir $(PACKAGE)/dist
	$(BIN)/uv tool run --quiet twine check --strict $(PACKAGE)/dist/*.whl $(PACKAGE)/dist/*.tar.gz
	$(BIN)/uv venv --quiet --python $(BIN)/python $(PACKAGE)/venv
	$(BIN)/uv pip install --quiet --python $(PACKAGE)/venv/bin/python $(PACKAGE)/dist/*.whl -c constraints.txt
	cd $(PACKAGE) && venv/bin/regiontalk caption ../../docs/example.jpg --regions 3 --draw drawn
	cd $(PACKAGE) && venv/bin/regiontalk train all mini --help >help.txt
	cd $(PACKAGE) && venv/bin/python -c 'from importlib.resources import files; \
		assert (files("regiontalk") / "recipes" / "mini.toml").is_file()'
	tar xzf $(PACKAGE)/dist/*.tar.gz -C $(PACKAGE)
	cd $(PACKAGE)/regiontalk-*/ && PYTHONPATH=. $(abspath $(BIN))/python -m pytest $(SDIST_TESTS)

oldest: $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OLDEST)
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct -e ".[dev]"
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest $(QUICK)

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

$(VENV)/.docs: $(STAMP)
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet -e ".[docs]" -c constraints.txt
	@touch $@
