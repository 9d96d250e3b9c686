# Sparrow: what is left of a robust neural network after pruning.
#
#   make run                                       the default study, to its report
#   snakemake --cores 2 --configfile STUDY.yaml    any other
#
# Snakemake decides what runs; src/sparrow knows how.

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

# This checkout, also where another workflow uses this one as a module.
HERE = Path(workflow.current_basedir)
# Its own code: here, and in every job, whatever else is installed.
SOURCE = str(HERE / "src")
sys.path.insert(0, SOURCE)

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files.atomic import require_writable
from sparrow.jobs import fork_server, interruption

os.environ.update(
    SPARROW_HOME=str(HERE),
    # Jobs end with the process that started them, however it ends.
    SPARROW_MAIN=interruption.this_process(),
    PYTHONPATH=os.pathsep.join(filter(None, [SOURCE, os.getenv("PYTHONPATH")])),
)

# A study given with --configfile takes the place of the default one; Snakemake alone would merge the two.
if not workflow.config_settings.configfiles:

    configfile: HERE / "config.yaml"


# Before anything asks which entries there are; whether the folders are there is checked with the study.
ENTRIES = config.get("entries")
catalogue.admit(ENTRIES if isinstance(ENTRIES, list) and all(isinstance(one, str) for one in ENTRIES) else [])


# For `--sdm apptainer` (docs/cluster.md), and ignored without it. It holds for the rules below.
IMAGE = HERE / "envs/sparrow.sif"


container: str(IMAGE)


include: "workflow/rules/study.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/initial.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/prune.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/graft.smk"
include: "workflow/rules/quantise.smk"
include: "workflow/rules/imported.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/outputs.smk"
include: "workflow/rules/analyses.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/unfinished.smk"
include: "workflow/rules/outdated.smk"


report: "reports/workflow.rst"


# A group of jobs on a node of a cluster is a workflow of its own, without hooks, whose jobs are workflows without the option;
# so its server of imports starts here.
if workflow.remote_exec and "--local-groupid" in sys.argv and fork_server.can_fork():
    fork_server.start()


onstart:
    try:
        require_writable(Path(RESULTS))
        require_sources()
        require_image()
    except SparrowError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    # Snakemake's own limit on jobs per second sets a timer for every finished job, and the next one when that has run out, for
    # ever: its scheduler would do ever more rounds per second for nothing (docs/scaling.md). Another limit is the user's.
    limit = workflow.scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    # Local jobs fork from one process that has done the imports; jobs elsewhere import for themselves.
    if fork_server.can_fork() and workflow.is_main_process and workflow.local_exec:
        fork_server.start()
    if not workflow.local_exec:
        remember_what_is_to_be_made()


onerror:
    mark_what_was_not_made()


rule all:
    default_target: True
    input:
        f"{RESULTS}/{paths.study_table('outcomes')}",
        f"{RESULTS}/{paths.study_table('summary')}",
        f"{RESULTS}/{paths.study_table('costs')}",
        f"{RESULTS}/{paths.study_table('recall')}",
        f"{RESULTS}/{paths.study_table('budgets')}",
        f"{RESULTS}/{paths.study_page('ranking')}",
        f"{RESULTS}/{paths.study_page('summary')}",
        f"{RESULTS}/{paths.study_page('costs')}",
        f"{RESULTS}/{paths.study_page('provenance')}",
        f"{RESULTS}/{paths.study_page('report')}",
        targets.outputs(STUDY),
        targets.collected_tables(STUDY),
        targets.timings(STUDY),
        targets.published_tables(STUDY),
        figures.files(STUDY),
