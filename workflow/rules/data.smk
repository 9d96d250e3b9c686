rule data:
    input:
        own_files,
    output:
        multiext(f"{RESULTS}/{{dataset}}/data", ".safetensors", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/data.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * job_specs.data_memory(STUDY, wildcards.dataset),
        runtime=30,
    params:
        spec=lambda wildcards: job_specs.data_spec(STUDY, wildcards.dataset).model_dump(),
        script=script_digest("data"),
    message:
        "Prepare {wildcards.dataset}: load, split, store"
    script:
        "../scripts/data.py"
