# make run     set up, run the default study, write its report
# make test    set up, run the lints and the tests
# make docs    the documents as a site, in site/; a link that leads nowhere is an error (part of the lints)
# make slow    the tests that take minutes
# make chaos   a study killed again and again (minutes)
# make slurm-test   start a Slurm on this machine (Debian, as root: install it), run the digits study on it, stop it
# make bench    Sparrow against what one would use instead (an hour or two; docs/performance.md)
# make bench-dag    what Snakemake itself takes over studies of 100 and 1,000 cells (docs/scaling.md)
# make findings   surprises about others' packages, looked for again (minutes; needs the network; findings/README.md)
# make rulegraph   draw docs/pictures/rulegraph.svg anew, when there is another rule (needs graphviz)
# make lock    resolve envs/requirements.in anew (needs uv)
#
# Another study:  make run STUDY=workflow/studies/digits-objectives.yaml
# More options:   make run ARGS="--cores 1 --dry-run"

# The first Python that fits: 3.11 or 3.12.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c "$(FITS)" 2>/dev/null && echo $$python && break; done)
STUDY ?= config.yaml
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --workflow-profile workflow/profiles/default --configfile $(STUDY)
NAME := $(if $(filter config.yaml,$(STUDY)),report,$(basename $(notdir $(STUDY))))
REPORT := reports/$(NAME).html
RESULTS = $$($(BIN)/python -c 'import yaml; print(yaml.safe_load(open("$(STUDY)")).get("results", "results"))')

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test lint docs setup lock slow chaos slurm-test bench bench-dag findings rulegraph
run: setup
	@test -f "$(STUDY)" || { echo "STUDY=$(STUDY): no such file; valid: a study such as config.yaml"; exit 1; }
	$(BIN)/sparrow run $(STUDY) $(ARGS)
	@$(if $(filter -n --dry-run --dryrun --unlock,$(ARGS)),:,cp "$(RESULTS)/tables/report.html" $(REPORT) && \
	$(SNAKEMAKE) --report $(REPORT:.html=.workflow.html) --quiet all && \
	echo && echo "Results:  $(RESULTS)/summary.csv" && \
	echo "Workflow: $(REPORT:.html=.workflow.html)" && echo "Report:   $(REPORT)")

test: setup lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

slow: setup
	$(BIN)/python -m pytest -m slow

chaos: setup
	$(BIN)/python -m pytest -s -m slow tests/chaos

slurm-test: setup
	tests/slurm/cluster.sh $(BIN)/python -m pytest -m slow tests/slurm

bench: setup
	@for script in training accuracy crown_ibp attacks verification memory workflow; do OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$script.py || exit 1; done

bench-dag: setup
	$(BIN)/python benchmarks/dag.py plan,job 100 1000

# Arrows that a longer way already shows are left out.
rulegraph: setup
	$(BIN)/snakemake --workflow-profile workflow/profiles/default --configfile config.yaml docs/pictures/rulegraph.yaml \
		--rulegraph | tred | dot -Tsvg -o docs/pictures/rulegraph.svg

findings:
	@PYTHON=$(PYTHON) findings/run

lint: setup docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

docs: setup
	$(BIN)/mkdocs build --strict --quiet

setup: $(VENV)/.command

$(VENV)/.complete: envs/requirements.txt
	@"$(PYTHON)" -c "$(FITS)" || { echo "Sparrow needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/requirements.txt
	@touch $@

# The command `sparrow`, which runs the code as it lies here.
$(VENV)/.command: $(VENV)/.complete pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock:
	cd envs && uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--override overrides.txt requirements.in -o requirements.txt
	sed -i "s/^# lock: .*/# lock: $$(sha256sum envs/requirements.txt | cut -c1-16)/" envs/sparrow.yaml
