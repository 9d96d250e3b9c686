# Analyses: one rule a scope, which says what one job is about. What it reads is known by where its table lies.
rule analyse_dataset:
    input:
        networks=lambda wildcards: analysed("networks", DATASET_ANALYSIS, wildcards),
        dense=lambda wildcards: analysed("dense", DATASET_ANALYSIS, wildcards),
        compact=lambda wildcards: analysed("compact", DATASET_ANALYSIS, wildcards),
        data=DATA,
    output:
        multiext(DATASET_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("dataset"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=lambda wildcards: analysis_spec(DATASET_ANALYSIS, wildcards),
        script=script_digest("analyse"),
    message:
        "Analyse {wildcards.dataset}: {wildcards.analysis}"
    script:
        "../scripts/analyse.py"


rule analyse_network:
    input:
        networks=lambda wildcards: analysed("networks", NETWORK_ANALYSIS, wildcards),
        dense=lambda wildcards: analysed("dense", NETWORK_ANALYSIS, wildcards),
        compact=lambda wildcards: analysed("compact", NETWORK_ANALYSIS, wildcards),
        data=DATA,
    output:
        multiext(NETWORK_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("network"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        spec=lambda wildcards: analysis_spec(NETWORK_ANALYSIS, wildcards),
        script=script_digest("analyse"),
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint}: {wildcards.analysis}"
    script:
        "../scripts/analyse.py"


rule analyse_pair:
    input:
        networks=lambda wildcards: analysed("networks", PAIR_ANALYSIS, wildcards),
        dense=lambda wildcards: analysed("dense", PAIR_ANALYSIS, wildcards),
        compact=lambda wildcards: analysed("compact", PAIR_ANALYSIS, wildcards),
        data=DATA,
    output:
        multiext(PAIR_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/{{checkpoint}}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("pair"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        spec=lambda wildcards: analysis_spec(PAIR_ANALYSIS, wildcards),
        script=script_digest("analyse"),
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint} beside its dense network: {wildcards.analysis}"
    script:
        "../scripts/analyse.py"


# Timings are taken here alone: jobs at different times, or on different nodes, could not be compared.
rule analyse_family:
    input:
        networks=lambda wildcards: analysed("networks", FAMILY_ANALYSIS, wildcards),
        dense=lambda wildcards: analysed("dense", FAMILY_ANALYSIS, wildcards),
        compact=lambda wildcards: analysed("compact", FAMILY_ANALYSIS, wildcards),
        data=DATA,
    output:
        multiext(FAMILY_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("family"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=lambda wildcards: 0 if STUDY.analyses[wildcards.analysis].timed else 1,
    params:
        spec=lambda wildcards: analysis_spec(FAMILY_ANALYSIS, wildcards),
        script=script_digest("analyse"),
    message:
        "Analyse the networks of {wildcards.objective} {wildcards.model} (seed {wildcards.seed}): {wildcards.analysis}"
    script:
        "../scripts/analyse.py"


rule analyse_seeds:
    input:
        networks=lambda wildcards: analysed("networks", SEEDS_ANALYSIS, wildcards),
        dense=lambda wildcards: analysed("dense", SEEDS_ANALYSIS, wildcards),
        compact=lambda wildcards: analysed("compact", SEEDS_ANALYSIS, wildcards),
        data=DATA,
    output:
        multiext(SEEDS_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seeds/{{checkpoint}}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("seeds"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        spec=lambda wildcards: analysis_spec(SEEDS_ANALYSIS, wildcards),
        script=script_digest("analyse"),
    message:
        "Analyse {wildcards.objective} {wildcards.model} {wildcards.checkpoint} over all seeds: {wildcards.analysis}"
    script:
        "../scripts/analyse.py"


rule analyse_tables:
    input:
        networks=all_networks,
        tables=all_tables,
    output:
        multiext(TABLES_ANALYSIS, ".csv", ".cost.json"),
    log:
        f"{LOGS}/analyses/{{analysis}}.log",
    wildcard_constraints:
        analysis=analyses_of("tables"),
    conda:
        "../../envs/sparrow.yaml"
    threads: threads_of_analysis
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=lambda wildcards: analysis_spec(TABLES_ANALYSIS, wildcards),
        script=script_digest("analyse_tables"),
    message:
        "Analyse all tables: {wildcards.analysis}"
    script:
        "../scripts/analyse_tables.py"


# What was timed, beside what is preserved.
rule timings:
    input:
        summary=f"{RESULTS}/summary.csv",
        tables=timed_tables,
    output:
        report(
            f"{RESULTS}/{{analysis}}.csv",
            caption="../../reports/captions/analysis.rst",
            category="Tables",
            labels={"table": "{analysis} (CSV)"},
        ),
    log:
        f"{LOGS}/{{analysis}}.log",
    wildcard_constraints:
        analysis=one_of(TIMED),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=lambda wildcards: code_digest("sparrow.results.timings"),
        script=script_digest("timings"),
        told=lambda wildcards: {wildcards.analysis: TIMED[wildcards.analysis]},
        specs=lambda wildcards: {
            job.place: content.of_spec(analyses.spec(STUDY, job).model_dump())
            for job in analyses.jobs(STUDY, wildcards.analysis)
        },
    message:
        "Lay out {wildcards.analysis} beside what is preserved"
    script:
        "../scripts/timings.py"
