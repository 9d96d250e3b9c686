# Analyses: one rule a scope, which says what one job is about. What it reads is known by where its table lies.
rule analyse_dataset:
    input:
        networks=lambda wildcards: targets.analysed(STUDY, analysis_of("dataset", wildcards), "networks"),
        dense=lambda wildcards: targets.analysed(STUDY, analysis_of("dataset", wildcards), "dense"),
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['dataset']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['dataset'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "dataset")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage="sparrow.stages.analyse:analyse",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("dataset", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse {wildcards.dataset}: {wildcards.analysis}"
    script:
        "../scripts/job.py"


rule analyse_network:
    input:
        networks=lambda wildcards: targets.analysed(STUDY, analysis_of("network", wildcards), "networks"),
        dense=lambda wildcards: targets.analysed(STUDY, analysis_of("network", wildcards), "dense"),
        outputs=lambda wildcards: targets.outputs_read(STUDY, analysis_of("network", wildcards)),
        corrupted=lambda wildcards: targets.corrupted(STUDY, analysis_of("network", wildcards)),
        data=DATA,
        examples=lambda wildcards: targets.examples_read(STUDY, analysis_of("network", wildcards)),
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['network']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['network'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "network")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        stage="sparrow.stages.analyse:analyse",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("network", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint}: {wildcards.analysis}"
    script:
        "../scripts/job.py"


rule analyse_pair:
    input:
        networks=lambda wildcards: targets.analysed(STUDY, analysis_of("pair", wildcards), "networks"),
        dense=lambda wildcards: targets.analysed(STUDY, analysis_of("pair", wildcards), "dense"),
        outputs=lambda wildcards: targets.outputs_read(STUDY, analysis_of("pair", wildcards)),
        corrupted=lambda wildcards: targets.corrupted(STUDY, analysis_of("pair", wildcards)),
        data=DATA,
        examples=lambda wildcards: targets.examples_read(STUDY, analysis_of("pair", wildcards)),
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['pair']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['pair'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "pair")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        stage="sparrow.stages.analyse:analyse",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("pair", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint} beside its dense network: {wildcards.analysis}"
    script:
        "../scripts/job.py"


# Timings are taken here alone: jobs at different times, or on different nodes, could not be compared.
rule analyse_family:
    input:
        networks=lambda wildcards: targets.analysed(STUDY, analysis_of("family", wildcards), "networks"),
        dense=lambda wildcards: targets.analysed(STUDY, analysis_of("family", wildcards), "dense"),
        outputs=lambda wildcards: targets.outputs_read(STUDY, analysis_of("family", wildcards)),
        corrupted=lambda wildcards: targets.corrupted(STUDY, analysis_of("family", wildcards)),
        data=DATA,
        examples=lambda wildcards: targets.examples_read(STUDY, analysis_of("family", wildcards)),
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['family']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['family'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "family")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=lambda wildcards: 0 if STUDY.analyses[wildcards.analysis].timed else 1,
    params:
        stage="sparrow.stages.analyse:analyse",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("family", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse the networks of {wildcards.objective} {wildcards.model} (seed {wildcards.seed}): {wildcards.analysis}"
    script:
        "../scripts/job.py"


rule analyse_seeds:
    input:
        networks=lambda wildcards: targets.analysed(STUDY, analysis_of("seeds", wildcards), "networks"),
        dense=lambda wildcards: targets.analysed(STUDY, analysis_of("seeds", wildcards), "dense"),
        outputs=lambda wildcards: targets.outputs_read(STUDY, analysis_of("seeds", wildcards)),
        corrupted=lambda wildcards: targets.corrupted(STUDY, analysis_of("seeds", wildcards)),
        data=DATA,
        examples=lambda wildcards: targets.examples_read(STUDY, analysis_of("seeds", wildcards)),
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['seeds']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['seeds'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "seeds")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        stage="sparrow.stages.analyse:analyse",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("seeds", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint} over all seeds: {wildcards.analysis}"
    script:
        "../scripts/job.py"


rule analyse_tables:
    input:
        networks=all_networks,
        tables=all_tables,
        outputs=lambda wildcards: targets.outputs_read(STUDY, analysis_of("tables", wildcards)),
        analysed=lambda wildcards: targets.tables_read(STUDY, wildcards.analysis),
    output:
        multiext(f"{RESULTS}/{paths.ANALYSIS_PATTERNS['tables']}", output=paths.TABLE, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.ANALYSIS_PATTERNS['tables'])}",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, "tables")),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage="sparrow.stages.analyse_tables:analyse_tables",
        spec=lambda wildcards: analyses.spec(STUDY, analysis_of("tables", wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Analyse all tables: {wildcards.analysis}"
    script:
        "../scripts/job.py"


# Each table of an analysis over all of its jobs. That they are of this study, aggregation has seen.
rule collect:
    input:
        f"{RESULTS}/{paths.study_table('summary')}",
        tables=lambda wildcards: targets.analysis_tables(STUDY, label=analysis_collected(wildcards)),
    output:
        output=report(
            f"{RESULTS}/{{collected}}.csv",
            caption="../../reports/captions/analysis.rst",
            category="Tables",
            labels={"table": "{collected} (CSV)"},
        ),
    log:
        f"{LOGS}/analyses/{{collected}}.collected.log",
    wildcard_constraints:
        collected=one_of(analysis_tables.collected(STUDY)),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.collected:write_collected",
        code=lambda wildcards: code_digest("sparrow.results.collected"),
        script=SCRIPT,
        analysis=lambda wildcards: {
            label: tables.model_dump()
            for label, tables in analysis_tables.collect_spec(STUDY, timed=False, label=analysis_collected(wildcards)).items()
        },
    message:
        "Collect {wildcards.collected} of all jobs"
    script:
        "../scripts/job.py"


# What was timed, beside what is preserved.
rule timings:
    input:
        summary=f"{RESULTS}/{paths.study_table('summary')}",
        tables=lambda wildcards: targets.analysis_tables(STUDY, label=wildcards.analysis),
    output:
        output=report(
            f"{RESULTS}/{{analysis}}.csv",
            caption="../../reports/captions/analysis.rst",
            category="Tables",
            labels={"table": "{analysis} (CSV)"},
        ),
    log:
        f"{LOGS}/analyses/{{analysis}}.timings.log",
    wildcard_constraints:
        analysis=one_of(analyses.labels(STUDY, timed=True)),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.timings:write_timings",
        code=lambda wildcards: code_digest("sparrow.results.timings"),
        script=SCRIPT,
        configured=lambda wildcards: {
            label: tables.model_dump()
            for label, tables in analysis_tables.collect_spec(STUDY, timed=True, label=wildcards.analysis).items()
        },
        specs=lambda wildcards: {
            job.place: content.of_spec(analyses.spec(STUDY, job).model_dump())
            for job in analyses.jobs(STUDY, wildcards.analysis)
        },
    message:
        "Lay out {wildcards.analysis} beside what is preserved"
    script:
        "../scripts/job.py"
