rule quantise:
    input:
        parent=f"{RESULTS}/{paths.PARENT_PATTERN}/{{of}}{paths.NETWORK}",
        data=DATA,
    output:
        multiext(f"{RESULTS}/{paths.VARIANT_PATTERN}", **TRAINED),
    log:
        f"{RESULTS}/{paths.log_path(paths.VARIANT_PATTERN)}",
    wildcard_constraints:
        variant=one_of(STUDY.variants),
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (4000 + extra_memory(wildcards.dataset)),
        runtime=1440,
        gpu=1,
    params:
        stage="sparrow.stages.quantise:quantise",
        spec=lambda wildcards: job_specs.quantise_spec(STUDY, variant_of(wildcards)).model_dump(),
        script=SCRIPT,
    message:
        "Round the weights of {wildcards.objective} {wildcards.model} {wildcards.of} ({wildcards.variant})"
    script:
        "../scripts/job.py"
