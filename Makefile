# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
DEMO_OUT ?= demo_output
GROUPS_OUT ?= demo_output_groups
ENGINE ?= podman
BENCH_DATA ?= /tmp/nidecomp_benchmark
BENCH_RUNS ?= 8
EVERY ?= 1
FUZZ_INPUTS ?= 5000
FUZZ_SEED ?= 0
TEST_PROCESSES ?= logical
BIN := $(VENV)/bin
LOCKED := --universal --python-version 3.12 --generate-hashes --upgrade --no-header --quiet

.PHONY: demo test recomputed lint docs wheel fixtures picture lock check-container check-slurm check-faults check-annex fuzz \
        clean help bench-data bench bench-map bench-scaling bench-group bench-executors \
        bench-scale

help:
	@echo "make demo      install, run the main job on bids_fixtures/rest, compare two groups, say where the results are"
	@echo "make test      install, then tests, lint, types and import contract"
	@echo "make recomputed  published numbers against a recomputation, with the largest differences"
	@echo "make lint      lint, types and import contract alone"
	@echo "make docs      make the documentation site in build/site"
	@echo "make wheel     make wheel and source archive in dist"
	@echo "make fixtures  write bids_fixtures again from its generator"
	@echo "make picture   draw README's pictures from the demo's results"
	@echo "make lock      write requirements.lock anew: what the image installs"
	@echo "make check-container  build the image (ENGINE=podman or docker) and run the demo in it"
	@echo "make check-slurm  both ways of using a cluster, on a real SLURM (Debian, root); IMAGE=x.sif"
	@echo "make check-faults  kill it, fill its disk, take its inputs away, at every step"
	@echo "make check-annex  fetch from git-annex repositories, killed at each call"
	@echo "make fuzz      feed every reader thousands of changed files"
	@echo "make bench     compare with nilearn on full-size data, made in BENCH_DATA=$(BENCH_DATA)"
	@echo "make bench-map, bench-scaling, bench-group, bench-executors, bench-scale"
	@echo "               the reduce step, many runs, the group step, dask against processes, many tiny runs"
	@echo "make clean     remove the environment and the demo's results"

# The stamps say what the environment holds: it is made again when the dependencies change.
$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "NiDecomp needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.development: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable . --group test --group lint
	touch $@

demo: $(VENV)/.runtime
	$(BIN)/nidecomp bids_fixtures/rest $(DEMO_OUT) group --n-components 20
	@echo
	@echo "The results are in $(DEMO_OUT):"
	@find $(DEMO_OUT)/tpl-* -name '*.nii.gz' -o -name '*_metrics.tsv' | sort
	@echo "Open $(DEMO_OUT)/report.html in a browser; README.md there says what each file is."
	@echo
	$(BIN)/nidecomp bids_fixtures/groups $(GROUPS_OUT) group --n-components 10 --model "group + age" --test group
	@echo
	@echo "The comparison of two groups is in $(GROUPS_OUT): open report.html there; comparisons.tsv is the table."

# A process for each core; to run a part, or one after the other: .venv/bin/pytest tests/bids
test: lint
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --maxprocesses 8 --durations 20

# In one process, so that the table of the largest differences is that of all tests.
recomputed: $(VENV)/.development
	$(BIN)/python -m pytest -v -p no:xdist tests/recomputed

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The site in build/site, without a network; a warning, such as a dead link, is an error.
$(VENV)/.documentation: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable . --group docs
	touch $@

docs: $(VENV)/.documentation
	rm -rf build/site
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs build/site
	@echo "Open build/site/index.html in a browser."

# Wheel and source archive in dist/.
wheel: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group release
	$(BIN)/python -m build --outdir dist .

fixtures: $(VENV)/.runtime
	$(BIN)/python bids_fixtures/generate.py

picture: demo
	$(BIN)/python docs/make_picture.py $(DEMO_OUT) docs/demo_maps.png
	$(BIN)/nidecomp bids_fixtures/rest $(DEMO_OUT)_auto group --n-components auto
	cp $(DEMO_OUT)_auto/figures/order.svg docs/demo_order.svg
	$(BIN)/python -m pip install --quiet --group test
	$(BIN)/python docs/shoot_report.py $(DEMO_OUT) docs/demo_report.png canica07
	$(BIN)/nidecomp bids_fixtures/surfaces $(DEMO_OUT)_surfaces group --space fsLR --n-components 10
	$(BIN)/python docs/shoot_report.py $(DEMO_OUT)_surfaces docs/demo_surfaces.png canica03
	$(BIN)/python docs/shoot_report.py $(GROUPS_OUT) docs/demo_comparison.png part-compared

# What the image installs; the environments above take what is new, so that tests meet it first.
lock: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group lock
	$(BIN)/uv pip compile pyproject.toml --extra dask --extra annex $(LOCKED) -o requirements.lock
	$(BIN)/uv pip compile --group pyproject.toml:build $(LOCKED) -o requirements-build.lock

# Every fault at every step (EVERY=5: every fifth), and thousands of files that no reader should get.
check-faults: $(VENV)/.development
	EVERY=$(EVERY) $(BIN)/python -m pytest -s tests/faults/sweep_faults.py

# Annexed datasets: the other ways to fetch, killed at each call (EVERY=5: every fifth).
check-annex: $(VENV)/.development
	EVERY=$(EVERY) $(BIN)/python -m pytest -s tests/annex/check_annex.py

fuzz: $(VENV)/.development
	$(BIN)/python tools/fuzz.py --inputs $(FUZZ_INPUTS) --seed $(FUZZ_SEED)

check-container:
	tools/check_container.sh $(ENGINE)

check-slurm: $(VENV)/.development
	tools/check_slurm.sh $(IMAGE)

# Full-size data (70 MB a run) that is kept for the next time; see benchmarks/README.md.
bench-data: $(VENV)/.development
	$(BIN)/python benchmarks/make_dataset.py $(BENCH_DATA) --runs $(BENCH_RUNS) --nprocs 2

bench: bench-data
	$(BIN)/python benchmarks/side_by_side.py --data $(BENCH_DATA)

bench-map: bench-data
	$(BIN)/python benchmarks/reduce_step.py --data $(BENCH_DATA)

bench-scaling: BENCH_RUNS = 64
bench-scaling: bench-data
	$(BIN)/python benchmarks/scaling.py --data $(BENCH_DATA)

bench-group: $(VENV)/.development
	$(BIN)/python benchmarks/group_step.py

bench-executors: $(VENV)/.development
	$(BIN)/python benchmarks/executors.py

bench-scale: $(VENV)/.development
	$(BIN)/python benchmarks/scale.py

clean:
	rm -rf $(VENV) $(DEMO_OUT) $(DEMO_OUT)_auto $(GROUPS_OUT)
