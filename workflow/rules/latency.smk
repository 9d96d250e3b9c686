# All networks of one dense one are timed in one job, in turn with it: jobs at different times, or on different nodes, could not be
# compared.
rule latency:
    input:
        dense=f"{PARENT}/dense.safetensors",
        pruned=pruned_of,
        compact=compact_of,
        data=DATA,
    output:
        multiext(f"{PARENT}/latency", output=".csv", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/latency.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: STUDY.latency.threads if STUDY.latency else 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage="sparrow.stages.latency:latency",
        spec=lambda wildcards: job_specs.latency_spec(STUDY, wildcards.model).model_dump(),
        script=SCRIPT,
    message:
        "Time the networks of {wildcards.objective} {wildcards.model} (seed {wildcards.seed})"
    script:
        "../scripts/job.py"


rule latencies:
    input:
        summary=f"{RESULTS}/summary.csv",
        tables=all_latency,
    output:
        output=report(
            f"{RESULTS}/latency.csv",
            caption="../../reports/captions/latency.rst",
            category="Tables",
            labels={"table": "latency (CSV)"},
        ),
    log:
        f"{LOGS}/latency.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        stage="sparrow.results.latency:write_latencies",
        code=lambda wildcards: code_digest("sparrow.results.latency"),
        script=SCRIPT,
        specs=lambda wildcards: {
            model: content.of_spec(job_specs.latency_spec(STUDY, model).model_dump()) for model in STUDY.models
        },
    message:
        "Lay out latencies beside what is preserved"
    script:
        "../scripts/job.py"
