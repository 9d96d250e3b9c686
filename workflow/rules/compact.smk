rule compact:
    input:
        network=f"{CHECKPOINT}{paths.NETWORK}",
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.COMPACT_PATTERN}", output=paths.NETWORK, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.COMPACT_PATTERN)}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        stage="sparrow.stages.compact:compact",
        spec=lambda wildcards: job_specs.compact_spec(STUDY, wildcards.model).model_dump(),
        script=SCRIPT,
    message:
        "Cut the pruned filters out of {wildcards.objective} {wildcards.model} {wildcards.checkpoint}"
    script:
        "../scripts/job.py"
