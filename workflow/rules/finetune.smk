rule finetune:
    input:
        parent=f"{RESULTS}/{paths.PRUNED_PATTERN}{paths.NETWORK}",
        data=DATA,
        teacher=lambda wildcards: targets.teachers(STUDY, cell_of(wildcards)),
    output:
        multiext(f"{RESULTS}/{paths.FINETUNED_PATTERN}", **TRAINED),
    log:
        f"{RESULTS}/{paths.log_path(paths.FINETUNED_PATTERN)}",
    wildcard_constraints:
        dataset=dataset_of_trained(STUDY),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=1440,
        gpu=1,
    params:
        stage="sparrow.stages.finetune:finetune",
        spec=lambda wildcards: job_specs.finetune_spec(STUDY, cell_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Fine-tune {wildcards.objective} {wildcards.model} pruned by {wildcards.method} at {wildcards.ratio}"
    script:
        "../scripts/job.py"
