rule prune:
    input:
        parent=lambda wildcards: targets.pruned_from(STUDY, cell_of(wildcards)),
        data=DATA,
    output:
        multiext(
            f"{RESULTS}/{paths.PRUNED_PATTERN}", output=paths.NETWORK, curve=paths.CURVE, trace=paths.TRACE, cost=paths.COST
        ),
    log:
        f"{RESULTS}/{paths.log_path(paths.PRUNED_PATTERN)}",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=720,
        gpu=1,
    params:
        stage="sparrow.stages.prune:prune",
        spec=lambda wildcards: job_specs.prune_spec(STUDY, cell_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Prune {wildcards.objective} {wildcards.model} by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/job.py"
