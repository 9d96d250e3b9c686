rule graft:
    input:
        parent=f"{RESULTS}/{paths.FINETUNED_PATTERN}{paths.NETWORK}",
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.GRAFTED_PATTERN}", **TRAINED),
    log:
        f"{RESULTS}/{paths.log_path(paths.GRAFTED_PATTERN)}",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (7000 + extra_memory(wildcards.dataset)),
        runtime=1440,
        gpu=1,
    params:
        stage="sparrow.stages.graft:graft",
        spec=lambda wildcards: job_specs.graft_spec(STUDY, cell_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Graft {wildcards.objective} {wildcards.model} pruned by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/job.py"
