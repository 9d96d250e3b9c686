rule pretrain:
    input:
        parent=f"{RESULTS}/{paths.INITIAL_PATTERN}{paths.NETWORK}",
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.DENSE_PATTERN}", **TRAINED),
    log:
        f"{RESULTS}/{paths.log_path(paths.DENSE_PATTERN)}",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    # Eligible for the between-workflow cache: snakemake --cache pretrain
    cache: True
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=1440,
        gpu=1,
    params:
        stage="sparrow.stages.pretrain:pretrain",
        spec=lambda wildcards: job_specs.pretrain_spec(STUDY, parent_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Pre-train {wildcards.model} on {wildcards.dataset} ({wildcards.objective}, seed {wildcards.seed})"
    script:
        "../scripts/job.py"
