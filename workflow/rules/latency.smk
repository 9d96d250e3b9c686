# All networks of one dense one are timed in one job, in turn with it: jobs at different times, or on different nodes, could not be
# compared.
rule latency:
    input:
        dense=f"{PARENT}/dense.safetensors",
        pruned=pruned_of,
        compact=compact_of,
        data=DATA,
    output:
        multiext(f"{PARENT}/latency", ".csv", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/{{model}}/{{objective}}/seed{{seed}}/latency.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: STUDY.latency.threads if STUDY.latency else 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        spec=lambda wildcards: job_specs.latency_spec(STUDY, wildcards.model),
        script=script_digest("latency"),
    message:
        "Time the networks of {wildcards.objective} {wildcards.model} (seed {wildcards.seed})"
    script:
        "../scripts/latency.py"


rule latencies:
    input:
        summary=f"{RESULTS}/summary.csv",
        tables=all_latency,
    output:
        report(
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
        code=lambda wildcards: code_digest("sparrow.results.latency"),
        script=script_digest("latencies"),
        specs=lambda wildcards: {model: content.of_spec(job_specs.latency_spec(STUDY, model)) for model in STUDY.models},
    message:
        "Lay out latencies beside what is preserved"
    script:
        "../scripts/latencies.py"
