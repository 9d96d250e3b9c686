# From the config to cells and file names: the only place that knows which cells exist.

import functools
import re

from sparrow.errors import SparrowError

# A module has its study from the workflow around it, which may have it from anywhere.
NO_FILE = "config of the module" if workflow.modifier.is_module else "config.yaml"
CONFIG_NAME = ", ".join(os.path.relpath(path) for path in workflow.config_settings.configfiles) or NO_FILE
try:
    from sparrow.files import content
    from sparrow.files.atomic import require_folder, require_writable
    from sparrow.files.paths import Cell, Parent
    from sparrow.files.strict_yaml import refuse_duplicates
    from sparrow.files.yaml_words import refuse_ambiguous
    from sparrow import catalogue
    from sparrow.study import analyses, analysis_tables, cells, comparison, expected, job_specs, sources
    from sparrow.study.code_digest import code_digest, file_digest, function_digest
    from sparrow.study.load import load_study

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
LABEL = "[a-z0-9]+(?:-[a-z0-9]+)*"
RATIO = r"0\.\d+"
RADIUS = r"(?:-eps\d[\d._]*)?"

# One folder per dense network, one below it per pruned one; every checkpoint has its evaluations in a folder of its name.
DATA = f"{RESULTS}/{{dataset}}/data.safetensors"
PARENT = f"{RESULTS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}"
CELL = f"{PARENT}/{{method}}-{{ratio}}"
CHECKPOINT = f"{PARENT}/{{checkpoint}}"
TRAINED = [".safetensors", ".curve.csv", ".cost.json"]
LOGS = f"{RESULTS}/logs"


wildcard_constraints:
    dataset=LABEL,
    model=LABEL,
    objective=LABEL,
    method=LABEL,
    attack=f"{LABEL}{RADIUS}",
    verifier=f"{LABEL}{RADIUS}",
    seed=r"\d+",
    ratio=RATIO,
    checkpoint=f"dense|{LABEL}-{RATIO}/(?:pruned|finetuned)",


def script_digest(name):
    """Digest of a script of workflow/scripts, for the params of its rule: the profiles have no trigger for code of their own."""
    return file_digest(HERE / f"workflow/scripts/{name}.py")


def own_files(wildcards):
    """The user's own files that a data set is read from. One that is not there is no input: the job says so in one line."""
    return sources.files(STUDY.datasets[wildcards.dataset])


def require_sources():
    """Before any job starts. Not while planning: a study can be looked at where its images are not."""
    for job in workflow.dag.needrun_jobs():
        if job.rule.name == "data":
            sources.require(job.wildcards.dataset, STUDY.datasets[job.wildcards.dataset])


@functools.cache
def extra_memory(dataset):
    """MiB of a data set's extra images; their file is looked at once, not for every job."""
    return job_specs.extra_memory(STUDY, dataset)


def parent_of(wildcards):
    return Parent(wildcards.dataset, wildcards.model, wildcards.objective, int(wildcards.seed))


def cell_of(wildcards):
    return Cell(parent_of(wildcards), wildcards.method, float(wildcards.ratio))


def one_of(names):
    """A pattern that matches these names; nothing, if there are none."""
    return "|".join(map(re.escape, sorted(names))) or "(?!)"


# Stands before the path of a checkpoint: `(?=...)` lets a rule make imported ones alone, `(?!...)` all but these.
IMPORTED = rf"(?:{one_of(STUDY.imports)})\."


def imported_path(wildcards):
    return f"{parent_of(wildcards).path}/{wildcards.checkpoint}"


def imported_files(wildcards):
    """The third party's file, and the map of its names if that is a file of the user's."""
    return job_specs.import_files(STUDY.imports[imported_path(wildcards)])


def examples_for(wildcards):
    """The adversarial examples that a verifier looks at."""
    verifier = cells.table(STUDY, "verifiers", wildcards.objective, wildcards.verifier)
    attacks = cells.attacks_rechecked_by(STUDY, verifier, wildcards.objective)
    return [f"{CHECKPOINT}/{attack.path}.examples.safetensors".format(**wildcards) for attack in attacks]


def proofs_for(wildcards):
    """The verifiers' tables that tell an attack which images no attack can break."""
    attack = cells.table(STUDY, "attacks", wildcards.objective, wildcards.attack)
    verifiers = cells.verifiers_trusted_by(STUDY, attack, wildcards.objective)
    return [f"{CHECKPOINT}/{verifier.path}.csv".format(**wildcards) for verifier in verifiers]


ATTACKS = cells.tables(STUDY, "attacks")
KEPT = cells.attacks_with_examples(STUDY)


# Functions, not lists: a job that starts a Snakemake of its own reads this file too, and needs none of these names.
def all_networks(wildcards):
    return [f"{RESULTS}/{one.path}.safetensors" for one in cells.evaluated(STUDY)]


def all_tables(wildcards):
    tables = {
        objective: [table.path for room in ("attacks", "verifiers") for table in cells.tables(STUDY, room, objective).values()]
        for objective in STUDY.objectives
    }
    return [f"{RESULTS}/{one.path}/{path}.csv" for one in cells.evaluated(STUDY) for path in tables[one.parent.objective]]


def all_compact(wildcards):
    return [f"{RESULTS}/{one.path}/compact.safetensors" for one in cells.compacted(STUDY)]


# Where the table of an analysis lies, by its scope.
DATASET_ANALYSIS = f"{RESULTS}/{{dataset}}/analyses/{{analysis}}"
NETWORK_ANALYSIS = PAIR_ANALYSIS = f"{CHECKPOINT}/analyses/{{analysis}}"
FAMILY_ANALYSIS = f"{PARENT}/analyses/{{analysis}}"
SEEDS_ANALYSIS = f"{RESULTS}/{{dataset}}/{{model}}/{{objective}}/seeds/{{checkpoint}}/analyses/{{analysis}}"
TABLES_ANALYSIS = f"{RESULTS}/analyses/{{analysis}}"
# What the study says of the analyses whose numbers are timings, and the tables of the others.
TIMED = analysis_tables.collect_spec(STUDY, timed=True)
ANALYSED = [
    name for label, entry in STUDY.analyses.items() if not entry.timed for name in analysis_tables.table_names(STUDY, label)
]


def analyses_of(scope):
    """A pattern that matches the analyses of one scope."""
    return one_of(label for label, entry in STUDY.analyses.items() if entry.scope == scope)


@functools.cache
def analysis_jobs():
    """All jobs of analyses, by the paths of their tables."""
    return {f"{RESULTS}/{job.path}": job for job in analyses.all_jobs(STUDY)}


def analysis_job(path, wildcards):
    return analysis_jobs()[path.format(**wildcards)]


def analysed(what, path, wildcards):
    """The `networks` that an analysis is about, the `dense` ones that they come from, or the `compact` ones of them."""
    end = "/compact.safetensors" if what == "compact" else ".safetensors"
    return [f"{RESULTS}/{one.path}{end}" for one in getattr(analysis_job(path, wildcards), what)]


def analysis_spec(path, wildcards):
    return analyses.spec(STUDY, analysis_job(path, wildcards)).model_dump()


def threads_of_analysis(wildcards):
    return getattr(STUDY.analyses[wildcards.analysis], "threads", 1)


def all_analysed(wildcards):
    return [f"{RESULTS}/{job.path}.csv" for job in analyses.all_jobs(STUDY, timed=False)]


def timed_tables(wildcards):
    return [f"{RESULTS}/{job.path}.csv" for job in analyses.jobs(STUDY, wildcards.analysis)]


def all_costs(wildcards):
    made = [f"{RESULTS}/{dataset}/data" for dataset in STUDY.datasets]
    made += [f"{RESULTS}/{run.path}" for run in cells.trainings(STUDY)]
    tables = all_tables(wildcards) + [f"{path}.csv" for path in analysis_jobs()]
    made += [table.removesuffix(".csv") for table in tables]
    made += [file.removesuffix(".safetensors") for file in all_compact(wildcards)]
    return [f"{path}.cost.json" for path in made]


# What each figure is drawn from: aggregated tables, or files of single runs.
FIGURE_INPUTS = {
    "accuracy": "summary.csv",
    "preservation": "summary.csv",
    "sparsity": "layers.csv",
    "ranking": "ranking.csv",
    "recall": ["recall.csv", "intensification.csv"],
    "robustness": "summary.csv",
    "decisions": "decisions.csv",
    "security": "security.csv",
    "published": "published.csv",
    "curves": None,
    "traces": None,
}
# A figure of nothing is not drawn.
if not any(method.traces for method in STUDY.methods.values()):
    del FIGURE_INPUTS["traces"]
if not cells.has_security_curve(STUDY):
    del FIGURE_INPUTS["security"]
# Of dense networks alone, only those that show them.
if not cells.prunes(STUDY):
    DENSE_TOO = ("robustness", "decisions", "security", "curves")
    FIGURE_INPUTS = {name: table for name, table in FIGURE_INPUTS.items() if name in DENSE_TOO}
DRAWN = analysis_tables.drawn(STUDY)
FIGURE_INPUTS |= DRAWN
COMPARED = comparison.compared(STUDY)
if not COMPARED:
    FIGURE_INPUTS.pop("published", None)
MEASURED = {objective: cells.metrics_of(STUDY, objective) for objective in STUDY.objectives}


def objectives_of(model):
    return [objective for objective in STUDY.objectives if cells.trained(STUDY, model, objective)]


def has_figure(dataset, model, figure):
    if figure == "published":
        return (dataset, model) in COMPARED
    return figure != "decisions" or any("vra" in MEASURED[objective] for objective in objectives_of(model))


FIGURES = [
    f"{RESULTS}/figures/{dataset}.{model}.{figure}.{suffix}"
    for dataset in STUDY.datasets
    for model in STUDY.models
    for figure in FIGURE_INPUTS
    for suffix in ("svg", "png")
    if has_figure(dataset, model, figure)
]
# Tables of nothing are not made, either.
BESIDE = [f"{RESULTS}/tables/published.html"] if STUDY.published else []
if STUDY.published and STUDY.published.headline:
    BESIDE.append(f"{RESULTS}/tables/headline.html")


def runs_of(wildcards):
    """The runs whose files a figure is drawn from."""
    runs = [
        one for one in cells.trainings(STUDY) if (one.parent.dataset, one.parent.model) == (wildcards.dataset, wildcards.model)
    ]
    if wildcards.figure == "traces":
        return [one for one in runs if one.stage == "pruned" and STUDY.methods[one.cell.method].traces]
    return runs


def figure_input(wildcards):
    tables = FIGURE_INPUTS[wildcards.figure]
    suffix = {"curves": "curve", "traces": "trace"}.get(wildcards.figure)
    if tables:
        return [f"{RESULTS}/{table}" for table in ([tables] if isinstance(tables, str) else tables)]
    return [f"{RESULTS}/{run.path}.{suffix}.csv" for run in runs_of(wildcards)]


def figure_code(figure):
    if figure in DRAWN:
        return function_digest(catalogue.module_name("analyses", STUDY.analyses[figure].kind), "draw")
    return code_digest(f"sparrow.results.figures.{figure}")


def figure_function(wildcards):
    """Where the figure is drawn."""
    if wildcards.figure in DRAWN:
        return f"{catalogue.module_name('analyses', STUDY.analyses[wildcards.figure].kind)}:draw"
    return f"sparrow.results.figures.{wildcards.figure}:draw_{wildcards.figure}"


def figure_spec(wildcards):
    spec = {
        "dataset": wildcards.dataset,
        "model": wildcards.model,
        "objectives": objectives_of(wildcards.model),
        "code": figure_code(wildcards.figure),
    }
    if FIGURE_INPUTS[wildcards.figure] is None:
        spec["runs"] = [run.identity() for run in runs_of(wildcards)]
    else:
        spec["stage"] = "finetuned" if "finetuned" in STUDY.evaluate else "pruned"
        spec["threats"] = {objective: STUDY.threat_of(objective).model_dump() for objective in spec["objectives"]}
    if wildcards.figure in ("decisions", "preservation"):
        spec["measured"] = {objective: MEASURED[objective] for objective in spec["objectives"]}
    return spec
