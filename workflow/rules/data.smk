rule data:
    input:
        own_files,
    output:
        multiext(f"{RESULTS}/{{dataset}}/data", output=".safetensors", cost=".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/data.log",
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
