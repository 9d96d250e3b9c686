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


# Test images under common corruptions, once for all networks; only where an analysis asks for them.
rule corrupt:
    input:
        data=DATA,
        archive=lambda wildcards: sources.archive(STUDY.datasets[wildcards.dataset]),
    output:
        multiext(f"{RESULTS}/{paths.CORRUPTED_PATTERN}", output=paths.NETWORK, cost=paths.COST),
    log:
        f"{RESULTS}/{paths.log_path(paths.CORRUPTED_PATTERN)}",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * job_specs.corrupt_memory(STUDY, wildcards.dataset),
        runtime=60,
    params:
        stage="sparrow.stages.corrupt:corrupt",
        spec=lambda wildcards: job_specs.corrupt_spec(STUDY, wildcards.dataset).model_dump(),
        script=SCRIPT,
    message:
        "Corrupt the test images of {wildcards.dataset}"
    script:
        "../scripts/job.py"
