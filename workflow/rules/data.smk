rule data:
    output:
        multiext(f"{RESULTS}/{{dataset}}/data", ".safetensors", ".cost.json"),
    log:
        f"{LOGS}/{{dataset}}/data.log",
    conda:
        "../../envs/sparrow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        spec=lambda wildcards: plan.data_slice(STUDY, wildcards.dataset),
    message:
        "Prepare {wildcards.dataset}: load, split, store"
    script:
        "../scripts/data.py"
