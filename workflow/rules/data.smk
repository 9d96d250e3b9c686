rule data:
    input:
        own_files,
    output:
        multiext(f"{RESULTS}/{paths.DATA_PATTERN}", output=paths.NETWORK, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.DATA_PATTERN)}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * job_specs.data_memory(STUDY, wildcards.dataset),
        runtime=30,
    params:
        stage="sparrow.stages.data:prepare_data",
        spec=lambda wildcards: job_specs.data_spec(STUDY, wildcards.dataset).model_dump(),
        script=SCRIPT,
    message:
        "Prepare {wildcards.dataset}: load, split, store"
    script:
        "../scripts/job.py"
