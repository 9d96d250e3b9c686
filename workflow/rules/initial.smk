rule initial:
    output:
        multiext(f"{RESULTS}/{paths.INITIAL_PATTERN}", output=paths.NETWORK, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.INITIAL_PATTERN)}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        stage="sparrow.stages.initial:initial",
        spec=lambda wildcards: job_specs.initial_spec(STUDY, parent_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Draw the initial weights of {wildcards.model} on {wildcards.dataset} ({wildcards.objective}, seed {wildcards.seed})"
    script:
        "../scripts/job.py"
