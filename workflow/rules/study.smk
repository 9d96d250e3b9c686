# What the rules ask of the study: thin lambdas over sparrow.study, which knows the cells, and sparrow.files.paths, which knows the files.

import functools

from sparrow.errors import SparrowError

# A module has its study from the workflow around it, which may have it from anywhere.
NO_FILE = "config.yaml" if Path(workflow.main_snakefile).resolve().parent == HERE.resolve() else "config of the module"
CONFIG_NAME = ", ".join(os.path.relpath(path) for path in workflow.config_settings.configfiles) or NO_FILE
try:
    from sparrow.files import content, paths
    from sparrow.files.atomic import require_folder, require_writable
    from sparrow.files.paths import Cell, Parent
    from sparrow.files.strict_yaml import refuse_duplicates
    from sparrow.files.yaml_words import refuse_ambiguous
    from sparrow.study import analyses, analysis_tables, cells, comparison, expected, figures, job_specs, page, sources, targets
    from sparrow.study.code_digest import code_digest, file_digest
    from sparrow.study.load import load_study
    from sparrow.study.wildcards import checkpoint_with_examples, checkpoint_without_examples
    from sparrow.study.wildcards import dataset_of_imported, dataset_of_trained, one_of

    for path in workflow.config_settings.configfiles or [HERE / "config.yaml"]:
        refuse_duplicates(os.path.relpath(path))
        refuse_ambiguous(os.path.relpath(path))
    STUDY = load_study(config, CONFIG_NAME)
    require_folder(Path(STUDY.results))
    # Where Snakemake keeps what it knows of the results.
    require_writable(Path(".snakemake"), "valid: another directory to run in, with --directory")
except SparrowError as error:
    # The message says it all: no traceback, no line of the Snakefile.
    print(error, file=sys.stderr)
    sys.exit(1)

RESULTS = STUDY.results
DATA = f"{RESULTS}/{paths.DATA_PATTERN}{paths.NETWORK}"
CHECKPOINT = f"{RESULTS}/{paths.CHECKPOINT_PATTERN}"
TRAINED = {"output": paths.NETWORK, "curve": paths.CURVE, "cost": paths.COST}
LOGS = f"{RESULTS}/logs"


wildcard_constraints:
    **paths.WILDCARDS,


# Digest of the one script, for the params of every rule: the profiles have no trigger for code of their own.
SCRIPT = file_digest(HERE / "workflow/scripts/job.py")


def own_files(wildcards):
    """The user's own files that a data set is read from. One that is not there is no input: the job says so in one line."""
    return sources.files(STUDY.datasets[wildcards.dataset])


def require_sources():
    """Before any job starts. Not while planning: a study can be planned where its images are not."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "data":
            sources.require(job.wildcards.dataset, STUDY.datasets[job.wildcards.dataset])
        elif job.rule.name == "corrupt":
            sources.require_archive(job.wildcards.dataset, STUDY.datasets[job.wildcards.dataset])


def require_image():
    """The container of the jobs, if they are to run in one: Apptainer would look for it job by job, in words of its own."""
    if "apptainer" in map(str, workflow.deployment_settings.deployment_method) and not IMAGE.exists():
        raise SparrowError(f"{IMAGE}: no such image; valid: one built from envs/Dockerfile, as docs/cluster.md says")


@functools.cache
def extra_memory(dataset):
    """MiB of a data set's extra images; their file is read once, not for every job."""
    return job_specs.extra_memory(STUDY, dataset)


def parent_of(wildcards):
    return Parent(wildcards.dataset, wildcards.model, wildcards.objective, int(wildcards.seed))


def cell_of(wildcards):
    return Cell(parent_of(wildcards), wildcards.method, float(wildcards.ratio))


def variant_of(wildcards):
    return paths.parse(paths.VARIANT_PATTERN.format(**wildcards))


def imported_path(wildcards):
    return f"{parent_of(wildcards).path}/{wildcards.checkpoint}"


def imported_files(wildcards):
    """The third party's file, and the map of its names if that is a file of the user's."""
    return job_specs.import_files(STUDY.imports[imported_path(wildcards)])


def examples_for(wildcards):
    return targets.examples(STUDY, parent_of(wildcards), wildcards.checkpoint, wildcards.verifier)


def proofs_for(wildcards):
    return targets.proofs(STUDY, parent_of(wildcards), wildcards.checkpoint, wildcards.attack)


def transferred_for(wildcards):
    return targets.transferred(STUDY, parent_of(wildcards), wildcards.attack)


def dense_for(wildcards):
    """The dense network whose adversarial images are tried, in a list; an empty one, if none are."""
    return [f"{RESULTS}/{parent_of(wildcards).path}/{paths.DENSE}{paths.NETWORK}"] if transferred_for(wildcards) else []


ATTACKS = cells.tables(STUDY, "attacks")


# Functions, not lists: a job that starts a Snakemake of its own reads this file too, and needs none of these names.
def all_networks(wildcards):
    return targets.networks(STUDY)


def all_tables(wildcards):
    return targets.outcome_tables(STUDY)


def all_analysed(wildcards):
    return targets.analysis_tables(STUDY, timed=False)


@functools.cache
def analysis_jobs():
    """All jobs of analyses, by the paths of their tables below the results."""
    return {job.path: job for job in analyses.all_jobs(STUDY)}


def analysis_of(scope, wildcards):
    """The job of the analysis of that scope that `wildcards` name."""
    return analysis_jobs()[paths.ANALYSIS_PATTERNS[scope].format(**wildcards)]


def analysis_collected(wildcards):
    """The label of the analysis that a collected table is of."""
    return analysis_tables.collected(STUDY)[wildcards.collected]


def threads_of_analysis(wildcards):
    return getattr(STUDY.analyses[wildcards.analysis], "threads", 1)


def all_costs(wildcards):
    return targets.costs(STUDY)


def figure_of(wildcards):
    return STUDY, wildcards.dataset, wildcards.model, wildcards.figure
